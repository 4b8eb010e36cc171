"""Mean, standard deviation and n over seeds: the numbers behind every table and error bar."""

import math
from collections.abc import Sequence

import pandas as pd

from data2vec.reporting.names import is_score, method_rank, metric_rank

GROUP = ["scale", "modality", "dataset"]
SUMMARY = [*GROUP, "method", "model", "experiment", "variant", "metric", "unit"]


def summarise(frame: pd.DataFrame, by: Sequence[str] = tuple(SUMMARY)) -> pd.DataFrame:
    """One row per group: `mean`, `std` (n - 1 in the denominator; NaN for one seed), `n`, `values`.

    Values that are not numbers do not count; a group without any has n = 0 and mean NaN.
    """
    columns = [*by, "mean", "std", "n", "values"]
    rows = []
    for key, part in frame.groupby(list(by), sort=True, dropna=False):
        values = part["value"].dropna()
        std = float(values.std(ddof=1)) if len(values) > 1 else math.nan
        mean = float(values.mean()) if len(values) else math.nan
        rows.append([*key, mean, std, len(values), tuple(values)])
    return pd.DataFrame(rows, columns=columns)


def main_scores(frame: pd.DataFrame) -> pd.DataFrame:
    """Summary of the scores (not the training monitors) of the methods and controls themselves."""
    chosen = frame[(frame["experiment"] == "main") & frame["metric"].map(is_score)]
    summary = summarise(chosen)
    order = summary.assign(
        _metric=summary["metric"].map(metric_rank), _method=summary["method"].map(method_rank)
    ).sort_values([*GROUP, "_metric", "_method"], kind="stable", ignore_index=True)
    return order.drop(columns=["_metric", "_method"])


def per_run(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per pre-training run: its identity and cost, without the measurements."""
    identity = ["scale", "modality", "method", "model", "experiment", "variant", "seed"]
    cost = ["dataset", "updates", "samples", "pretrain_seconds", "peak_memory_bytes"]
    return frame[frame["updates"] > 0].groupby(identity, sort=True, as_index=False)[cost].first()


def spread_of(std: float) -> float:
    """A standard deviation for sums; one run has none, which counts as 0 (and is said where it matters)."""
    return 0.0 if math.isnan(std) else std
