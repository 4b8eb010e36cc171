"""How long a method trains until it has a given score: linear between the encoders that were kept along one run.

Their scores are rows `<score>@<updates>` of results.csv, with the seconds of pre-training until then.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from data2vec.reporting.names import lower_is_better


@dataclass(frozen=True)
class Ratio:
    """The rival's time over ours for one seed; `is_bound`: the score was not reached, the ratio is less than that."""

    seed: int
    ratio: float
    is_bound: bool


def along_the_run(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The scores along those runs that kept encoders, the last one included, all under the name `metric`."""
    rows = frame[frame["metric"].str.split("@").str[0] == metric]
    run = ["method", "variant", "seed"]
    kept = rows.loc[rows["metric"].str.contains("@", regex=False), run].drop_duplicates()
    return rows.merge(kept, on=run).assign(metric=metric)


def cost_at(costs: Sequence[float], scores: Sequence[float], score: float) -> float:
    """Cost where a curve first has a score (more is better), linear between its points; NaN if it never has it.

    Before its first point none is guessed.
    """
    for i, value in enumerate(scores):
        if value >= score:
            share = (score - scores[i - 1]) / (value - scores[i - 1]) if i else 1.0
            return float(costs[i - 1] + share * (costs[i] - costs[i - 1]) if i else costs[i])
    return math.nan


def time_to_score(frame: pd.DataFrame, method: str, score: float) -> float:
    """Seconds of pre-training until `method` has `score`; NaN if it does not get there.

    `frame` has the scores along the runs of one seed, data set and metric.
    """
    run = frame[frame["method"] == method].sort_values("pretrain_seconds")
    sign = -1 if lower_is_better(str(frame["metric"].iloc[0])) else 1
    return cost_at(list(run["pretrain_seconds"]), list(run["value"] * sign), score * sign)


def time_ratios(frame: pd.DataFrame, method: str, rival: str) -> list[Ratio]:
    """For each seed that both have: the rival's time to its best score over the time of `method` to that score.

    The best is that of trained weights. A seed does not count where `method` has that score before it trains.
    """
    ratios = []
    for seed, part in frame.groupby("seed", sort=True):
        theirs, ours = part[part["method"] == rival], part[part["method"] == method]
        theirs = theirs[theirs["pretrain_seconds"] > 0].sort_values("pretrain_seconds")
        if theirs.empty or ours.empty:
            continue
        is_lower = lower_is_better(str(part["metric"].iloc[0]))
        best = theirs.loc[theirs["value"].idxmin() if is_lower else theirs["value"].idxmax()]
        time, to_beat = time_to_score(part, method, best["value"]), float(best["pretrain_seconds"])
        is_bound = math.isnan(time)
        spent = ours["pretrain_seconds"].max() if is_bound else time
        if spent > 0:
            ratios.append(Ratio(int(seed), to_beat / spent, is_bound))
    return ratios
