"""The numbers behind tables: means over seeds, paired differences, trends."""

import math

import pandas as pd
import pytest

from data2vec.reporting import stats


def scores(**by_seed):
    """One method's scores: seed0=1.0, seed1=2.0 ..."""
    return {"seeds": tuple(int(name[4:]) for name in by_seed), "values": tuple(by_seed.values())}


def test_a_paired_interval_is_that_of_the_differences():
    ours, other = scores(seed0=90, seed1=92, seed2=94), scores(seed0=89, seed1=90, seed2=91)
    low, high = stats.paired_interval(ours, other)  # differences 1, 2, 3: 2 ± 4.303 / sqrt(3)
    assert (low, high) == pytest.approx((2 - 4.30265 / 3**0.5, 2 + 4.30265 / 3**0.5), abs=1e-4)


def test_only_seeds_that_both_have_are_paired():
    ours = scores(seed0=90, seed1=92, seed2=94, seed5=0)
    assert stats.paired_interval(ours, scores(seed2=93, seed1=91, seed0=89)) == (1, 1)


@pytest.mark.parametrize("other", [scores(seed0=1, seed1=2), scores(seed7=1, seed8=2, seed9=3)])
def test_fewer_than_three_pairs_have_no_interval(other):
    assert stats.paired_interval(scores(seed0=90, seed1=92, seed2=94), other) is None


def line(values, xs=(1.0, 2.0, 4.0)):
    return pd.DataFrame({"x": xs, "values": values, "n": [len(value) for value in values]})


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (line([(1, 2), (3, 4), (5, 6)]), r"τ = \+0\.\d\d \(p = 0\.\d+, 6 runs\)"),
        (line([(5, 6), (3, 4), (1, 2)]), "τ = -0"),
        (line([(1,), (2,), (3,)]), "^one run a value, no trend test$"),
        (line([(1, 1), (1, 1), (1, 1)]), "all scores are equal"),
        (line([(1, 2), (3, 4), (5, 6)], (math.nan, 1.0, 2.0)), "^$"),
        (line([(1, 2), (3, 4)], (1.0, 2.0)), "^$"),
    ],
)
def test_a_trend_is_stated_where_the_axis_has_an_order_and_seeds(points, words):
    import re

    assert re.search(words, stats.trend(points))


def test_a_fine_tuning_that_varies_is_no_further_pretraining(whole):
    runs = stats.per_run(whole.frame())
    assert set(runs["experiment"]) == {"main", "top_k"}
    assert stats.pretraining_data(whole.frame())[("embedded", "text", "data2vec2")] == "pydoc"
