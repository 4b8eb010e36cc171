"""The figure of scores and their controls, drawn from results.csv and the published numbers alone."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from data2vec.reporting import stats
from data2vec.reporting.drawing import BLACK, GREY, INK, Figure, look, new_canvas, placeholder, tidy
from data2vec.reporting.ladders import leading_ladders
from data2vec.reporting.names import fmt, is_control, lower_is_better, method_label, metric_label, with_unit
from data2vec.reporting.published import PublishedNumber, is_comparable, match


def headline(frame: pd.DataFrame, published: pd.DataFrame, modality: str) -> Figure:
    """Scores of one modality with controls: mean as a marker, spread as a bar, single seeds as small dots."""
    name, title = f"headline_{modality}", "Scores and their controls"
    panels = leading_ladders(frame)
    if not panels:
        return placeholder(name, title, "No score yet: neither a probe nor a fine-tuning has finished.")
    heights = [len(ladder) + 1.1 for _, ladder in panels]
    groups = {_group(ladder) for _, ladder in panels}
    canvas = new_canvas(0.5 + 0.37 * sum(heights))
    if len(groups) == 1:
        canvas.suptitle(*groups, x=0.01, ha="left", fontsize=9.5, color=GREY)
    grid = canvas.subplots(len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": heights})
    pretrained_on = stats.pretraining_data(frame)
    for axes, ((metric, unit), ladder) in zip(grid[:, 0], panels, strict=True):
        _ladder(axes, ladder, _comparable(ladder, pretrained_on, published))
        words = with_unit(metric_label(metric), unit) + (", lower is better" if lower_is_better(metric) else "")
        axes.set_title(words if len(groups) == 1 else f"{words}\n{_group(ladder)}")
    records = [row for _, ladder in panels for row in ladder.to_dict("records")]
    said = "; ".join(
        f"{metric_label(row['metric'])} on {row['dataset']}, {method_label(row['method'])}: "
        f"{fmt(row['mean'], row['unit'])} {row['unit']}"
        for row in records
    )
    caption = (
        "Scores on the test set (GLUE: development set): mean over seeds (marker), standard deviation (bar) and "
        "single seeds (small dots), best on top. Filled: pre-trained; open: controls. The axes do not start "
        "at zero. A published number is drawn only where data and model are the same."
    )
    data = pd.concat([ladder for _, ladder in panels], ignore_index=True).drop(columns=["values", "seeds"])
    return Figure(name, title, caption, f"Dot plot. {said}.", canvas, data)


def _comparable(
    ladder: pd.DataFrame, pretrained_on: dict[tuple[str, str, str], str], published: pd.DataFrame
) -> dict[str, PublishedNumber]:
    """Method -> its published number, where that is of the same data and model."""
    found = {}
    for row in ladder.to_dict("records"):
        number, data = match(published, row), pretrained_on.get((row["scale"], row["modality"], row["method"]), "")
        if number is not None and is_comparable(row, data, number):
            found[row["method"]] = number
    return found


def _group(ladder: pd.DataFrame) -> str:
    """Data, model and scale of one ladder in words."""
    first = ladder.iloc[0]
    model = f"{first['model']} model" if first["model"] else ""
    return ", ".join(filter(None, (first["dataset"], model, f"{first['scale']} scale")))


def _ladder(axes: Axes, ladder: pd.DataFrame, published: dict[str, PublishedNumber]) -> None:
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
        if row["method"] in published:
            axes.plot(
                published[row["method"]].value, place, "|", color=BLACK, markersize=16, markeredgewidth=2, zorder=4
            )
        labels.append(f"{method_label(row['method'])}  (n = {row['n']})")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.margins(x=0.08)
    tidy(axes, "x")
