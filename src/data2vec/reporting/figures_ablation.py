"""One figure per experiment: ours in each modality, and the published curve on axes of its own."""

import math
import textwrap
from itertools import pairwise
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from data2vec.reporting.comparison import lines, trends
from data2vec.reporting.drawing import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    Figure,
    look,
    new_canvas,
    placeholder,
    tidy,
)
from data2vec.reporting.experiments import Experiment, Part
from data2vec.reporting.names import fmt, metric_label, modality_label, with_unit
from data2vec.reporting.published_curves import Curve

SERIES = ((BLUE, "o"), (VERMILLION, "s"), (GREEN, "D"), (ORANGE, "^"), (PURPLE, "v"), (SKY, "P"))
PUBLISHED_METRICS = {"top1_acc": "fine-tuned", "wer": "word error rate", "GLUE_avg": "GLUE average"}
LONG = 6  # characters: longer names go to the vertical axis, where they have room
Looks = list[tuple[str, str]]
Panels = tuple[Canvas, list[tuple[Axes, Axes | None]]]  # of each modality: ours, published


def ablation(experiment: Experiment, parts: list[Part]) -> Figure:
    """Mean and standard deviation over seeds at each value of the axis, one row of panels a modality."""
    name, score = f"ablation_{experiment.name}", metric_label(experiment.metric)
    parts = [part for part in parts if (part.ours["n"] > 0).any()]
    if not parts:
        return placeholder(name, experiment.title, f"No value of {score} in this experiment.")
    # Named values that are long need the width: the panels then stand one above the other.
    stacked = any(len(label) > LONG for part in parts for label in _words(part))
    canvas, grid = _stack(parts) if stacked else _pairs(parts)
    for part, (mine, theirs) in zip(parts, grid, strict=True):
        _ours(mine, experiment, part, stacked)
        mine.set_title("ours" if len(parts) == 1 else f"ours, {modality_label(part.modality).lower()}")
        if part.curve is not None and theirs is not None:
            _published(theirs, experiment, part.curve, stacked)
            where = "" if part.modality == part.curve.modality else f", {part.curve.modality}"
            theirs.set_title(f"published{where}")
    source = pd.concat([_source(experiment, part) for part in parts], ignore_index=True)
    return Figure(name, experiment.title, _caption(parts), _alt(experiment, parts), canvas, source)


def _pairs(parts: list[Part]) -> Panels:
    """Ours and published side by side, one row a modality."""
    canvas = new_canvas(3.1 * len(parts))
    across = 2 if any(part.curve is not None for part in parts) else 1
    rows = canvas.subplots(len(parts), across, squeeze=False)
    for part, row in zip(parts, rows, strict=True):
        for axes in row[1:]:
            axes.set_visible(part.curve is not None)
    return canvas, [(row[0], row[1] if part.curve is not None else None) for part, row in zip(parts, rows, strict=True)]


def _stack(parts: list[Part]) -> Panels:
    """All panels one above the other, each as high as its values need."""
    counts = [[len(part.ours), *([] if part.curve is None else [len(part.curve.points)])] for part in parts]
    heights = [count + 1 for row in counts for count in row]
    canvas = new_canvas(0.34 * sum(heights) + 0.8 * len(heights))
    grid = iter(canvas.subplots(len(heights), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0])
    return canvas, [(next(grid), next(grid) if len(row) > 1 else None) for row in counts]


def _caption(parts: list[Part]) -> str:
    every = pd.concat([part.ours for part in parts])
    caption = f"Ours: mean and standard deviation over seeds ({_counts(every)}); small dots: single seeds."
    for part in parts:
        about = f"{modality_label(part.modality)}, " if len(parts) > 1 else ""
        if words := trends(part):
            said = "; ".join(words)
            caption += f" {about}{said}." if about else f" {said[0].upper()}{said[1:]}."
        if part.curve is not None:
            beside = f" beside {modality_label(part.modality).lower()}" if about else ""
            caption += f" Published{beside}: {part.curve.where}; {part.curve.source}."
    if any(part.curve is not None for part in parts):
        caption += " Ours and published have different data, models and axes: only the direction can be compared."
    return caption


def _alt(experiment: Experiment, parts: list[Part]) -> str:
    said = "; ".join(
        f"{', '.join(filter(None, (part.modality if len(parts) > 1 else '', name, row['label'])))}: "
        f"{fmt(row['mean'], row['unit'])} {row['unit']}"
        for part in parts
        for name, line in lines(part.ours)
        for row in line.to_dict("records")
    )
    return f"{metric_label(experiment.metric)} against {experiment.axis}. {said}."


def _ours(axes: Axes, experiment: Experiment, part: Part, stacked: bool) -> None:
    found = lines(part.ours)
    methods = [str(line["method"].iloc[0]) for _, line in found]
    looks = [look(method) for method in methods] if len(set(methods)) == len(found) > 1 else list(SERIES)
    metric = with_unit(metric_label(experiment.metric), part.ours["unit"].iloc[0])
    draw_panel(axes, found, looks, (experiment.axis, metric), stacked)


def _published(axes: Axes, experiment: Experiment, curve: Curve, stacked: bool) -> None:
    found = _published_lines(curve)
    metric = with_unit(PUBLISHED_METRICS.get(curve.metric, curve.metric), curve.unit.removeprefix("mean over 8 tasks"))
    looks = [(INK, "o")] if [name for name, _ in found] == ["published"] else list(SERIES)
    draw_panel(axes, found, looks, (experiment.axis, metric), stacked)


def _published_lines(curve: Curve) -> list[tuple[str, pd.DataFrame]]:
    points = curve.points.rename(columns={"value": "mean"})
    return [(str(name), part) for name, part in points.groupby("series", sort=False)]


def draw_panel(
    axes: Axes, found: list[tuple[str, pd.DataFrame]], looks: Looks, names: tuple[str, str], stacked: bool = False
) -> None:
    """Draw each line (name, points with label, x, mean; std and values if there are seeds) over the varied value.

    `names`: of the axis and of the metric. In a stacked figure named values go to the vertical axis.
    """
    labels = list(dict.fromkeys(label for _, part in found for label in part["label"]))
    numeric = all(part["x"].notna().all() for _, part in found)
    values = sorted({value for _, part in found for value in part["x"]}) if numeric else []
    even = not numeric or (len(values) <= len(labels) and _crowded(axes, values))
    sideways = stacked and not numeric
    for index, (name, part) in enumerate(found):
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
    (axes.set_xlabel if sideways else axes.set_ylabel)(names[1])
    if not sideways:
        axes.set_xlabel(names[0])
    axes.margins(0.1)
    tidy(axes, "x" if sideways else "y")
    if len(found) > 1:
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


def _words(part: Part) -> list[str]:
    """The values that are names, of either panel."""
    labels = [] if part.ours["x"].notna().all() else list(part.ours["label"])
    return labels + ([] if part.curve is None or part.curve.is_numeric else list(part.curve.points["label"]))


def _counts(ours: pd.DataFrame) -> str:
    counts = sorted(set(ours["n"]))
    if counts[-1] == 1:
        return "one run a value"
    return f"n = {counts[0]}" if len(counts) == 1 else f"n = {counts[0]} to {counts[-1]}"


def _source(experiment: Experiment, part: Part) -> pd.DataFrame:
    mine = part.ours.assign(source="ours", series=part.ours["scale"], metric=experiment.metric)
    columns = ["source", "modality", "series", "dataset", "method", "label", "x", "metric", "mean", "std", "n"]
    found = [mine[columns]]
    if part.curve is not None:
        theirs = pd.concat([line for _, line in _published_lines(part.curve)])
        found.append(theirs.assign(source="published", modality=part.curve.modality, metric=part.curve.metric))
    return pd.concat(found, ignore_index=True)
