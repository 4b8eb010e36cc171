"""Loss and variance curves, from each run's metrics.jsonl."""

import math

import pandas as pd
from matplotlib.axes import Axes

from data2vec.reporting.drawing import BLUE, GREY, VERMILLION, Figure, new_canvas, placeholder, tidy
from data2vec.reporting.files import Issue, number, read_json_lines, short_path
from data2vec.reporting.names import method_label, method_rank, modality_label
from data2vec.reporting.runs import Run

CURVES = ("loss", "target_var", "pred_var")
COLUMNS_MAX = 4


def load_curves(runs: list[Run], issues: list[Issue]) -> pd.DataFrame:
    """One row per logged step of each pre-training run; of a resumed run's repeated steps the last counts."""
    parts = []
    seen = set()
    for run in runs:
        key = (run.scale, run.modality, run.name, run.seed)
        if run.is_control or key in seen:  # a copied folder would draw its line twice
            continue
        seen.add(key)
        records = read_json_lines(run.path / "metrics.jsonl", issues)
        rows = [
            {"update": number(record.get("update")), **{name: number(record.get(name)) for name in CURVES}}
            for record in records
        ]
        part = pd.DataFrame(rows, columns=["update", *CURVES]).dropna(subset="update")
        if part.empty:
            issues.append(Issue("missing", f"{short_path(run.path)}: no curve, metrics.jsonl is absent or empty"))
            continue
        part = part.drop_duplicates("update", keep="last").sort_values("update")
        identity = {
            "scale": run.scale,
            "modality": run.modality,
            "experiment": run.experiment,
            "method": run.method,
            "variant": run.variant,
            "seed": run.seed,
        }
        parts.append(part.assign(**identity)[[*identity, "update", *CURVES]])
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def of_experiment(steps: pd.DataFrame, experiment: str, axis: str) -> list[Figure]:
    """One figure a modality that the experiment was pre-trained in; none where it varies the fine-tuning."""
    found = sorted(set(steps.loc[steps["experiment"] == experiment, "modality"])) if len(steps) else []
    endings = [""] if len(found) == 1 else [f"_{modality}" for modality in found]
    return [
        curves(steps, modality, f"curves_{experiment}{ending}", experiment, axis)
        for modality, ending in zip(found, endings, strict=True)
    ]


def curves(steps: pd.DataFrame, modality: str, name: str = "", experiment: str = "main", axis: str = "") -> Figure:
    """Loss above, variance of targets and predictions below; one column per method or varied value."""
    name = name or f"curves_{modality}"
    title = "Loss and variance during pre-training" + (f": {axis}" if axis else "")
    title += f" ({modality_label(modality).lower()})"
    part = steps[(steps["experiment"] == experiment) & (steps["modality"] == modality)] if len(steps) else steps
    if part.empty:
        return placeholder(name, title, "No curve: no metrics.jsonl was found.")
    columns = _columns(part, axis)
    across = len(columns) if len(columns) <= COLUMNS_MAX else min(COLUMNS_MAX, math.ceil(len(columns) / 2))
    blocks = math.ceil(len(columns) / across)
    canvas = new_canvas((4.4 if across < 3 else 3.5) * blocks)
    # One method's values share their axes; two methods' losses are not on one scale.
    grid = canvas.subplots(2 * blocks, across, squeeze=False, sharex="col", sharey="row" if axis else False)
    for index in range(blocks * across):
        block, column = divmod(index, across)
        above, below = grid[2 * block, column], grid[2 * block + 1, column]
        if index >= len(columns):
            above.set_visible(False)
            below.set_visible(False)
            continue
        label, lines = columns[index]
        _draw_curves(above, below, lines)
        above.set_title(label, fontsize=10 if across < 3 else 8.5)
        if column == 0:
            above.set_ylabel("loss")
            below.set_ylabel("variance")
    handles, labels = grid[1, 0].get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside lower center", ncols=2)
    caption = (
        "Top: training loss as each method defines it (two methods' losses are not on one scale). Bottom: "
        "variance of the teacher's targets and of the student's predictions; a line that falls to zero "
        "means collapse. One line a seed."
    )
    ends = "; ".join(
        f"{label}: last loss {lines.groupby('seed')['loss'].last().mean():.3g}, "
        f"target variance {lines.groupby('seed')['target_var'].last().mean():.3g}"
        for label, lines in columns
    )
    return Figure(name, title, caption, f"Line plots over updates. {ends}.", canvas, part)


def _columns(part: pd.DataFrame, axis: str) -> list[tuple[str, pd.DataFrame]]:
    keys = ["scale", "method"] if not axis else ["variant"]
    found = []
    for key, lines in part.groupby(keys, sort=True):
        # An axis of several keys is too long for a column's title: the page's heading names it.
        short = "" if " = " in axis else f"{axis.split('.')[-1]} = "
        label = f"{short}{key[0]}" if axis else method_label(str(key[-1]))
        if not axis and part["scale"].nunique() > 1:
            label += f"\n{key[0]} scale"
        order = number(key[0]) if axis else float(method_rank(str(key[-1]))[0])
        found.append((math.inf if math.isnan(order) else order, label, lines))
    return [(label, lines) for _, label, lines in sorted(found, key=lambda item: item[:2])]


def _draw_curves(above: Axes, below: Axes, lines: pd.DataFrame) -> None:
    for place, (_, run) in enumerate(lines.groupby("seed")):
        above.plot(run["update"], run["loss"], color=GREY, linewidth=1.0, alpha=0.85)
        for name, colour, dash, words in (
            ("target_var", BLUE, "-", "variance of the targets"),
            ("pred_var", VERMILLION, "--", "variance of the predictions"),
        ):
            below.plot(
                run["update"],
                run[name],
                color=colour,
                linestyle=dash,
                linewidth=1.2,
                alpha=0.85,
                label=words if place == 0 else None,
            )
    below.set_xlabel("update")
    below.set_ylim(bottom=0)
    for axes in (above, below):
        axes.margins(x=0.02)
        tidy(axes)
