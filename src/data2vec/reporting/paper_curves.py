"""Ablations and the efficiency figure of the papers as tables: the published points, and ours beside them."""

import math

import pandas as pd

from data2vec.papers import Paper
from data2vec.reporting.experiments import Experiment, Part
from data2vec.reporting.files import number
from data2vec.reporting.formats import Table
from data2vec.reporting.names import fmt, metric_label, modality_label, with_unit
from data2vec.reporting.paper_scores import NOT_RUN, NOT_TRAINED, OURS, PUBLISHED, words
from data2vec.reporting.published_curves import published_curve
from data2vec.reporting.stats import main_scores, per_run

BOTH = f"{PUBLISHED} and {OURS}"
Cells = dict[str, dict[str, str]]


def points(paper: Paper, experiments: list[Experiment], parts: list[list[Part]], published: pd.DataFrame) -> Table:
    """One line a value of the axis; for each kind of input a column of published and one of our scores."""
    theirs: Cells = {}
    ours: Cells = {}
    for experiment, found in zip(experiments, parts, strict=True):
        _published_points(experiment, published, theirs)
        for part in found:
            for row in part.ours.to_dict("records"):
                name = (
                    f"{modality_label(part.modality)}, ours: {with_unit(metric_label(experiment.metric), row['unit'])}"
                )
                on = ", ".join(filter(None, (row["scale"], row["method"], row["model"], row["dataset"])))
                if row["n"]:
                    ours.setdefault(row["label"], {})[f"{name}, {on}"] = words(row)
    columns = list(dict.fromkeys(column for cells in (*theirs.values(), *ours.values()) for column in cells))
    rows = []
    values = list(dict.fromkeys((*theirs, *ours)))
    if all(math.isfinite(number(value)) for value in values):
        values.sort(key=float)
    for value in values:
        here = BOTH if value in theirs and value in ours else OURS if value in ours else NOT_RUN
        cells = theirs.get(value, {}) | ours.get(value, {})
        rows.append((value, *(cells.get(column, "") for column in columns), here))
    axes = ", ".join(experiment.axis for experiment in experiments)
    note = f"value: of {axes}. Ours: mean ± standard deviation (number of seeds) at this scale."
    title = f"{paper.item}: {paper.title}"
    return Table(paper.name, title, ("value", *columns, "here"), rows, note, frozenset(columns), "here")


def _published_points(experiment: Experiment, published: pd.DataFrame, into: Cells) -> None:
    names = experiment.published_values
    for modality in published["modality"].unique():
        curve = published_curve(experiment.published, str(modality), published, names)
        if curve is None:
            continue
        for point in curve.points.to_dict("records"):
            series = "" if point["series"] == "published" else f", {point['series']}"
            name = f"{modality_label(str(modality))}, published: {with_unit(curve.metric, curve.unit)}{series}"
            into.setdefault(point["label"], {})[name] = f"{point['value']:g}"


def hours(paper: Paper, frame: pd.DataFrame, published: pd.DataFrame) -> Table:
    """Hours of pre-training and the score that they gave: the published points, then ours."""
    rows: list[tuple[str, ...]] = []
    # vision.csv repeats the points for images
    curve = published[(published["table"] == "time_accuracy_curve") & (published["file"] == "efficiency")]
    for row in curve.to_dict("records"):
        spent = row["pretrain_epochs_or_updates"].removesuffix(" h wall clock")
        here = PUBLISHED if row["method"] in paper.systems else NOT_TRAINED
        cells = (spent, row["metric"], row["value"], row["model_size"])
        rows.append((modality_label(row["modality"]), row["method"], *cells, here))
    trained = {run: system for system, runs in paper.systems.items() for run in runs}
    main = per_run(frame)
    main = main[main["experiment"] == "main"]
    price = main.groupby(["scale", "modality", "method"])["pretrain_seconds"].mean().to_dict()
    found = []
    for record in main_scores(frame).to_dict("records") if len(frame) else []:
        seconds = price.get((record["scale"], record["modality"], record["method"]))
        if seconds and record["method"] in trained and record["n"]:
            on = ", ".join(filter(None, (record["scale"], record["model"], record["dataset"])))
            score = with_unit(metric_label(record["metric"]), record["unit"])
            cells = (fmt(seconds / 3600), score, words(record), on)
            found.append((modality_label(record["modality"]), trained[record["method"]], *cells, OURS))
    rows += found or [("", "", "", "", "", "", NOT_RUN)]
    columns = ("input", "system", "hours", "score", "value", "on", "here")
    note = "Hours: published on many GPUs, ours on the machine of this run, without evaluation."
    title = f"{paper.item}: {paper.title}"
    return Table(paper.name, title, columns, list(dict.fromkeys(rows)), note, frozenset({"hours", "value"}), "here")
