"""Verdicts: each can be reached, by each kind of comparison, and never from one seed."""

import math

import pandas as pd
import pytest
from pydantic import TypeAdapter

from data2vec.reporting.ledger import AnyComparison, Ledger
from data2vec.reporting.verdicts import Finding, Verdict, combine, find

SUPPORTED, CONTRADICTED, OPEN, NOT_RUN = Verdict.SUPPORTED, Verdict.CONTRADICTED, Verdict.INCONCLUSIVE, Verdict.NOT_RUN
COLUMNS = {"scale": "embedded", "modality": "vision", "dataset": "digits", "model": "tiny", "unit": "%", "updates": 9}


def rows(scores, experiment="main", metric="linear_top1", method=None, **columns):
    """{method or value: [score of seed 0, ...]} as rows of results.csv."""
    return pd.DataFrame([
        {**COLUMNS, "experiment": experiment, "method": method or name, "variant": name, "seed": seed, "metric": metric,
         "value": value, "pretrain_seconds": 1.0, **columns}
        for name, values in scores.items() for seed, value in enumerate(values)
    ])  # fmt: skip


def judged(frame, **keys):
    comparison = TypeAdapter(AnyComparison).validate_python({"modalities": ["vision"], **keys})
    ledger = Ledger(
        metrics={"vision": ("finetune_top1", "linear_top1", "wer")}, documents={}, comparisons={}, claims=()
    )
    return find("test", comparison, ledger, frame)


def over(frame, **keys):
    (found,) = judged(frame, **{"kind": "over", "a": "data2vec", "b": "mae", **keys})
    return found


@pytest.mark.parametrize(
    ("ours", "rival", "effect", "verdict"),
    [
        ([90, 91, 92], [88, 89.2, 90.1], 0, SUPPORTED),
        ([88, 89.2, 90.1], [90, 91, 92], 0, CONTRADICTED),
        ([90, 91, 89], [91, 90, 89], 0, OPEN),
        ([90, 91, 92], [88, 89.2, 90.1], 3, CONTRADICTED),  # better, but by less than counts
        ([88, 89.2, 90.1], [88.4, 89.6, 90.4], -1, SUPPORTED),  # no more than a point below
        ([90], [80], 0, NOT_RUN),
        ([90, 91], [80, 81], 0, NOT_RUN),
    ],
)
def test_one_method_against_another(ours, rival, effect, verdict):
    found = over(rows({"data2vec": ours, "mae": rival}), effect=effect)
    assert found.verdict is verdict
    assert found.effect == pytest.approx(sum(a - b for a, b in zip(ours, rival, strict=True)) / len(ours))
    assert found.n == len(ours)
    assert (found.low <= found.effect <= found.high) is (len(ours) > 2)


def test_of_error_rates_less_is_the_gain():
    found = over(rows({"data2vec": [10, 11, 12], "mae": [15, 16.5, 17]}, metric="wer"))
    assert (found.verdict, found.unit) == (SUPPORTED, "points")
    assert found.effect > 0


@pytest.mark.parametrize(
    ("values", "reason"), [([90], "one run, 3 seeds are needed"), ([90, 91], "2 seeds, 3 are needed")]
)
def test_too_few_seeds_are_said(values, reason):
    assert over(rows({"data2vec": values, "mae": [80, 81, 82]})).reason == reason


def test_the_ledgers_seeds_count():
    frame = rows({"data2vec": [90, 91, 92], "mae": [80, 81.1, 82.2]})
    assert over(frame, seeds=4).verdict is NOT_RUN
    assert over(frame, seeds=4).reason == "3 seeds, 4 are needed"


def test_a_doubled_row_is_no_further_seed():
    once = rows({"data2vec": [90, 91], "mae": [80, 81]})
    assert over(pd.concat([once, once])).reason == "2 seeds, 3 are needed"


def test_a_nan_takes_its_seed_out_of_both_sides():
    found = over(rows({"data2vec": [90, math.nan, 92, 93], "mae": [80, 99, 82.5, 83.1]}))
    assert (found.n, found.verdict) == (3, SUPPORTED)
    assert found.effect == pytest.approx((10 + 9.5 + 9.9) / 3)


def test_seeds_that_differ_are_not_paired():
    frame = rows({"data2vec": [90, 91, 92], "mae": [80, 81, 82]})
    frame.loc[frame["method"] == "mae", "seed"] += 7
    assert over(frame).reason == "no seed has all that is compared, 3 are needed"


def test_what_is_absent_is_named():
    assert over(rows({"data2vec": [90, 91, 92]})).reason == "main runs of images: without MAE"
    assert judged(rows({"x": [1]}), kind="best_over", experiment="k_layers", value="1")[0].reason == (
        "no experiment k_layers of images"
    )


def test_the_first_metric_that_both_sides_have_decides():
    tuned = rows({"data2vec": [95, 95, 95]}, metric="finetune_top1")
    assert over(pd.concat([tuned, rows({"data2vec": [90, 91, 92], "mae": [88, 89, 90]})])).metric == "linear_top1"


def test_the_raw_input_has_one_value_for_all_seeds():
    found = over(rows({"data2vec": [90, 91, 92], "raw pixels": [80]}), b="raw pixels")
    assert (found.n, found.verdict) == (3, SUPPORTED)


@pytest.mark.parametrize(
    ("b", "verdict"), [([90.1, 90.9, 92.1], SUPPORTED), ([80, 81.5, 82.1], CONTRADICTED), ([89, 92, 92], OPEN)]
)
def test_equal_means_within_a_margin(b, verdict):
    frame = rows({"L2": [90, 91, 92], "L1": b}, "loss", method="data2vec")
    assert over(frame, experiment="loss", a="L2", b="L1", equal=True, effect=1).verdict is verdict


@pytest.mark.parametrize(
    ("kind", "one", "verdict"),
    [
        ("best_over", [80, 81, 82], SUPPORTED),
        ("best_over", [99, 99.5, 99.1], CONTRADICTED),
        ("best_over", [90, 91.5, 91], OPEN),
        ("best_at", [99, 99.5, 99.1], SUPPORTED),
        ("best_at", [80, 81, 82], CONTRADICTED),
    ],
)
def test_a_value_against_the_best_of_the_others(kind, one, verdict):
    frame = rows({"1": one, "2": [85, 86, 87.5], "4": [90, 91, 92]}, "k_layers", method="data2vec")
    (found,) = judged(frame, kind=kind, experiment="k_layers", value=1)
    assert found.verdict is verdict
    assert "4" in found.subject


def test_choosing_the_best_of_many_widens_the_interval():
    few = rows({"1": [80, 81, 82], "2": [82, 82.5, 84]}, "k", method="data2vec")
    many = pd.concat([few, rows({"3": [70, 70, 70], "4": [71, 71, 71]}, "k", method="data2vec")])
    keys = {"kind": "best_over", "experiment": "k", "value": "1"}
    (narrow,), (wide,) = judged(few, **keys), judged(many, **keys)
    assert narrow.effect == wide.effect
    assert wide.low < narrow.low


@pytest.mark.parametrize(
    ("points", "direction", "verdict"),
    [
        ({"1": [80, 81, 82], "10": [85, 86, 86.5], "100": [90, 91, 92]}, "grows", SUPPORTED),
        ({"1": [80, 81, 82], "10": [85, 86, 86.5], "100": [90, 91, 92]}, "falls", CONTRADICTED),
        ({"1": [80, 91, 82], "10": [85, 86, 86.5], "100": [84, 83, 92]}, "grows", OPEN),
        ({"1": [80, 81, 82], "100": [90, 91, 92.5]}, "grows", SUPPORTED),  # two values: the difference alone
        ({"1": [80], "10": [85], "100": [90]}, "grows", NOT_RUN),
        ({"1": [90, 91, 92]}, "grows", NOT_RUN),
    ],
)
def test_a_trend_along_an_ordered_axis(points, direction, verdict):
    frame = rows(points, "target_context", method="data2vec")
    (found,) = judged(frame, kind="trend", experiment="target_context", direction=direction)
    assert found.verdict is verdict


def test_a_trend_may_be_that_of_the_gain_over_another_method():
    ours = rows({"60": [50, 51, 52], "300": [40, 41, 42], "900": [30, 31, 32]}, "label_amount", "wer", "data2vec")
    scratch = rows(
        {"60": [90, 91, 93], "300": [60, 62, 63], "900": [35, 36, 37]}, "label_amount", "wer", "from scratch"
    )
    keys = {"kind": "trend", "experiment": "label_amount", "direction": "falls", "method": "data2vec"}
    (found,) = judged(pd.concat([ours, scratch]), **keys, against="from scratch")
    assert found.verdict is SUPPORTED
    assert found.effect == pytest.approx((35 + 35 + 36) / 3)  # gains of 40, 40, 41 fall to 5


def snapshots(scores, seconds, **columns):
    parts = [
        rows({name: values}, metric=f"linear_top1@{place}", updates=place, **columns).assign(pretrain_seconds=time)
        for name, line in scores.items()
        for place, (values, time) in enumerate(zip(line, seconds[name], strict=True))
    ]
    return pd.concat(parts)


RIVAL = [[50, 50, 50], [70, 71, 72]]


@pytest.mark.parametrize(
    ("ours", "verdict", "ratio"),
    [
        ([[60, 60, 60], [75, 74, 76]], SUPPORTED, None),
        ([[70, 71, 72], [75, 74, 76]], SUPPORTED, 10.0),
        ([[40, 40, 40], [60, 61, 62]], CONTRADICTED, 0.5),  # not reached in twice the time
    ],
)
def test_the_ratio_of_times_to_the_rivals_best_score(ours, verdict, ratio):
    seconds = {"mae": (10, 100), "data2vec2": (10, 20) if verdict is SUPPORTED else (100, 200)}
    frame = snapshots({"mae": RIVAL, "data2vec2": ours}, seconds)
    (found,) = judged(frame, kind="time_ratio", method="data2vec2", rival="mae")
    assert (found.verdict, found.unit) == (verdict, "times")
    assert found.effect > 1 if ratio is None else found.effect == pytest.approx(ratio)
    assert ("does not reach" in found.reason) is (ratio == 0.5)


def test_a_score_that_a_short_run_does_not_reach_decides_nothing():
    frame = snapshots(
        {"mae": RIVAL, "data2vec2": [[40, 40, 40], [60, 61, 62]]}, {"mae": (10, 100), "data2vec2": (10, 20)}
    )
    (found,) = judged(frame, kind="time_ratio", method="data2vec2", rival="mae")
    assert found.verdict is OPEN
    assert found.reason.endswith("for 3 of 3 seeds; the ratio is less than that shown")


@pytest.mark.parametrize(
    ("values", "floor", "verdict"),
    [
        ([0.5, 0.6, 0.7], None, SUPPORTED),
        ([0.5], None, NOT_RUN),
        ([0.5, 0.6, 0.7], 0.01, SUPPORTED),
        ([0.001, 0.002, 0.001], 0.01, CONTRADICTED),
    ],
)
def test_runs_that_ended(values, floor, verdict):
    frame = rows({"data2vec": values}, metric="pred_var", unit="")
    keys = {"metric": {"vision": ["pred_var"]}, "methods": ["data2vec"], "floor": floor}
    assert judged(frame, kind="presence", **keys)[0].verdict is verdict


@pytest.mark.parametrize(
    ("parts", "verdict"),
    [
        ([SUPPORTED, SUPPORTED], SUPPORTED),
        ([SUPPORTED, CONTRADICTED, NOT_RUN], CONTRADICTED),
        ([SUPPORTED, NOT_RUN], OPEN),
        ([OPEN, SUPPORTED], OPEN),
        ([NOT_RUN, NOT_RUN], NOT_RUN),
    ],
)
def test_a_claim_holds_only_if_all_of_it_does(parts, verdict):
    assert combine([Finding("test", "main", "vision", part, "") for part in parts]) is verdict


def test_two_values_of_an_experiment_can_be_timed():
    frame = snapshots({"transformer": RIVAL, "conv": RIVAL}, {"transformer": (10, 100), "conv": (10, 50)})
    frame = frame.assign(experiment="decoder_kind", method="data2vec2")
    (found,) = judged(frame, kind="time_ratio", experiment="decoder_kind", method="conv", rival="transformer")
    assert (found.verdict, found.effect) == (SUPPORTED, pytest.approx(2))
