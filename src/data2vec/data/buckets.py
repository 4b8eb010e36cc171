"""Batches of recordings of similar length, with a budget of samples (algorithms.md 1.9).

Training batch number n is a pure function of (seed, n), like that of images: cropped for pre-training, padded with
zeros where every sample counts. `audio_batches` passes over chosen recordings once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from data2vec.data.audio import SAMPLE_RATE, Recordings
from data2vec.data.loading import loader
from data2vec.errors import UserError

Indices = NDArray[np.int64]
Extra = Callable[[np.random.Generator, int, Indices], Mapping[str, Any]]

# Separate random streams, so that drawing more in one leaves the others as they are.
_ORDER, _CROP, _EXTRA = 0, 1, 2


class LengthBuckets:
    """Which recordings make up batch n.

    In every epoch the recordings are sorted by length, equal ones in random order, and cut into batches whose rows
    times longest row stay within `budget`; the batches then come in random order. Only which of the equally long
    recordings meet differs between epochs, so every epoch has the same number of batches.
    """

    def __init__(self, lengths: Indices, budget: int, longest: int, seed: int) -> None:
        """`lengths` in samples, counted as `longest` where they are longer; `budget` in samples."""
        if len(lengths) == 0:
            raise UserError("the training split holds no recordings")
        self.sizes = np.minimum(lengths, longest)
        self.seed = seed
        ordered = np.sort(self.sizes)[::-1]
        if budget < ordered[0]:
            raise UserError(
                f"a batch of {budget:,} samples cannot hold a recording of {ordered[0]:,}; "
                "raise speech.micro_seconds or lower speech.max_seconds"
            )
        starts = [0]
        while (rows := budget // int(ordered[starts[-1]])) and starts[-1] + rows < len(ordered):
            starts.append(starts[-1] + rows)
        self.bounds = [*starts, len(ordered)]
        self._epoch = lru_cache(maxsize=2)(self._draw_epoch)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.bounds) - 1

    def indices(self, number: int) -> Indices:
        """The recordings of batch `number`, longest first: int64 (rows,)."""
        epoch, place = divmod(number, len(self))
        order, batches = self._epoch(epoch)
        bucket = int(batches[place])
        return order[self.bounds[bucket] : self.bounds[bucket + 1]]

    def _draw_epoch(self, epoch: int) -> tuple[Indices, Indices]:
        rng = np.random.default_rng((self.seed, _ORDER, epoch))
        order = np.lexsort((rng.random(len(self.sizes)), -self.sizes))
        return order, rng.permutation(len(self))


class CroppedBatches(Dataset[dict[str, Tensor]]):
    """Endless pre-training batches, `batches[n]`: every row cropped to the shortest at a random place, no padding."""

    def __init__(self, source: Recordings, budget: int, longest: int, seed: int, extra: Extra | None = None) -> None:
        """`extra(rng, samples, lengths)` returns further arrays to add, such as masks.

        It gets the samples of every row and those of each recording before it was cropped.
        """
        self.source, self.seed, self.extra = source, seed, extra
        self.buckets = LengthBuckets(source.lengths, budget, longest, seed)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """Batch `number`: waveforms float32 (B, S), indices int64 (B,), and what `extra` adds."""
        indices = self.buckets.indices(number)
        size = int(self.buckets.sizes[indices].min())
        rng = np.random.default_rng((self.seed, _CROP, number))
        rows = []
        for index in indices.tolist():
            start = int(rng.integers(self.source.lengths[index] - size + 1))
            rows.append(self.source.waveform(index)[start : start + size])
        batch = {"waveforms": torch.stack(rows), "indices": torch.from_numpy(indices.copy())}
        if self.extra is not None:
            rng = np.random.default_rng((self.seed, _EXTRA, number))
            added = self.extra(rng, size, self.source.lengths[indices])
            batch |= {name: torch.as_tensor(value) for name, value in added.items()}
        return batch


class PaddedBatches(Dataset[dict[str, Tensor]]):
    """Endless training batches of whole recordings, `batches[n]`, as `padded` makes them."""

    def __init__(self, source: Recordings, budget: int, seed: int, indices: Indices | None = None) -> None:
        """`budget` in samples, padding included; `indices` chooses recordings, without it all are used.

        Raises:
            UserError: the longest recording does not fit into the budget.
        """
        self.source = source
        self.chosen = np.arange(len(source)) if indices is None else np.asarray(indices, dtype=np.int64)
        lengths = source.lengths[self.chosen]
        self.buckets = LengthBuckets(lengths, budget, int(lengths.max(initial=0)), seed)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """Batch `number`, longest recording first."""
        return padded(self.source, self.chosen[self.buckets.indices(number)])


class _Pass(Dataset[dict[str, Tensor]]):
    """Every chosen recording once, longest first; one that is longer than the budget is a batch of its own."""

    def __init__(self, source: Recordings, chosen: Indices, budget: int) -> None:
        self.source = source
        ordered = chosen[np.argsort(-source.lengths[chosen], kind="stable")]
        self.batches = []
        while len(ordered):
            rows = max(1, budget // int(source.lengths[ordered[0]]))
            self.batches.append(ordered[:rows])
            ordered = ordered[rows:]

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        return padded(self.source, self.batches[number])


def padded(source: Recordings, indices: Indices) -> dict[str, Tensor]:
    """Whole recordings as a batch.

    waveforms float32 (B, S), zero after the end of each; lengths int64 (B,) in samples; indices int64 (B,).
    """
    rows = [source.waveform(int(index)) for index in indices]
    lengths = torch.tensor([len(row) for row in rows])
    waveforms = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return {"waveforms": waveforms, "lengths": lengths, "indices": torch.from_numpy(indices.copy())}


def audio_batches(
    recordings: Recordings, indices: Indices | None, max_seconds_per_batch: float, workers: int = 0
) -> Iterator[dict[str, Tensor]]:
    """Each of the recordings `indices` (None: all) once, longest first, in batches as `padded` makes them.

    A batch holds at most `max_seconds_per_batch` of audio, padding included, but at least one recording.
    """
    chosen = np.arange(len(recordings)) if indices is None else np.asarray(indices, dtype=np.int64)
    batches = _Pass(recordings, chosen, round(max_seconds_per_batch * SAMPLE_RATE))
    return loader(batches, 0, len(batches.batches), workers)
