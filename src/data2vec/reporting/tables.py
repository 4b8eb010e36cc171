"""The report's tables, each made from results.csv (as a frame) and the published numbers alone."""

import math
from statistics import median
from typing import Any

import pandas as pd

from data2vec.reporting import stats
from data2vec.reporting.files import Issue
from data2vec.reporting.formats import Table
from data2vec.reporting.glue import is_task
from data2vec.reporting.ladders import (
    ABOVE,
    BELOW,
    WITHIN,
    control_interval,
    control_verdict,
    leading_ladders,
    strongest_control,
)
from data2vec.reporting.names import (
    RAW_INPUT,
    fmt,
    is_control,
    lower_is_better,
    method_label,
    method_rank,
    metric_label,
)
from data2vec.reporting.names import with_unit as unit_label
from data2vec.reporting.published import match, status
from data2vec.reporting.rules import GLUE_AVERAGE, RULES

NUMERIC = frozenset({"published", "ours", "n", "spread", "median", "difference", "95 % interval"})
HEADLINE = ("method", "metric", "published", "ours", "n", "spread", "difference", "status", "ours on")
CONTROLS = (
    *("method", "metric", "ours", "n", "spread", "strongest control", "difference", "95 % interval", "verdict", "on"),
)
COST = ("method", "on", "runs", "updates", "samples", "s per run", "spread", "samples/s", "peak MiB")
# Rows of what was not run are for these, and for what was run otherwise.
OURS = ("data2vec2", "data2vec")


def headline(frame: pd.DataFrame, published: pd.DataFrame, modality: str) -> Table:
    """Published beside ours, with n, spread, difference and a status; what was not run has its row too.

    The tasks of GLUE are left to `glue_tasks` where their average is there.
    """
    scores = _published_scores(frame)
    if GLUE_AVERAGE[1] in set(scores["metric"]):
        scores = scores[~is_task(scores)]
    records = [*scores.to_dict("records"), *_not_run(frame, scores)]
    title = "Published numbers beside ours"
    return _beside(f"headline_{modality}", title, records, frame, published)


def glue_tasks(frame: pd.DataFrame, published: pd.DataFrame) -> Table | None:
    """The same for each task of GLUE; None where `headline` has them."""
    scores = _published_scores(frame)
    if GLUE_AVERAGE[1] not in set(scores["metric"]):
        return None
    return _beside("glue_tasks", "Tasks of GLUE", scores[is_task(scores)].to_dict("records"), frame, published)


def _published_scores(frame: pd.DataFrame) -> pd.DataFrame:
    scores = stats.main_scores(frame)
    # The papers do not report these two: they stand in the table of controls.
    return scores[~scores["method"].isin(["random weights", *RAW_INPUT.values()])]


def _beside(
    name: str, title: str, records: list[dict[str, Any]], frame: pd.DataFrame, published: pd.DataFrame
) -> Table:
    rows: list[tuple[str, ...]] = []
    strong = set()
    pretrained_on = stats.pretraining_data(frame)
    has_median = any(record["modality"] == "text" for record in records)  # GLUE is often reported with it
    for record in records:
        if record["n"] and record["metric"] == "linear_top1":
            strong.add(len(rows))
        data = pretrained_on.get((record["scale"], record["modality"], record["method"]), "")
        rows.append(_headline_row(record, published, data, _on(frame, record), has_median))
    columns = [*HEADLINE, "published on", "source"]
    if has_median:
        columns.insert(columns.index("spread") + 1, "median")
    note = _note({record["metric"] for record in records})
    return Table(name, title, tuple(columns), rows, note, NUMERIC, "status", frozenset(strong))


def _units(metrics: set[str]) -> str:
    tops = "linear probe, nearest neighbours, fine-tuned: top-1 accuracy on the test set. "
    errors = "Of error rates, lower is better. "
    return tops * any(metric.endswith("top1") for metric in metrics) + errors * any(map(lower_is_better, metrics))


def _note(metrics: set[str]) -> str:
    return (
        f"{_units(metrics)}spread: standard deviation over n seeds. difference: ours minus published; where the status "
        "says “not comparable” it compares two different tasks."
    )


def _headline_row(
    record: dict[str, Any], published: pd.DataFrame, pretrained_on: str, where: str, has_median: bool
) -> tuple[str, ...]:
    found = match(published, record)
    mean, std, n, unit = record["mean"], record["std"], record["n"], record["unit"]
    word = status(mean, std, n, record, pretrained_on, found)
    names = (method_label(record["method"]), _metric(record))
    ours = [fmt(mean, unit), str(n or ""), fmt(std, unit)]
    if has_median:
        ours.append(fmt(median(record["values"]), unit) if n else "")
    if found is None:
        return (*names, "", *ours, "", word, where, "", "")
    difference = fmt(mean - found.value, unit, signed=True)
    return (*names, fmt(found.value, unit), *ours, difference, word, where, found.where, found.source)


def _metric(record: dict[str, Any]) -> str:
    """The score in words; with its task where that alone does not say what was scored."""
    words = unit_label(metric_label(record["metric"]), record["unit"])
    says_all = record["metric"].endswith("top1") or (record["dataset"], record["metric"]) == GLUE_AVERAGE
    return words if says_all or not record["dataset"] else f"{record['dataset']}: {words}"


def _on(frame: pd.DataFrame, record: dict[str, Any]) -> str:
    """Our data and model, with the scale where the report covers more than one."""
    scale = f"{record['scale']} scale" if frame["scale"].nunique() > 1 else ""
    dataset = "GLUE, eight tasks" if record["dataset"] == "glue" else record["dataset"]
    return ", ".join(filter(None, (dataset, record["model"], scale)))


def _not_run(frame: pd.DataFrame, scores: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows with n = 0 for what the papers report and this set of runs does not have."""
    nothing = {"model": "", "unit": "%", "mean": math.nan, "std": math.nan, "n": 0, "values": ()}
    rows = []
    for scale, modality in frame[["scale", "modality"]].drop_duplicates().itertuples(index=False):
        here = scores[(scores["scale"] == scale) & (scores["modality"] == modality)]
        found = set(zip(here["method"], here["metric"], here["dataset"], strict=True))
        found |= {(method, metric, "") for method, metric, _ in found}
        wanted = {*OURS, *(method for method in here["method"] if not is_control(method))}
        for rule in RULES:
            is_wanted = rule.modality == modality and rule.method in wanted and rule.is_expected
            if is_wanted and (rule.method, rule.metric, rule.dataset) not in found:
                keys = ("modality", "method", "metric", "dataset")
                rows.append({**nothing, "scale": scale, **{key: getattr(rule, key) for key in keys}})
    return rows


def controls(frame: pd.DataFrame, modality: str) -> Table:
    """For each score the ladder from best to worst, and whether pre-training clears every control."""
    rows: list[tuple[str, ...]] = []
    strong = set()
    for (_, unit), ladder in leading_ladders(frame):
        best = strongest_control(ladder)
        for record in ladder.to_dict("records"):
            against, difference, verdict, interval = "", math.nan, "control", None
            if not is_control(record["method"]):
                verdict, difference = control_verdict(record, ladder)
                against = best["method"] if best else ""
                interval = control_interval(record, ladder)
                strong.add(len(rows))
            names = (method_label(record["method"]), _metric(record))
            ours = (fmt(record["mean"], unit), str(record["n"]), fmt(record["std"], unit))
            beside = (against, fmt(difference, unit, signed=True), _interval(interval, unit), verdict)
            rows.append((*names, *ours, *beside, _on(frame, record)))
    note = (
        f"{_units(set(frame['metric']))}difference: to the strongest control. "
        "95 % interval: of that difference, paired by seed (t interval), from three seeds on. "
        f"verdict: “{ABOVE}” when the difference to each is larger than the two spreads added, “{BELOW}” when "
        f"it is so the other way round for one of them, otherwise “{WITHIN}”."
    )
    title = "Pre-training against its controls"
    return Table(f"controls_{modality}", title, CONTROLS, rows, note, NUMERIC, "verdict", frozenset(strong))


def _interval(found: tuple[float, float] | None, unit: str) -> str:
    return "" if found is None else f"{fmt(found[0], unit, signed=True)} to {fmt(found[1], unit, signed=True)}"


def cost(frame: pd.DataFrame, modality: str) -> Table:
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
        f"memory in use. All {len(runs)} pre-training runs of this section and its experiments together: "
        f"{fmt(runs['pretrain_seconds'].sum())} s."
    )
    return Table(f"cost_{modality}", "Cost of pre-training", COST, rows, note, frozenset(COST[2:]))


def _whole(value: float) -> str:
    return f"{value:.0f}" if math.isfinite(value) else ""


def _tenths(value: float) -> str:
    return f"{value:.1f}" if math.isfinite(value) else ""


def missing(issues: list[Issue]) -> Table:
    """Everything the report does without."""
    rows: list[tuple[str, ...]] = [(issue.kind, issue.what) for issue in issues]
    return Table("missing", "What is missing", ("kind", "what"), rows, status_column="kind")
