"""Time to a score: between snapshots, not reached, and the ratio of two methods."""

import math

import pandas as pd
import pytest

from data2vec.reporting.time_to_score import along_the_run, time_ratios, time_to_score


def run(method, points, seed=0, metric="linear_top1"):
    rows = pd.DataFrame(points, columns=["pretrain_seconds", "value"])
    return rows.assign(method=method, variant=method, seed=seed, metric=metric)


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


def test_a_rival_that_never_beats_its_random_weights_counts_with_its_best_trained_score():
    rival, ours = run("mae", [(0, 70), (20, 60), (30, 55)]), run("data2vec2", [(0, 40), (5, 60)])
    frame = pd.concat([rival, ours], ignore_index=True)
    (found,) = time_ratios(frame, "data2vec2", "mae")
    assert (found.ratio, found.is_bound) == (pytest.approx(4), False)


def test_a_seed_that_one_of_them_lacks_does_not_count():
    frame = pd.concat([run("mae", [(10, 50)]), run("mae", [(10, 50)], 1), run("data2vec2", [(5, 40)], 1)])
    (found,) = time_ratios(frame, "data2vec2", "mae")
    assert (found.seed, found.ratio, found.is_bound) == (1, 2, True)


def test_a_score_before_training_tells_nothing_about_time():
    frame = pd.concat([run("mae", [(10, 50)]), run("data2vec2", [(0, 55), (10, 60)])])
    assert time_ratios(frame, "data2vec2", "mae") == []


def test_only_runs_that_kept_encoders_have_a_curve():
    kept = pd.concat([run("mae", [(10, 50)], metric="linear_top1@5"), run("mae", [(20, 60)]), run("mae", [(20, 1)], 1)])
    found = along_the_run(kept, "linear_top1")
    assert list(found["value"]) == [50, 60]
    assert set(found["metric"]) == {"linear_top1"}


def test_no_rows_have_no_curve():
    assert along_the_run(run("mae", [(10, 50)]).iloc[:0], "linear_top1").empty
