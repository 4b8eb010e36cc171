"""How long a method trains until it has a given score: linear between the encoders that were kept along one run.

Their scores are rows `<score>@<updates>` of results.csv, with the seconds of pre-training until then.
"""

import math
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


def time_to_score(frame: pd.DataFrame, method: str, score: float) -> float:
    """Seconds of pre-training until `method` has `score`; NaN if it does not get there.

    `frame` has the scores along the runs of one seed, data set and metric; before the first none is guessed.
    """
    run = frame[frame["method"] == method].sort_values("pretrain_seconds")
    sign = -1 if lower_is_better(str(frame["metric"].iloc[0])) else 1
    times, scores = list(run["pretrain_seconds"]), list(run["value"] * sign)
    for index, (time, value) in enumerate(zip(times, scores, strict=True)):
        if value < score * sign:
            continue
        if index == 0:
            return float(time)
        share = (score * sign - scores[index - 1]) / (value - scores[index - 1])
        return float(times[index - 1] + share * (time - times[index - 1]))
    return math.nan


def time_ratios(frame: pd.DataFrame, method: str, rival: str) -> list[Ratio]:
    """For each seed that both have: the rival's time to its best score over the time of `method` to that score.

    A seed does not count where one of them has that score before it trains.
    """
    ratios = []
    for seed, part in frame.groupby("seed", sort=True):
        theirs, ours = part[part["method"] == rival], part[part["method"] == method]
        if theirs.empty or ours.empty:
            continue
        is_lower = lower_is_better(str(part["metric"].iloc[0]))
        best = theirs["value"].min() if is_lower else theirs["value"].max()
        time, to_beat = time_to_score(part, method, best), time_to_score(part, rival, best)
        is_bound = math.isnan(time)
        spent = ours["pretrain_seconds"].max() if is_bound else time
        if min(to_beat, spent) > 0:
            ratios.append(Ratio(int(seed), to_beat / spent, is_bound))
    return ratios
