"""Figures of scores and cost, drawn from results.csv and the published numbers alone."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from data2vec.reporting import stats
from data2vec.reporting.drawing import BLACK, GREY, INK, Figure, look, new_canvas, placeholder, tidy
from data2vec.reporting.files import number
from data2vec.reporting.ladders import ladders
from data2vec.reporting.names import (
    METRIC_ORDER,
    fmt,
    is_control,
    method_label,
    method_rank,
    metric_label,
    with_unit,
)
from data2vec.reporting.published import match, same_data, size_of

SCORES_ON = {"data2vec": "data2vec", "data2vec 2.0": "data2vec2"}  # published name -> ours


def headline(frame: pd.DataFrame, published: pd.DataFrame) -> Figure:
    """Scores with controls: mean as a marker, spread as a bar, single seeds as small dots."""
    title = "Scores and their controls"
    panels = ladders(frame)
    if not panels:
        return placeholder("headline", title, "No score yet: neither a probe nor a fine-tuning has finished.")
    heights = [len(ladder) + 1.1 for _, ladder in panels]
    groups = {_group(ladder) for _, ladder in panels}
    canvas = new_canvas(0.5 + 0.37 * sum(heights))
    if len(groups) == 1:
        canvas.suptitle(*groups, x=0.01, ha="left", fontsize=9.5, color=GREY)
    grid = canvas.subplots(len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": heights})
    for axes, ((metric, unit), ladder) in zip(grid[:, 0], panels, strict=True):
        _ladder(axes, ladder, published)
        words = with_unit(metric_label(metric), unit)
        axes.set_title(words if len(groups) == 1 else f"{words}\n{_group(ladder)}")
    records = [row for _, ladder in panels for row in ladder.to_dict("records")]
    said = "; ".join(
        f"{metric_label(row['metric'])}, {method_label(row['method'])}: {fmt(row['mean'], row['unit'])} {row['unit']}"
        for row in records
    )
    caption = (
        "Top-1 accuracy on the test set: mean over seeds (marker), standard deviation (bar) and single "
        "seeds (small dots), best on top. Filled: pre-trained; open: controls. The axes do not start "
        "at zero. A published number is drawn only where data and model are the same."
    )
    data = pd.concat([ladder for _, ladder in panels], ignore_index=True).drop(columns="values")
    return Figure("headline", title, caption, f"Dot plot. {said}.", canvas, data)


def _group(ladder: pd.DataFrame) -> str:
    """Data, model and scale of one ladder in words."""
    first = ladder.iloc[0]
    model = f"{first['model']} model" if first["model"] else ""
    return ", ".join(filter(None, (first["dataset"], model, f"{first['scale']} scale")))


def _ladder(axes: Axes, ladder: pd.DataFrame, published: pd.DataFrame) -> None:
    labels = []
    for place, row in enumerate(ladder.to_dict("records")):
        colour, marker = look(row["method"])
        open_face: dict[str, Any] = {}
        if is_control(row["method"]):
            open_face = {"markerfacecolor": "white", "markeredgewidth": 1.6}
        spread = None if pd.isna(row["std"]) else row["std"]
        axes.errorbar(row["mean"], place, xerr=spread, fmt=marker, color=colour, elinewidth=1.6, zorder=3, **open_face)
        axes.plot(row["values"], [place + 0.27] * row["n"], ".", color=colour, markersize=4, alpha=0.75, zorder=2)
        words = fmt(row["mean"], row["unit"])
        if spread is not None:
            words += f" ± {fmt(spread, row['unit'])}"
        axes.annotate(
            words,
            (1.0, place),
            xycoords=("axes fraction", "data"),
            xytext=(8, 0),
            va="center",
            textcoords="offset points",
            color=INK,
            annotation_clip=False,
        )
        found = match(published, row["modality"], row["metric"], row["method"], row["model"])
        if found and same_data(row["dataset"], found.data) and size_of(row["model"]) == size_of(found.model):
            axes.plot(found.value, place, "|", color=BLACK, markersize=16, markeredgewidth=2, zorder=4)
        labels.append(f"{method_label(row['method'])}  (n = {row['n']})")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.margins(x=0.08)
    tidy(axes, "x")


def cost(frame: pd.DataFrame, published: pd.DataFrame) -> Figure:
    """Seconds against accuracy, ours and published, each on its own axes; and samples per second."""
    title = "Cost"
    runs = stats.per_run(frame)
    runs = runs[(runs["experiment"] == "main") & (runs["pretrain_seconds"] > 0)]
    if runs.empty:
        return placeholder("cost", title, "No cost to show: no provenance.json names pretrain_seconds.")
    main = frame[frame["experiment"] == "main"]
    metric = next((name for name in METRIC_ORDER if name in set(main["metric"])), "")
    scores = main[main["metric"] == metric]
    identity = ["scale", "modality", "method", "model", "variant", "seed"]
    points = runs.assign(speed=runs["samples"] / runs["pretrain_seconds"])
    points = points.merge(scores[[*identity, "value"]], how="left", on=identity)
    controls = scores[scores["method"].map(is_control)]
    methods = sorted(set(points["method"]), key=method_rank)
    canvas = new_canvas(3.3 + 0.42 * len(methods) + 0.9)
    mosaic = canvas.subplot_mosaic(
        [["ours", "published"], ["speed", "speed"]], height_ratios=[3.0, 0.42 * len(methods) + 0.5]
    )
    _time_against_score(mosaic["ours"], points, controls, metric)
    curve = _published_time(mosaic["published"], published)
    _speed(mosaic["speed"], points, methods)
    caption = (
        "Top left: training time of one run, without evaluation, against its score (one marker a seed; "
        "dashed: controls, which need no pre-training). Top right: the papers' own curve on ImageNet-1K "
        "and 16 GPUs, read off a plot, on axes of its own. Below: samples per second of training, mean and "
        "standard deviation."
    )
    said = "; ".join(
        f"{method_label(method)}: {fmt(part['pretrain_seconds'].mean())} s a run, {fmt(part['speed'].mean())} samples/s"
        for method, part in points.groupby("method")
    )
    data = pd.concat([points.assign(source="ours", metric=metric), curve], ignore_index=True)
    alt = f"Training time against score, and samples per second. {said}."
    return Figure("cost", title, caption, alt, canvas, data)


def _time_against_score(axes: Axes, points: pd.DataFrame, controls: pd.DataFrame, metric: str) -> None:
    axes.set_title("ours")
    axes.set_xlabel("training time of a run (s)")
    if not metric:
        axes.text(0.5, 0.5, "no score yet", transform=axes.transAxes, ha="center", color=GREY)
        return
    axes.set_ylabel(with_unit(metric_label(metric), "%"))
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


def _published_time(axes: Axes, published: pd.DataFrame) -> pd.DataFrame:
    """Draw the papers' hours against accuracy; returns the points."""
    axes.set_title("published (ViT-B)")
    axes.set_xlabel("training time (hours, 16 GPUs)")
    rows = published[
        (published["file"] == "efficiency")
        & (published["table"] == "time_accuracy_curve")
        & (published["modality"] == "vision")
    ]
    hours = [number(text.split(" h ")[0]) for text in rows["pretrain_epochs_or_updates"]]
    points = pd.DataFrame(
        {"method": list(rows["method"]), "hours": hours, "value": [number(value) for value in rows["value"]]}
    )
    points = points.dropna().sort_values(["method", "hours"], ignore_index=True)
    if points.empty:
        axes.text(0.5, 0.5, "not in the published tables", transform=axes.transAxes, ha="center", color=GREY)
        return points
    for method, part in points.groupby("method"):
        colour, marker = look(SCORES_ON[method]) if method in SCORES_ON else (BLACK, "X")
        name = method_label(SCORES_ON.get(method, method))
        axes.plot(part["hours"], part["value"], marker=marker, color=colour, label=name, linewidth=1.2)
    axes.set_xlim(left=0)
    axes.set_ylabel("fine-tuned (%)")
    _legend_below(axes)
    return points.assign(source="published", metric="top1_acc")


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
