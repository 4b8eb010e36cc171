"""Time to a score: between snapshots, not reached, and the ratio of two methods."""

import math

import pandas as pd
import pytest

from data2vec.reporting.time_to_score import time_ratios, time_to_score


def run(method, points, seed=0, metric="linear_top1"):
    rows = [{"method": method, "seed": seed, "pretrain_seconds": t, "value": v, "metric": metric} for t, v in points]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("score", "seconds"), [(50, 10), (60, 15), (70, 20), (75, 30), (40, 10)])
def test_time_is_linear_between_snapshots(score, seconds):
    frame = run("mae", [(20, 70), (10, 50), (40, 80)])
    assert time_to_score(frame, "mae", score) == pytest.approx(seconds)


def test_a_score_that_is_not_reached_has_no_time():
    assert math.isnan(time_to_score(run("mae", [(10, 50)]), "mae", 51))


def test_error_rates_fall_to_their_score():
    assert time_to_score(run("mae", [(10, 80), (20, 60)], metric="wer"), "mae", 70) == pytest.approx(15)


def test_the_rival_is_timed_at_its_best_not_at_its_end():
    rival, ours = run("mae", [(10, 50), (20, 60), (30, 55)]), run("data2vec2", [(2, 40), (5, 60)])
    (found,) = time_ratios(pd.concat([rival, ours]), "data2vec2", "mae")
    assert (found.ratio, found.is_bound) == (pytest.approx(4), False)


def test_a_seed_that_one_of_them_lacks_does_not_count():
    frame = pd.concat([run("mae", [(10, 50)]), run("mae", [(10, 50)], 1), run("data2vec2", [(5, 40)], 1)])
    (found,) = time_ratios(frame, "data2vec2", "mae")
    assert (found.seed, found.ratio, found.is_bound) == (1, 2, True)
