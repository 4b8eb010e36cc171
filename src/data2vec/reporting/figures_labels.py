"""Score against the amount of labels: a line a method, and the papers' speech curve on axes of its own."""

import pandas as pd
from matplotlib.axes import Axes

from data2vec.reporting.comparison import lines
from data2vec.reporting.drawing import Figure, look, new_canvas, placeholder, tidy
from data2vec.reporting.experiments import Experiment, Part
from data2vec.reporting.files import number
from data2vec.reporting.names import fmt, lower_is_better, method_label, metric_label, with_unit
from data2vec.reporting.rules import LABELS, SPEECH

AXES = {"finetune.train_limit": "labelled examples", "finetune.train_seconds": "seconds of labelled speech"}
HOURS = {"10m": 1 / 6, "1h": 1.0, "10h": 10.0, "100h": 100.0, "960h": 960.0}
EVERYTHING = 4.0  # times the largest limit: where a point without limit stands


def label_amount(experiment: Experiment, parts: list[Part], published: pd.DataFrame) -> Figure:
    """Mean and standard deviation over seeds at each amount of labels, logarithmic."""
    name, score = f"ablation_{experiment.name}", metric_label(experiment.metric)
    parts = [part for part in parts if (part.ours["n"] > 0).any()]
    if not parts:
        return placeholder(name, experiment.title, f"No value of {score} in this experiment.")
    curve = published_amounts(published) if any(part.modality == "speech" for part in parts) else pd.DataFrame()
    beside = int(len(curve) > 0)
    canvas = new_canvas(3.7 * len(parts))
    grid = canvas.subplots(len(parts), 1 + beside, squeeze=False)
    said = []
    for row, part in zip(grid, parts, strict=True):
        _ours(row[0], experiment, part)
        row[0].set_title("ours" if len(parts) == 1 else f"ours, {part.modality}")
        said += [
            f"{name or method_label(line['method'].iloc[0])}: "
            + ", ".join(f"{fmt(r['mean'], r['unit'])} {r['unit']} with {r['label']}" for r in line.to_dict("records"))
            for name, line in lines(part.ours)
        ]
        if beside:
            row[1].set_visible(part.modality == "speech")
        if beside and part.modality == "speech":
            _published(row[1], curve)
    better = "lower" if lower_is_better(experiment.metric) else "higher"
    caption = f"Ours: mean and standard deviation over seeds, small dots single seeds; {better} is better."
    if beside:
        caption += (
            " Published: Base models on LibriSpeech, test-other, decoded with a 4-gram language model (1.0: table 2; "
            "2.0: its table of speech results). Data, models and axes differ: compare the shape and the order."
        )
    data = pd.concat([part.ours.assign(source="ours") for part in parts], ignore_index=True)
    data = pd.concat([data.drop(columns=["values", "seeds", "place"]), curve], ignore_index=True)
    return Figure(
        name, experiment.title, caption, f"{score} against amount of labels. {'; '.join(said)}.", canvas, data
    )


def _ours(axes: Axes, experiment: Experiment, part: Part) -> None:
    known = part.ours["x"].dropna()
    last = known.max() * EVERYTHING if len(known) else 1.0
    for name, line in lines(part.ours):
        method = str(line["method"].iloc[0])
        colour, marker = look(method)
        x = line["x"].fillna(last)
        words = name or method_label(method)
        axes.errorbar(x, line["mean"], yerr=line["std"].fillna(0), marker=marker, color=colour, label=words)
        for spot, values in zip(x, line["values"], strict=True):
            axes.plot([spot] * len(values), values, ".", color=colour, markersize=4, alpha=0.6)
    axes.set_xscale("log")
    axes.minorticks_off()
    ticks = sorted(set(known))
    names = [f"{value:g}" for value in ticks]
    if len(known) < len(part.ours):
        ticks, names = [*ticks, last], [*names, "all"]
    axes.set_xticks(ticks, names)
    axes.set_xlabel(AXES.get(experiment.axis, experiment.axis))
    axes.set_ylabel(with_unit(metric_label(experiment.metric), part.ours["unit"].iloc[0]))
    axes.margins(0.1)
    _finish(axes)


def published_amounts(published: pd.DataFrame) -> pd.DataFrame:
    """The papers' error rates of Base models by hours of labels: method, hours, value."""
    rows = published[(published["table"] == "d2v_test_other") & (published["model_size"] == "Base")]
    found = [
        {"source": "published", "method": method, "hours": HOURS[amount], "value": value}
        for method, name in SPEECH.items()
        for amount in LABELS.values()
        for setting, value in zip(
            rows.loc[rows["method"] == name, "setting"],
            rows.loc[rows["method"] == name, "value"].map(number),
            strict=True,
        )
        if setting.startswith(f"{amount} labelled") and value == value
    ]
    return pd.DataFrame(found)


def _published(axes: Axes, curve: pd.DataFrame) -> None:
    axes.set_title("published (Base)")
    for method, part in curve.groupby("method", sort=False):
        colour, marker = look(str(method))
        axes.plot(part["hours"], part["value"], marker=marker, color=colour, label=method_label(str(method)))
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.set_xticks(list(HOURS.values()), ["10 min", "1", "10", "100", "960"])
    axes.set_xlabel("hours of labelled speech")
    axes.set_ylabel("word error rate (%)")
    axes.margins(0.1)
    _finish(axes)


def _finish(axes: Axes) -> None:
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.2), ncols=2, columnspacing=1.0, handletextpad=0.4)
    tidy(axes, "y")
