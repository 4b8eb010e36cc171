"""The report's tables, each made from results.csv (as a frame) and the published numbers alone."""

import math
from typing import Any

import pandas as pd

from data2vec.reporting import stats
from data2vec.reporting.files import Issue
from data2vec.reporting.formats import Table
from data2vec.reporting.ladders import ABOVE, BELOW, WITHIN, control_verdict, ladders, strongest_control
from data2vec.reporting.names import METHODS, RAW_INPUT, fmt, is_control, method_label, method_rank, metric_label
from data2vec.reporting.names import with_unit as unit_label
from data2vec.reporting.published import RULES, match, status

NUMERIC = frozenset({"published", "ours", "n", "spread", "difference"})
HEADLINE = ("method", "metric", "published", "ours", "n", "spread", "difference", "status", "ours on")
CONTROLS = ("method", "metric", "ours", "n", "spread", "strongest control", "difference", "verdict", "on")
COST = ("method", "on", "runs", "updates", "samples", "s per run", "spread", "samples/s", "peak MiB")


def headline(frame: pd.DataFrame, published: pd.DataFrame) -> Table:
    """Published beside ours, with n, spread, difference and a status; what was not run has its row too."""
    rows: list[tuple[str, ...]] = []
    strong = set()
    scores = stats.main_scores(frame)
    # The papers do not report these two: they stand in the table of controls.
    scores = scores[~scores["method"].isin(["random weights", *RAW_INPUT.values()])]
    for record in [*scores.to_dict("records"), *_not_run(frame, scores)]:
        if record["n"] and record["metric"] == "linear_top1":
            strong.add(len(rows))
        rows.append(_headline_row(record, published, _on(frame, record)))
    note = (
        "%: top-1 accuracy on the test set. spread: standard deviation over n seeds. difference: ours minus "
        "published; where the status says “not comparable” it compares two different tasks."
    )
    title = "Published numbers beside ours"
    columns = (*HEADLINE, "published on", "source")
    return Table("headline", title, columns, rows, note, NUMERIC, "status", frozenset(strong))


def _headline_row(record: dict[str, Any], published: pd.DataFrame, where: str) -> tuple[str, ...]:
    found = match(published, record["modality"], record["metric"], record["method"], record["model"])
    mean, std, n, unit = record["mean"], record["std"], record["n"], record["unit"]
    word = status(mean, std, n, (record["dataset"], record["model"]), found)
    names = (method_label(record["method"]), unit_label(metric_label(record["metric"]), unit))
    ours = (fmt(mean, unit), str(n or ""), fmt(std, unit))
    if found is None:
        return (*names, "", *ours, "", word, where, "", "")
    difference = fmt(mean - found.value, unit, signed=True)
    return (*names, fmt(found.value, unit), *ours, difference, word, where, found.where, found.source)


def _on(frame: pd.DataFrame, record: dict[str, Any]) -> str:
    """Our data and model, with the scale where the report covers more than one."""
    scale = f"{record['scale']} scale" if frame["scale"].nunique() > 1 else ""
    return ", ".join(filter(None, (record["dataset"], record["model"], scale)))


def _not_run(frame: pd.DataFrame, scores: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows with n = 0 for what the papers report and this set of runs does not have."""
    nothing = {"dataset": "", "model": "", "unit": "%", "mean": math.nan, "std": math.nan, "n": 0}
    rows = []
    for scale, modality in frame[["scale", "modality"]].drop_duplicates().itertuples(index=False):
        here = scores[(scores["scale"] == scale) & (scores["modality"] == modality)]
        pairs = set(zip(here["method"], here["metric"], strict=True))
        for rule in RULES:
            wanted = rule.modality == modality and rule.method in METHODS
            if wanted and (rule.method, rule.metric) not in pairs:
                identity = {
                    "scale": scale,
                    "modality": modality,
                    "method": rule.method,
                    "metric": rule.metric,
                }
                rows.append({**nothing, **identity})
    return rows


def controls(frame: pd.DataFrame) -> Table:
    """For each score the ladder from best to worst, and whether pre-training clears every control."""
    rows: list[tuple[str, ...]] = []
    strong = set()
    for (metric, unit), ladder in ladders(frame):
        best = strongest_control(ladder)
        for record in ladder.to_dict("records"):
            against, difference, verdict = "", math.nan, "control"
            if not is_control(record["method"]):
                verdict, difference = control_verdict(record, ladder)
                against = best["method"] if best else ""
                strong.add(len(rows))
            names = (method_label(record["method"]), unit_label(metric_label(metric), unit))
            ours = (fmt(record["mean"], unit), str(record["n"]), fmt(record["std"], unit))
            beside = (against, fmt(difference, unit, signed=True), verdict, _on(frame, record))
            rows.append((*names, *ours, *beside))
    note = (
        f"verdict: “{ABOVE}” when the difference to each is larger than the two spreads added, “{BELOW}” when "
        f"it is so the other way round for one of them, otherwise “{WITHIN}”."
    )
    title = "Pre-training against its controls"
    return Table("controls", title, CONTROLS, rows, note, NUMERIC, "verdict", frozenset(strong))


def cost(frame: pd.DataFrame) -> Table:
    """What one pre-training run took, per method of the main experiment, and all runs together."""
    runs = stats.per_run(frame)
    groups = runs[runs["experiment"] == "main"].groupby(["scale", "method", "model"], sort=True)
    rows: list[tuple[str, ...]] = []
    for (_, method, _), part in sorted(groups, key=lambda item: (item[0][0], method_rank(item[0][1]))):
        seconds = part["pretrain_seconds"]
        speed = part["samples"] / seconds.where(seconds > 0)
        counts = (str(len(part)), _whole(part["updates"].mean()), _whole(part["samples"].mean()))
        time = (_tenths(seconds.mean()), _tenths(seconds.std(ddof=1)), fmt(speed.mean()))
        memory = fmt(part["peak_memory_bytes"].mean() / 2**20)
        rows.append((method_label(method), _on(frame, part.iloc[0].to_dict()), *counts, *time, memory))
    note = (
        "samples: seen in one run. s per run: seconds of training without evaluation. peak MiB: largest "
        f"memory in use. All {len(runs)} pre-training runs of this report together: "
        f"{fmt(runs['pretrain_seconds'].sum())} s."
    )
    return Table("cost", "Cost of pre-training", COST, rows, note, frozenset(COST[2:]))


def _whole(value: float) -> str:
    return f"{value:.0f}" if math.isfinite(value) else ""


def _tenths(value: float) -> str:
    return f"{value:.1f}" if math.isfinite(value) else ""


def missing(issues: list[Issue]) -> Table:
    """Everything the report does without."""
    rows: list[tuple[str, ...]] = [(issue.kind, issue.what) for issue in issues]
    return Table("missing", "What is missing", ("kind", "what"), rows, status_column="kind")
