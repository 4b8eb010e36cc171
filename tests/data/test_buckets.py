"""Batches of recordings: budget, order and crops are a function of (seed, number)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data2vec.data.buckets import CroppedBatches, LengthBuckets, PaddedBatches, audio_batches
from data2vec.errors import UserError

fast = settings(max_examples=60, derandomize=True, deadline=None)


class Ramps:
    """Recordings whose sample i is i, so that a crop tells where it was taken."""

    def __init__(self, lengths: list[int]) -> None:
        self.lengths = np.array(lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    def waveform(self, index: int) -> torch.Tensor:
        return torch.arange(int(self.lengths[index]), dtype=torch.float32)


@fast
@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(50, 200), st.integers(1, 60), st.integers(0, 9)
)
def test_an_epoch_holds_every_recording_once_within_the_budget(
    lengths: list[int], budget: int, longest: int, seed: int
) -> None:
    buckets = LengthBuckets(np.array(lengths), budget, longest, seed)
    for epoch in range(2):
        batches = [buckets.indices(epoch * len(buckets) + i) for i in range(len(buckets))]
        assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
        for indices in batches:
            sizes = np.minimum(np.array(lengths)[indices], longest)
            assert len(indices) * sizes.max() <= budget
            assert (np.diff(sizes) <= 0).all()


def test_batches_hold_recordings_of_similar_length() -> None:
    lengths = np.random.default_rng(0).integers(16_000, 100_000, 400)
    buckets = LengthBuckets(lengths, 400_000, 10**9, 0)
    spread = [np.ptp(lengths[buckets.indices(i)]) for i in range(len(buckets))]
    assert np.mean(spread) < 2_000
    order = [int(lengths[buckets.indices(i)].max()) for i in range(len(buckets))]
    assert order != sorted(order, reverse=True)  # the batches themselves come in random order


def test_epochs_differ_and_seeds_differ() -> None:
    lengths = np.full(20, 10)
    buckets = LengthBuckets(lengths, 50, 100, 0)
    assert buckets.indices(0).tolist() != buckets.indices(len(buckets)).tolist()
    assert buckets.indices(0).tolist() != LengthBuckets(lengths, 50, 100, 1).indices(0).tolist()


def test_a_budget_under_the_longest_recording_is_refused() -> None:
    with pytest.raises(UserError, match="a batch of 40 samples cannot hold a recording of 50"):
        LengthBuckets(np.array([10, 50]), 40, 60, 0)


def test_rows_are_cropped_to_the_shortest_at_random_places() -> None:
    source = Ramps([100, 90, 80])
    batches = CroppedBatches(source, 300, 1000, 0)  # type: ignore[arg-type]
    starts = set()
    for number in range(20):
        batch = batches[number]
        assert batch["waveforms"].shape == (3, 80)
        assert torch.equal(batch["waveforms"].diff(dim=1), torch.ones(3, 79))
        assert all(row[-1] < source.lengths[i] for row, i in zip(batch["waveforms"], batch["indices"], strict=True))
        starts.add(tuple(batch["waveforms"][:, 0].tolist()))
    assert len(starts) > 10


def test_long_recordings_are_cropped_to_the_most_that_is_allowed() -> None:
    batches = CroppedBatches(Ramps([100, 90]), 300, 30, 0)  # type: ignore[arg-type]
    assert batches[0]["waveforms"].shape == (2, 30)


def test_a_batch_depends_on_seed_and_number_only() -> None:
    def extra(rng: np.random.Generator, samples: int, lengths: np.ndarray) -> dict[str, np.ndarray]:
        assert samples <= lengths.min()
        return {"drawn": rng.random(3)}

    source = Ramps([100, 90, 80, 70, 60])
    a, b = (CroppedBatches(source, 200, 1000, 3, extra) for _ in range(2))  # type: ignore[arg-type]
    _ = [b[i] for i in range(7)]
    for number in (5, 2, 11):
        assert all(torch.equal(a[number][key], b[number][key]) for key in a[number])


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_change_nothing(workers: int, tmp_path: Path) -> None:
    from data2vec.data.loading import loader

    batches = CroppedBatches(Ramps([100, 90, 80, 70]), 200, 1000, 3)  # type: ignore[arg-type]
    made = list(loader(batches, 3, 6, workers))
    expected = (batches[n]["waveforms"] for n in range(3, 6))
    assert all(torch.equal(a["waveforms"], b) for a, b in zip(made, expected, strict=True))


# ---- whole recordings, padded


def assert_padded(batch: dict[str, torch.Tensor], lengths: list[int]) -> None:
    """Every row holds its recording and then zeros, and there is no more padding than the longest row asks for."""
    assert batch["waveforms"].shape == (len(batch["indices"]), batch["lengths"].max())
    for row, length, index in zip(batch["waveforms"], batch["lengths"], batch["indices"], strict=True):
        assert length == lengths[index]
        assert torch.equal(row[:length], torch.arange(int(length), dtype=torch.float32))
        assert not row[length:].any()


@fast
@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 200))
def test_a_pass_holds_every_recording_once_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = list(audio_batches(Ramps(lengths), None, budget / 16_000))  # type: ignore[arg-type]
    assert sorted(i for batch in batches for i in batch["indices"].tolist()) == list(range(len(lengths)))
    order = [n for batch in batches for n in batch["lengths"].tolist()]
    assert order == sorted(lengths, reverse=True)
    for batch in batches:
        assert_padded(batch, lengths)
        assert batch["waveforms"].numel() <= budget or len(batch["indices"]) == 1


def test_a_pass_over_chosen_recordings_and_over_none() -> None:
    source = Ramps([30, 20, 40, 10])
    batches = list(audio_batches(source, np.array([3, 0]), 1.0))  # type: ignore[arg-type]
    assert [batch["indices"].tolist() for batch in batches] == [[0, 3]]
    assert list(audio_batches(source, np.array([], dtype=np.int64), 1.0)) == []  # type: ignore[arg-type]


def test_padded_training_batches_hold_whole_recordings_and_depend_on_seed_and_number_only() -> None:
    lengths = [100, 90, 80, 70, 60, 20]
    chosen = np.array([0, 2, 3, 5])
    a, b = (PaddedBatches(Ramps(lengths), 200, 3, chosen) for _ in range(2))  # type: ignore[arg-type]
    epoch = [b[i] for i in range(len(b.buckets))]
    assert sorted(i for batch in epoch for i in batch["indices"].tolist()) == chosen.tolist()
    for number in (5, 0, 11):
        assert_padded(a[number], lengths)
        assert all(torch.equal(a[number][key], b[number][key]) for key in a[number])


def test_a_recording_over_the_budget_of_padded_training_batches_is_refused() -> None:
    with pytest.raises(UserError, match="a batch of 40 samples cannot hold a recording of 50"):
        PaddedBatches(Ramps([10, 50]), 40, 0)  # type: ignore[arg-type]
