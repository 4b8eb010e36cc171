"""Score against what was spent on it: which method reaches a rival's best score first (2.0 paper, efficiency figure).

The probe scores the encoders kept along a pre-training (`train.snapshots`); rows `<score>@<updates>` of results.csv.
"""

import itertools
import math
from dataclasses import dataclass

import pandas as pd

from data2vec.reporting.drawing import Figure, look, new_canvas, tidy
from data2vec.reporting.files import number
from data2vec.reporting.formats import Table
from data2vec.reporting.names import fmt, is_control, method_label, method_rank, metric_label, with_unit
from data2vec.reporting.rules import SPEECH, TEXT, VISION
from data2vec.reporting.time_to_score import cost_at

SCORE = "linear_top1"
SAME = ["scale", "dataset", "model"]  # what runs share that are set beside each other
LINES = ("-", "--", ":", "-.")
AXES = {"seconds": "training time (s)", "samples": "samples seen", "flops": "FLOPs"}
COLUMNS = (
    *("rival", "random weights", "its best score", "n", "after s", "method", "reached by", "s to reach it", "spread"),
    *("ratio", "of FLOPs", "published", "processor share"),
)
PUBLISHED = {name: method for names in (VISION, SPEECH, TEXT) for method, name in names.items()}


def curves(frame: pd.DataFrame) -> pd.DataFrame:
    """One row for each kept encoder of a main run, its last one included, with `seconds`, `samples` and `flops`.

    Runs without kept encoders have no curve.
    """
    main = frame[(frame["experiment"] == "main") & ~frame["method"].map(is_control).astype(bool)]
    name = main["metric"].str.split("@").str[0]
    points = main[(name == SCORE) & main["value"].notna()]
    identity = ["scale", "dataset", "method", "model", "seed"]
    kept = points[points["metric"].str.contains("@", regex=False)]
    points = points.merge(kept[identity].drop_duplicates(), on=identity)
    costs = main[main["metric"].isin(["update_flops", "counted_flops", "cpu_seconds"])]
    costs = costs.pivot_table(index=identity[:1] + identity[2:], columns="metric", values="value", aggfunc="first")
    points = points.merge(costs.reset_index(), how="left", on=identity[:1] + identity[2:])
    for column in ("update_flops", "counted_flops", "cpu_seconds"):
        points[column] = points[column] if column in points else math.nan
    points = points.assign(
        seconds=points["pretrain_seconds"],
        flops=points["update_flops"] * points["updates"],
        counted=points["counted_flops"] * points["updates"],
    )
    columns = [*identity, "updates", *AXES, "counted", "cpu_seconds", "value"]
    return points[columns].sort_values([*identity, "updates"], ignore_index=True)


def figure(frame: pd.DataFrame, modality: str) -> Figure | None:
    """Score against time, samples and FLOPs, one line a method; None without kept encoders."""
    points = curves(frame)
    if points.empty:
        return None
    canvas = new_canvas(2.6 * len(AXES))
    panels = canvas.subplots(len(AXES), 1, sharey=True)
    groups = list(points.groupby(SAME, sort=True))
    for axes, (column, words) in zip(panels, AXES.items(), strict=True):
        for (i, (key, part)), method in itertools.product(
            enumerate(groups), sorted(set(points["method"]), key=method_rank)
        ):
            moments = part[part["method"] == method].groupby("updates")
            if not len(moments):
                continue
            colour, marker = look(method)
            x, y = moments[column].mean(), moments["value"].mean()
            spread = moments["value"].std(ddof=1).fillna(0)
            label = method_label(method) + (f" ({', '.join(key)})" if len(groups) > 1 else "")
            axes.plot(x, y, LINES[i % len(LINES)], marker=marker, color=colour, label=label, markersize=5)
            axes.fill_between(x, y - spread, y + spread, color=colour, alpha=0.18, linewidth=0)
        axes.set_xlabel(words)
        axes.set_ylabel(with_unit(metric_label(SCORE), "%"))
        axes.set_xlim(left=0)
        tidy(axes)
    panels[0].legend(loc="best", ncols=2)
    caption = (
        "Linear probe of the encoders kept along pre-training: mean and standard deviation over seeds. Time is "
        "that of training alone, without evaluation and saving. FLOPs are counted from the configuration; those that "
        "torch counts are in the source data. At 0 stand each method's own random weights."
    )
    best = points.groupby("method")["value"].max()
    alt = "Score against cost. Best: " + "; ".join(f"{method_label(m)} {fmt(v, '%')} %" for m, v in best.items()) + "."
    return Figure(f"efficiency_{modality}", "Score against cost", caption, alt, canvas, points)


@dataclass(frozen=True)
class Reached:
    """What a method spent, seed by seed, until it had a score."""

    costs: tuple[float, ...]  # of the seeds that reached it
    seeds: int

    @property
    def mean(self) -> float:
        """Mean of those that reached it; NaN without any."""
        return sum(self.costs) / len(self.costs) if self.costs else math.nan

    @property
    def spread(self) -> float:
        """Standard deviation of those that reached it; NaN for fewer than two."""
        return float(pd.Series(self.costs).std(ddof=1)) if len(self.costs) > 1 else math.nan


def cost_to_reach(points: pd.DataFrame, score: float, column: str) -> Reached:
    """What each seed's curve costs (`column`) where it first reaches a score, linear between its points."""
    found, seeds = [], 0
    for _, curve in points.groupby("seed"):
        seeds += 1
        cost = cost_at(list(curve[column]), list(curve["value"]), score)
        found += [] if math.isnan(cost) else [cost]
    return Reached(tuple(found), seeds)


def table(frame: pd.DataFrame, published: pd.DataFrame, modality: str) -> Table | None:
    """For each rival: its best score, and what 2.0 and 1.0 need to reach it; None without kept encoders."""
    groups = list(curves(frame).groupby(SAME, sort=True))
    rows = []
    for key, points in groups:
        methods = sorted(set(points["method"]), key=method_rank)
        on = f" ({', '.join(key)})" if len(groups) > 1 else ""
        rivals = [method for method in methods if not method.startswith("data2vec")]
        ours = [method for method in methods if method.startswith("data2vec")]
        for rival, method in itertools.product(rivals, ours):
            theirs, mine = (points[points["method"] == name] for name in (rival, method))
            name, *cells = _row(theirs, mine, published, modality)
            rows.append((name + on, *cells))
    if not rows:
        return None
    note = (
        "random weights: the rival's own, before its first update. its best score: the highest mean over seeds along "
        "its curve after that, reached after so many seconds of training. s to reach it: by linear interpolation of "
        "each seed's curve, mean and standard deviation of the seeds that reach it. ratio: the rival's seconds / "
        "ours; of FLOPs: the same of counted FLOPs. published: wall-clock on many GPUs, at the authors' scale. "
        "processor share: processor seconds / seconds of these runs, with one thread near 1 when a run had its core "
        "for itself; lower means that runs shared the machine."
    )
    title = "Cost of reaching a rival's best score"
    return Table(f"efficiency_{modality}", title, COLUMNS, rows, note, frozenset(COLUMNS[1:5] + COLUMNS[7:]))


def _row(rival: pd.DataFrame, ours: pd.DataFrame, published: pd.DataFrame, modality: str) -> tuple[str, ...]:
    moments = rival.groupby("updates")[["value", *AXES]].mean()
    trained = moments[moments.index > 0]
    best, start = trained.loc[trained["value"].idxmax()], moments["value"].get(0, math.nan)
    score, method, name = float(best["value"]), ours["method"].iloc[0], rival["method"].iloc[0]
    seconds, flops = (cost_to_reach(ours, score, column) for column in ("seconds", "flops"))
    reached = f"{len(seconds.costs)} of {seconds.seeds}" if seconds.costs else "not reached"
    last = pd.concat([rival, ours]).groupby(["method", "seed"]).last()
    share = (last["cpu_seconds"] / last["seconds"]).mean()
    return (
        *(method_label(name), fmt(start, "%"), fmt(score, "%"), str(rival["seed"].nunique()), fmt(best["seconds"])),
        *(method_label(method), reached, fmt(seconds.mean), fmt(seconds.spread)),
        *(_ratio(best["seconds"], seconds.mean), _ratio(best["flops"], flops.mean)),
        *(_published(published, modality, method, name), fmt(share)),
    )


def _ratio(rival: float, ours: float) -> str:
    """How many times as much the rival spent; what was reached with the first weights has none."""
    return "at once" if ours == 0 else fmt(rival / ours)


def _published(published: pd.DataFrame, modality: str, method: str, rival: str) -> str:
    """The papers' ratio of wall-clock times at a matched score, where they give one."""
    rows = published[(published["file"] == "efficiency") & (published["modality"] == modality)]
    names = {ours: theirs for theirs, ours in PUBLISHED.items()}
    rows = rows[(rows["method"] == names[method]) & (rows["metric"] == "speedup_pretrain_wallclock")]
    is_named = rows["setting"].str.contains(names.get(rival, "\0").split(" re-trained")[0], regex=False)
    rows = rows[is_named & rows["table"].isin(["headline_speedup", "derived"])]
    rows = rows.sort_values("table", ascending=False)  # what the paper prints before what is derived from its curves
    return fmt(number(rows["value"].iloc[0])) if len(rows) else ""


__all__ = ["cost_to_reach", "curves", "figure", "table"]
