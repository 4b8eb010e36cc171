"""The figure of cost: training time against score, ours and published, and samples per second."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from data2vec.reporting import stats
from data2vec.reporting.drawing import BLACK, GREY, INK, Figure, look, new_canvas, placeholder, tidy
from data2vec.reporting.files import number
from data2vec.reporting.ladders import ladders
from data2vec.reporting.names import fmt, is_control, method_label, method_rank, metric_label, with_unit
from data2vec.reporting.rules import SPEECH, TEXT, VISION

# Published name -> ours: for its colour and marker.
OURS = {name: method for names in (VISION, SPEECH, TEXT) for method, name in names.items()}
PUBLISHED_SCORE = {"vision": "fine-tuned (%)", "speech": "word error rate (%)", "text": "GLUE average"}


def cost(frame: pd.DataFrame, published: pd.DataFrame, modality: str) -> Figure:
    """Seconds against the first score, ours and published, each on its own axes; and samples per second."""
    name, title = f"cost_{modality}", "Cost"
    runs = stats.per_run(frame)
    runs = runs[(runs["experiment"] == "main") & (runs["pretrain_seconds"] > 0)]
    if runs.empty:
        return placeholder(name, title, "No cost to show: no provenance.json names pretrain_seconds.")
    scores, words = _first_score(frame)
    identity = ["scale", "modality", "method", "model", "variant", "seed"]
    points = runs.assign(speed=runs["samples"] / runs["pretrain_seconds"])
    points = points.merge(scores[[*identity, "value"]], how="left", on=identity)
    controls = scores[scores["method"].map(is_control).astype(bool)]
    methods = sorted(set(points["method"]), key=method_rank)
    canvas = new_canvas(3.3 + 0.42 * len(methods) + 0.9)
    mosaic = canvas.subplot_mosaic(
        [["ours", "published"], ["speed", "speed"]], height_ratios=[3.0, 0.42 * len(methods) + 0.5]
    )
    _time_against_score(mosaic["ours"], points, controls, words)
    curve = _published_time(mosaic["published"], published, modality)
    _speed(mosaic["speed"], points, methods)
    caption = (
        "Top left: training time of one run, without evaluation, against its score (one marker a seed; "
        "dashed: controls, which need no pre-training). Top right: the papers' own curve of Base models on many "
        "GPUs, read off a plot, on axes of its own. Below: samples per second of training, mean and standard "
        "deviation."
    )
    said = "; ".join(
        f"{method_label(method)}: {fmt(part['pretrain_seconds'].mean())} s a run, {fmt(part['speed'].mean())} samples/s"
        for method, part in points.groupby("method")
    )
    data = pd.concat([points.assign(source="ours", metric=words), curve], ignore_index=True)
    alt = f"Training time against score, and samples per second. {said}."
    return Figure(name, title, caption, alt, canvas, data)


def _first_score(frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The single runs of the first score there is (of one data set), and its name; "" without any."""
    found = ladders(frame)
    if not found:
        return frame.iloc[:0], ""
    (metric, unit), ladder = found[0]
    dataset = ladder["dataset"].iloc[0]
    chosen = frame[(frame["experiment"] == "main") & (frame["metric"] == metric) & (frame["dataset"] == dataset)]
    several = len({ladder["dataset"].iloc[0] for _, ladder in found}) > 1
    return chosen, with_unit(metric_label(metric), unit) + (f", {dataset}" if several else "")


def _time_against_score(axes: Axes, points: pd.DataFrame, controls: pd.DataFrame, words: str) -> None:
    axes.set_title("ours")
    axes.set_xlabel("training time of a run (s)")
    if not words:
        axes.text(0.5, 0.5, "no score yet", transform=axes.transAxes, ha="center", color=GREY)
        return
    axes.set_ylabel(words)
    for method in sorted(set(points["method"]), key=method_rank):
        part, (colour, marker) = points[points["method"] == method], look(method)
        name = method_label(method)
        axes.plot(part["pretrain_seconds"], part["value"], marker, color=colour, label=name, alpha=0.85)
    for method, part in controls.groupby("method"):
        axes.axhline(part["value"].mean(), color=look(method)[0], linestyle="--", linewidth=1.3, label=method)
    axes.set_xlim(0, points["pretrain_seconds"].max() * 1.12)
    axes.margins(y=0.12)
    _legend_below(axes)


def _legend_below(axes: Axes) -> None:
    spacing: dict[str, Any] = {"columnspacing": 1.0, "handletextpad": 0.4}
    axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.2), ncols=2, **spacing)
    tidy(axes)


def _published_time(axes: Axes, published: pd.DataFrame, modality: str) -> pd.DataFrame:
    """Draw the papers' hours against the score; returns the points."""
    axes.set_title("published (Base)")
    axes.set_xlabel("training time (hours)")
    rows = published[
        (published["file"] == "efficiency")
        & (published["table"] == "time_accuracy_curve")
        & (published["modality"] == modality)
    ]
    hours = [number(text.split(" h ")[0]) for text in rows["pretrain_epochs_or_updates"]]
    points = pd.DataFrame(
        {"method": list(rows["method"]), "hours": hours, "value": [number(value) for value in rows["value"]]}
    )
    points = points.dropna().sort_values(["method", "hours"], ignore_index=True)
    if points.empty:
        axes.text(0.5, 0.5, "not in the published tables", transform=axes.transAxes, ha="center", color=GREY)
        return points
    for method, part in sorted(points.groupby("method"), key=lambda item: method_rank(OURS.get(item[0], item[0]))):
        colour, marker = look(OURS[method]) if method in OURS else (BLACK, "X")
        name = method_label(OURS[method]) if OURS.get(method, "").startswith("data2vec") else method
        name = name.removesuffix(" re-trained baseline")
        axes.plot(part["hours"], part["value"], marker=marker, color=colour, label=name, linewidth=1.2)
    axes.set_xlim(left=0)
    axes.set_ylabel(PUBLISHED_SCORE.get(modality, ""))
    _legend_below(axes)
    return points.assign(source="published", metric=PUBLISHED_SCORE.get(modality, ""))


def _speed(axes: Axes, points: pd.DataFrame, methods: list[str]) -> None:
    axes.set_title("samples per second of training")
    for place, method in enumerate(methods):
        speed = points.loc[points["method"] == method, "speed"]
        spread = speed.std(ddof=1) if len(speed) > 1 else 0
        axes.barh(place, speed.mean(), height=0.6, color=look(method)[0])
        axes.errorbar(speed.mean(), place, xerr=spread, color=INK, elinewidth=1.2)
        axes.annotate(
            fmt(speed.mean()),
            (speed.mean() + spread, place),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_yticks(range(len(methods)), [method_label(method) for method in methods])
    axes.set_ylim(len(methods) - 0.45, -0.55)
    axes.margins(x=0.12)
    tidy(axes, "x")
