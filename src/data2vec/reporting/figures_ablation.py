"""One figure per experiment: ours, and the published curve on axes of its own."""

import math
import textwrap
from itertools import pairwise
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from data2vec.reporting.drawing import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    Figure,
    new_canvas,
    placeholder,
    tidy,
)
from data2vec.reporting.experiments import Curve, Experiment
from data2vec.reporting.names import fmt, metric_label, with_unit

SERIES = ((BLUE, "o"), (VERMILLION, "s"), (GREEN, "D"), (ORANGE, "^"), (PURPLE, "v"), (SKY, "P"))
PUBLISHED_METRICS = {"top1_acc": "fine-tuned", "wer": "word error rate", "GLUE_avg": "GLUE average"}
LONG = 6  # characters: longer names go to the vertical axis, where they have room
Lines = list[tuple[str, pd.DataFrame]]


def ablation(experiment: Experiment, ours: pd.DataFrame, curve: Curve | None) -> Figure:
    """Mean and standard deviation over seeds at each value of the axis."""
    name, score = f"ablation_{experiment.name}", metric_label(experiment.metric)
    if ours.empty or not (ours["n"] > 0).any():
        return placeholder(name, experiment.title, f"No value of {score} in this experiment.")
    # Named values that are long need the width: the panels then stand one above the other.
    stacked = any(len(label) > LONG for label in _words(ours, curve))
    rows = len(ours) + 1, 0 if curve is None else len(curve.points) + 1
    canvas = new_canvas(0.34 * sum(rows) + 1.6 if stacked else 3.1)
    panels = 1 if curve is None else 2
    ratios = {"height_ratios": rows[:panels]} if stacked else {}
    shape = (panels, 1) if stacked else (1, panels)
    grid = canvas.subplots(*shape, squeeze=False, gridspec_kw=ratios).flat
    unit = ours["unit"].iloc[0]
    _panel(grid[0], _series(ours), stacked, experiment.axis, with_unit(score, unit))
    grid[0].set_title("ours")
    caption = f"Ours: mean and standard deviation over seeds ({_counts(ours)}); small dots: single seeds."
    if curve is not None:
        metric = with_unit(PUBLISHED_METRICS.get(curve.metric, curve.metric), curve.unit)
        _panel(grid[1], _published_series(curve), stacked, experiment.axis, metric)
        grid[1].set_title("published" if curve.modality == experiment.modality else f"published, {curve.modality}")
        caption += f" Published: {curve.where}; {curve.source}. The two have different data, models and axes:"
        caption += " only the direction can be compared."
    records = ours.to_dict("records")
    said = "; ".join(f"{row['label']}: {fmt(row['mean'], row['unit'])} {row['unit']}" for row in records)
    alt = f"{score} against {experiment.axis}. {said}."
    return Figure(name, experiment.title, caption, alt, canvas, _source(experiment, ours, curve))


def _series(ours: pd.DataFrame) -> Lines:
    groups = ours.groupby(["scale", "dataset"], sort=True)
    return [(f"{scale}: {data}", part) for (scale, data), part in groups]


def _published_series(curve: Curve) -> Lines:
    points = curve.points.rename(columns={"value": "mean"})
    return [(str(name), part) for name, part in points.groupby("series", sort=False)]


def _panel(axes: Axes, lines: Lines, stacked: bool, axis: str, metric: str) -> None:
    """Draw each series; in a stacked figure named values go to the vertical axis."""
    labels = list(dict.fromkeys(label for _, part in lines for label in part["label"]))
    numeric = all(part["x"].notna().all() for _, part in lines)
    values = sorted({value for _, part in lines for value in part["x"]}) if numeric else []
    even = not numeric or (len(values) <= len(labels) and _crowded(axes, values))
    sideways = stacked and not numeric
    looks = ((INK, "o"),) if [name for name, _ in lines] == ["published"] else SERIES
    for index, (name, part) in enumerate(lines):
        colour, marker = looks[index % len(looks)]
        place = part["label"].map(labels.index) if even else part["x"]
        spread = part["std"].fillna(0) if "std" in part else None
        bars: dict[str, Any] = {"xerr" if sideways else "yerr": spread}
        ends = (part["mean"], place) if sideways else (place, part["mean"])
        line = "-" if numeric else "none"
        axes.errorbar(*ends, **bars, marker=marker, color=colour, linestyle=line, label=name)
        for spot, scores in zip(place, part.get("values", []), strict=False):
            dots = (scores, [spot] * len(scores)) if sideways else ([spot] * len(scores), scores)
            axes.plot(*dots, ".", color=INK, markersize=4, alpha=0.6, zorder=4)
    _axis(axes, labels, [] if even else values, sideways)
    (axes.set_xlabel if sideways else axes.set_ylabel)(metric)
    if not sideways:
        axes.set_xlabel(axis)
    axes.margins(0.1)
    tidy(axes, "x" if sideways else "y")
    if len(lines) > 1:
        axes.legend(fontsize=8, handletextpad=0.4, labelspacing=0.3)


def _axis(axes: Axes, labels: list[str], values: list[float], sideways: bool) -> None:
    """Ticks at the varied values: named or evenly spaced if `values` is empty, else where they lie."""
    if sideways:
        axes.set_yticks(range(len(labels)), [textwrap.fill(label, 22) for label in labels])
        axes.invert_yaxis()
    elif not values:
        axes.set_xticks(range(len(labels)), labels)
    elif len(values) <= 7:
        axes.set_xticks(values, [f"{value:g}" for value in values])
    elif axes.get_xscale() == "linear" and all(value == int(value) for value in values):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _crowded(axes: Axes, values: list[float]) -> bool:
    """Choose a linear or a logarithmic axis; True if the values would lie on top of each other on both."""
    if values[0] > 0 and values[-1] / values[0] >= 16:
        axes.set_xscale("log")
        axes.minorticks_off()
        values = [math.log(value) for value in values]
    steps = [high - low for low, high in pairwise(values)]
    crowded = bool(steps) and min(steps) < 0.05 * (values[-1] - values[0])
    if crowded:
        axes.set_xscale("linear")
    return crowded


def _words(ours: pd.DataFrame, curve: Curve | None) -> list[str]:
    """The values that are names, of either panel."""
    labels = [] if ours["x"].notna().all() else list(ours["label"])
    return labels + ([] if curve is None or curve.is_numeric else list(curve.points["label"]))


def _counts(ours: pd.DataFrame) -> str:
    counts = sorted(set(ours["n"]))
    return f"n = {counts[0]}" if len(counts) == 1 else f"n = {counts[0]} to {counts[-1]}"


def _source(experiment: Experiment, ours: pd.DataFrame, curve: Curve | None) -> pd.DataFrame:
    mine = ours.assign(source="ours", series=ours["scale"], metric=experiment.metric)
    parts = [mine[["source", "series", "label", "x", "metric", "mean", "std", "n"]]]
    if curve is not None:
        parts.append(pd.concat([part for _, part in _published_series(curve)]))
        parts[-1] = parts[-1].assign(source="published", metric=curve.metric)
    return pd.concat(parts, ignore_index=True)
