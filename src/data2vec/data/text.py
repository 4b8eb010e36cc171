"""Prepared text as blocks of tokens, and batches of them for training (algorithms.md 2.3).

A split is one stream of ids in which every sentence ends in </s>; a document ends in a sentence that is nothing
else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from data2vec.data.loading import shuffled_indices
from data2vec.data.manifest import read_manifest
from data2vec.data.vocabulary import BOS, PAD
from data2vec.errors import UserError

log = logging.getLogger(__name__)

_MASKS = 2  # a random stream of its own beside the order of the blocks


class TextSet:
    """One split of a prepared text set: a stream of token ids and the lengths of its sentences."""

    def __init__(self, folder: Path, split: str, vocab_size: int, tokenizer: str = "bpe") -> None:
        """Open the shards. Raises UserError unless the set is prepared, complete, and has this vocabulary."""
        manifest = read_manifest(folder)
        if manifest.modality != "text":
            raise UserError(f"{folder} holds {manifest.modality} data, not text")
        if split not in manifest.splits:
            raise UserError(f"data set {manifest.name!r} has no split {split!r}, only {', '.join(manifest.splits)}")
        for key, value, wanted in (
            ("vocab_size", manifest.vocab_size, vocab_size),
            ("tokenizer", manifest.tokenizer, tokenizer),
        ):
            if value != wanted:
                raise UserError(
                    f"{folder} was prepared with data.{key} = {value}, this run says {wanted}: use the same, or "
                    "prepare again"
                )
        self.folder, self.name, self.split = folder, manifest.name, split
        paths = sorted(folder.glob(f"{split}_tokens_*.npy"))
        self.shards = [np.load(path, mmap_mode="r").view(np.ndarray) for path in paths]
        self.starts = np.cumsum([0, *(len(shard) for shard in self.shards)])
        self.lengths = np.concatenate([np.load(p) for p in sorted(folder.glob(f"{split}_sentences_*.npy"))])

    def tokens(self, start: int, stop: int) -> NDArray[np.int64]:
        """Ids `start` to `stop` - 1 of the stream, which may cross shards."""
        parts = []
        for first, shard in zip(self.starts, self.shards, strict=False):
            if start < first + len(shard) and stop > first:
                parts.append(shard[max(0, start - first) : stop - first])
        return np.concatenate(parts).astype(np.int64)


def block_slices(lengths: NDArray[np.int32], mode: str, size: int) -> NDArray[np.int64]:
    """First token and end of every block of at most `size` tokens, int64 (N, 2) (algorithms.md 2.3).

    `none`: every `size` tokens, a shorter rest left out; `complete`: whole sentences; `complete_doc`: whole
    sentences of one document, its border left out. Sentences longer than a block are left out.
    """
    ends = np.cumsum(lengths, dtype=np.int64)
    if mode == "none":
        starts = np.arange(int(ends[-1]) // size) * size
        return np.stack([starts, starts + size], axis=1)
    borders = np.flatnonzero(lengths == 1).tolist() if mode == "complete_doc" else []
    slices = []
    first = 0
    for last in [*borders, len(lengths)]:
        while first < last:
            start = int(ends[first - 1]) if first else 0
            stop = max(first + 1, int(np.searchsorted(ends, start + size, side="right")))
            stop = min(stop, last)
            slices.append((start, int(ends[stop - 1])))
            first = stop
        first = last + (mode == "complete_doc")
    found = np.array(slices, dtype=np.int64).reshape(-1, 2)
    return found[(found[:, 1] - found[:, 0]) <= size]


class TextBlocks:
    """The blocks of a split as sequences of ids, each with <s> in front."""

    def __init__(self, dataset: TextSet, mode: str, tokens_per_sample: int) -> None:
        """Find the blocks. Raises UserError if the text is too short for one."""
        self.dataset = dataset
        self.slices = block_slices(dataset.lengths, mode, tokens_per_sample - 1)
        if mode != "none" and (long := int((dataset.lengths >= tokens_per_sample).sum())):
            log.info("%d of %d sentences are longer than a block and left out", long, len(dataset.lengths))
        if not len(self.slices):
            raise UserError(
                f"the {dataset.split} split of {dataset.name!r} ({int(dataset.starts[-1]):,} tokens) gives no block of "
                f"text.tokens_per_sample = {tokens_per_sample} (text.block_mode = {mode}): lower it, or take more text"
            )

    def __len__(self) -> int:
        """Number of blocks."""
        return len(self.slices)

    def block(self, index: int) -> NDArray[np.int64]:
        """Ids of one block."""
        start, stop = self.slices[index]
        return np.concatenate([[BOS], self.dataset.tokens(int(start), int(stop))])


Views = Callable[[NDArray[np.int64], NDArray[np.int64], np.random.Generator], Mapping[str, NDArray[np.generic]]]


class TextBatches(Dataset[dict[str, Tensor]]):
    """An endless sequence of full batches of blocks; number n depends on (seed, n) alone.

    # differs: the released loader keeps the members of a batch, sorted by length, over all epochs; here every
    epoch is a new permutation.
    """

    def __init__(self, blocks: TextBlocks, batch_size: int, seed: int, views: Views) -> None:
        """`views(tokens, lengths, rng)` makes a batch of right-padded ids (B, T) and their lengths (B,)."""
        self.blocks, self.batch_size, self.seed, self.views = blocks, batch_size, seed, views

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        """Batch `step`, as `views` makes it."""
        indices = shuffled_indices(len(self.blocks), self.batch_size, self.seed, step)
        tokens, lengths = pad_rows([self.blocks.block(int(index)) for index in indices])
        made = self.views(tokens, lengths, np.random.default_rng((self.seed, _MASKS, step)))
        return {name: torch.from_numpy(value) for name, value in made.items()}


def pad_rows(rows: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sequences of ids as one right-padded array (rows, width), and their lengths (rows,)."""
    lengths = np.array([len(row) for row in rows])
    tokens = np.full((len(rows), int(lengths.max())), PAD)
    for place, row in zip(tokens, rows, strict=True):
        place[: len(row)] = row
    return tokens, lengths
