"""The parity ladder: each score with its controls, best first, and whether pre-training clears them all."""

import math
from typing import Any

import pandas as pd

from data2vec.reporting import stats
from data2vec.reporting.names import RAW_INPUT, controls_of, is_control, lower_is_better, metric_rank
from data2vec.reporting.rules import GLUE, GLUE_AVERAGE

ABOVE, BELOW, WITHIN = "better than every control", "worse than a control", "within the spread"


def ladders(frame: pd.DataFrame) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    """Per group and score with a value: ((metric, unit), summary ordered from best to worst)."""
    scores = stats.main_scores(frame)
    scores = scores[scores["n"] > 0]
    result = []
    for key, part in scores.groupby([*stats.GROUP, "metric", "unit"], sort=False):
        metric, unit = key[-2:]
        ordered = part.sort_values("mean", ascending=lower_is_better(metric), kind="stable")
        result.append(((metric, unit), ordered))
    return sorted(result, key=lambda item: (metric_rank(item[0][0]), item[1]["dataset"].iloc[0]))


def leading_ladders(frame: pd.DataFrame) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    """The ladders without the tasks of GLUE where their average is there: a table of their own has them."""
    found = ladders(frame)
    if not any(metric == GLUE_AVERAGE[1] for (metric, _), _ in found):
        return found
    return [(key, ladder) for key, ladder in found if (ladder["dataset"].iloc[0], key[0]) not in GLUE]


def strongest_control(ladder: pd.DataFrame) -> dict[str, Any] | None:
    """The best of the controls in one ladder; None without any."""
    found = ladder[ladder["method"].map(is_control)]
    return found.iloc[0].to_dict() if len(found) else None


def control_verdict(record: dict[str, Any], ladder: pd.DataFrame) -> tuple[str, float]:
    """(phrase, difference to the strongest control) of a pre-trained method in its ladder.

    Two standard deviations added are the margin to each control: a difference inside it decides nothing.
    "Better than every control" needs every control that belongs to the score, each with a spread.
    """
    best = strongest_control(ladder)
    if best is None:
        return "no control was run", math.nan
    difference = record["mean"] - best["mean"]
    if record["n"] < 2:
        return "one run, no verdict", difference
    controls = ladder[ladder["method"].map(is_control)]
    margins = controls["std"].fillna(0) + stats.spread_of(record["std"])
    gains = (record["mean"] - controls["mean"]) * (-1 if lower_is_better(record["metric"]) else 1)
    if (gains < -margins).any():
        return BELOW, difference
    if (gains.abs() <= margins).any():
        return WITHIN, difference
    # The input itself is the same for every seed; random weights and training from scratch are not.
    single = controls[(controls["n"] < 2) & ~controls["method"].isin(RAW_INPUT.values())]
    lacking = set(controls_of(record["modality"], record["metric"])) - set(controls["method"])
    if lacking:
        return f"better, but without {' and '.join(sorted(lacking))}", difference
    if len(single):
        return f"better, but one run of {' and '.join(single['method'])}", difference
    return ABOVE, difference


def control_interval(record: dict[str, Any], ladder: pd.DataFrame) -> tuple[float, float] | None:
    """The paired interval of a method's difference to the strongest control; None if there are too few seeds."""
    best = strongest_control(ladder)
    if best is None:
        return None
    if best["n"] == 1 and best["method"] in RAW_INPUT.values():  # the same for every seed
        best = best | {"seeds": record["seeds"], "values": best["values"] * record["n"]}
    return stats.paired_interval(record, best)


def absent_controls(frame: pd.DataFrame) -> list[tuple[str, str, str, str, str]]:
    """(scale, modality, dataset, metric, control) for each control that should stand beside a score and does not."""
    absent = []
    scores = stats.main_scores(frame)
    for (scale, modality, dataset, metric), part in scores.groupby([*stats.GROUP, "metric"]):
        if all(is_control(method) for method in part["method"]):
            continue
        there = set(part.loc[part["n"] > 0, "method"])
        expected = controls_of(modality, metric)
        absent += [(scale, modality, dataset, metric, control) for control in expected if control not in there]
    return absent
