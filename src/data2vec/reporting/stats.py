"""Mean, standard deviation and n over seeds, paired differences and trends: the numbers behind every table."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
from scipy import stats as tests

from data2vec.reporting.names import is_score, leading_metrics, method_rank, metric_rank

MONITORS = ("loss", "target_var", "pred_var")  # every finished pre-training has these, and nothing else does
PAIRS_MIN = 3  # seeds: fewer give no interval worth printing

GROUP = ["scale", "modality", "dataset"]
SUMMARY = [*GROUP, "method", "model", "experiment", "variant", "metric", "unit"]


def summarise(frame: pd.DataFrame, by: Sequence[str] = tuple(SUMMARY)) -> pd.DataFrame:
    """One row per group: `mean`, `std` (n - 1 in the denominator; NaN for one seed), `n`, `values` and their `seeds`.

    Values that are not numbers do not count; a group without any has n = 0 and mean NaN.
    """
    columns = [*by, "mean", "std", "n", "values", "seeds"]
    rows = []
    for key, part in frame.groupby(list(by), sort=True, dropna=False):
        part = part.dropna(subset="value")
        values = part["value"]
        std = float(values.std(ddof=1)) if len(values) > 1 else math.nan
        mean = float(values.mean()) if len(values) else math.nan
        rows.append([*key, mean, std, len(values), tuple(values), tuple(part["seed"])])
    return pd.DataFrame(rows, columns=columns)


def main_scores(frame: pd.DataFrame) -> pd.DataFrame:
    """Summary of the scores (not the training monitors) of the methods and controls themselves."""
    chosen = frame[(frame["experiment"] == "main") & frame["metric"].map(is_score)]
    leading = {key: leading_metrics(str(key[-1]), set(part["metric"])) for key, part in chosen.groupby(GROUP)}
    keys = zip(*(chosen[column] for column in (*GROUP, "metric")), strict=True)
    is_leading = [metric in leading[tuple(key)] for *key, metric in keys]
    chosen = chosen[pd.Series(is_leading, index=chosen.index, dtype=bool)]
    summary = summarise(chosen)
    order = summary.assign(
        _metric=summary["metric"].map(metric_rank), _method=summary["method"].map(method_rank)
    ).sort_values(["scale", "modality", "_metric", "dataset", "_method"], kind="stable", ignore_index=True)
    return order.drop(columns=["_metric", "_method"])


def per_run(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per pre-training run: its identity, data and cost, without the measurements.

    A fine-tuning that is a point of an experiment names its run's cost too: it is not a run of its own.
    """
    identity = ["scale", "modality", "method", "model", "experiment", "variant", "seed"]
    cost = ["dataset", "updates", "samples", "pretrain_seconds", "peak_memory_bytes"]
    trained = frame[(frame["updates"] > 0) & frame["metric"].isin(MONITORS)]
    return trained.groupby(identity, sort=True, as_index=False)[cost].first()


def pretraining_data(frame: pd.DataFrame) -> dict[tuple[str, str, str], str]:
    """(scale, modality, method) -> what its main runs were pre-trained on."""
    main = per_run(frame).query("experiment == 'main'")
    keys = zip(main["scale"], main["modality"], main["method"], strict=True)
    return dict(zip(keys, main["dataset"], strict=True))


def paired_interval(ours: dict[str, Any], other: dict[str, Any]) -> tuple[float, float] | None:
    """95 % t interval of the mean difference ours - other over the seeds that both have; None below three seeds."""
    theirs = dict(zip(other["seeds"], other["values"], strict=True))
    differences = [
        value - theirs[seed] for seed, value in zip(ours["seeds"], ours["values"], strict=True) if seed in theirs
    ]
    return mean_interval(differences)


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """Student's interval of the mean of `values`, one a seed; None below three."""
    if len(values) < PAIRS_MIN:
        return None
    mean, error = sum(values) / len(values), float(tests.sem(values))
    if error == 0:
        return mean, mean
    low, high = tests.t.interval(confidence, len(values) - 1, loc=mean, scale=error)
    return float(low), float(high)


def ordered_trend(scores: pd.DataFrame) -> float:
    """Page's test: the probability, without a trend, of scores that rise this clearly along the columns.

    One row a seed, so that what a seed does to all its runs is no evidence; one column a value, in their order, three
    or more. No gaps. For falling scores hand in their negatives.
    """
    return float(tests.page_trend_test(scores.to_numpy()).pvalue)


def trend(points: pd.DataFrame) -> str:
    """Kendall's rank correlation of the varied number with the score over single runs, in words."""
    pairs = [(row["x"], value) for row in points.to_dict("records") for value in row["values"]]
    places = {x for x, _ in pairs}
    if len(places) < 3 or any(math.isnan(x) for x in places):
        return ""
    if points["n"].max() < 2:
        return "one run a value, no trend test"
    found = tests.kendalltau(*zip(*pairs, strict=True))
    if math.isnan(found.statistic):
        return "no trend: all scores are equal"
    p = f"p = {found.pvalue:.2g}" if found.pvalue >= 0.001 else "p < 0.001"
    return f"trend: Kendall's \u03c4 = {found.statistic:+.2f} ({p}, {len(pairs)} runs)"


def spread_of(std: float) -> float:
    """A standard deviation for sums; one run has none, which counts as 0 (and is said where it matters)."""
    return 0.0 if math.isnan(std) else std
