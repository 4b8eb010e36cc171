"""Schedules: anchors measured on the original, and what holds for any setting."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data2vec.errors import UserError
from data2vec.training.schedules import (
    SCHEDULES,
    LearningRate,
    beit_ema_decay,
    ema_decay,
    stage_lengths,
)

fast = settings(max_examples=60, derandomize=True, deadline=None)

IMAGE = LearningRate("cosine", 1e-3, 375_300, 50_040)
AUDIO = LearningRate("cosine", 7.5e-4, 400_000, 8_000)
FINETUNE = LearningRate("cosine", 1e-3, 250_200, 16_000, floor=1e-6)
SPEECH = LearningRate("tri_stage", 5e-4, 400_000, stages=stage_lengths((0.03, 0.9, 0.07), 400_000))
CTC = LearningRate("tri_stage", 3e-5, 80_000, stages=stage_lengths((0.1, 0.4, 0.5), 80_000), final_scale=0.05)


@pytest.mark.parametrize(
    ("rate", "update", "expected"),
    [
        (IMAGE, 25_020, 5e-4),
        (IMAGE, 50_040, 1e-3),
        (IMAGE, 212_670, 5e-4),
        (AUDIO, 4_000, 3.75e-4),
        (AUDIO, 204_000, 3.75e-4),
        (FINETUNE, 0, 1e-6),
        (FINETUNE, 8_000, 5.005e-4),
        (FINETUNE, 133_100, 5.005e-4),
        (SPEECH, 0, 5e-6),
        (SPEECH, 6_000, 2.525e-4),
        (SPEECH, 372_000, 5e-4),
        (SPEECH, 386_000, 5e-5),
        (SPEECH, 400_000, 5e-6),
        (CTC, 0, 3e-7),
        (CTC, 4_000, 1.515e-5),
        (CTC, 60_000, 6.7082e-6),
        (CTC, 80_000, 1.5e-6),
    ],
)
def test_rates_at_the_measured_anchors(rate: LearningRate, update: int, expected: float) -> None:
    assert rate.at(update) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("update", "start", "end", "anneal", "expected"),
    [
        (50_000, 0.9998, 0.99999, 100_000, 0.999895),  # 2.0 image base
        (37_500, 0.999, 0.99999, 75_000, 0.999495),  # 2.0 speech base
        (15_000, 0.999, 0.9999, 30_000, 0.99945),  # 1.0 speech
        (150_000, 0.9998, 1.0, 300_000, 0.9999),  # 2.0 image huge
        (0, 0.999, 0.9999, 0, 0.9999),
        (10**6, 0.999, 0.9999, 10, 0.9999),
    ],
)
def test_teacher_decay_at_the_measured_anchors(
    update: int, start: float, end: float, anneal: int, expected: float
) -> None:
    assert ema_decay(update, start, end, anneal) == pytest.approx(expected, abs=1e-9)


@fast
@given(
    st.sampled_from(SCHEDULES),
    st.integers(1, 200),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0.01, 1),
    st.integers(0, 250),
)
def test_rates_stay_between_zero_and_the_peak(
    schedule: str, total: int, warmup_share: float, floor_share: float, scale: float, update: int
) -> None:
    warmup = int(total * warmup_share)
    if schedule.startswith(("beit", "mae")):
        update = min(update, total - 1)  # these are tables of `total` values
    stages = stage_lengths((0.1, 0.4, 0.5), total)
    rate = LearningRate(schedule, 2e-3, total, warmup, floor=2e-3 * floor_share, stages=stages, decay=total - warmup)
    value = rate.at(update, scale)
    assert math.isfinite(value) and 0 <= value <= 2e-3 * scale * (1 + 1e-9)


def test_floor_is_absolute_until_the_scaled_peak_falls_below_it() -> None:
    rate = LearningRate("cosine", 1e-3, 100, 0, floor=1e-4)
    last = 99
    assert rate.at(last, 0.5) == pytest.approx(1e-4, rel=0.01)  # not halved
    assert rate.at(0, 0.5) == pytest.approx(5e-4)
    assert rate.at(last, 0.01) == rate.at(0, 0.01) == pytest.approx(1e-5)  # the floor is lowered to the peak
    assert LearningRate("mae_cosine", 1e-3, 100, 0, floor=1e-4).at(100, 0.5) == pytest.approx(5e-5)  # all scaled


def test_first_update_of_a_warm_up_from_zero_has_rate_zero() -> None:
    assert IMAGE.at(0) == 0.0
    assert LearningRate("polynomial", 1e-3, 100, 10).at(0) == 0.0


def test_last_beit_value_of_the_warm_up_is_the_peak() -> None:
    rate = LearningRate("beit_cosine", 2e-3, 100, 10)
    assert [rate.at(i) for i in (0, 9, 10)] == pytest.approx([0.0, 2e-3, 2e-3])


def test_beit_teacher_reaches_its_end_only_with_the_next_epoch() -> None:
    values = [beit_ema_decay(i, 0, 0.9, 1.0, 4) for i in range(8)]
    assert values == pytest.approx([0.9, 0.925, 0.95, 0.975, 0.975, 0.975, 0.975, 0.975])
    assert beit_ema_decay(8, 8, 0.9, 1.0, 4) == 1.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"schedule": "cosin"}, "did you mean cosine"),
        ({"schedule": "cosine", "total": 0}, "at least 1"),
        ({"schedule": "cosine", "warmup": 101}, "does not fit"),
        ({"schedule": "cosine", "warmup": -1}, "does not fit"),
    ],
)
def test_impossible_schedules_are_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        LearningRate(**({"peak": 1e-3, "total": 100} | values))
