"""Labelled sentences as token ids, and batches of them for fine-tuning (algorithms.md 9.6)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from data2vec.data.loading import shuffled_indices
from data2vec.data.sentence_sets import SentenceSet
from data2vec.data.text import pad_rows
from data2vec.data.vocabulary import BOS, EOS, Tokenizer
from data2vec.errors import UserError

MAX_TOKENS = 4400  # of a batch, padding included
Ids = NDArray[np.int64]


def encode_set(dataset: SentenceSet, tokenizer: Tokenizer) -> list[Ids]:
    """Ids of every row: <s> A </s>, or <s> A </s> </s> B </s>. Nothing is cut."""
    texts = [tokenizer.encode(text) for text in dataset.texts]
    if dataset.partners is None:
        return [np.array([BOS, *ids, EOS]) for ids in texts]
    partners = (tokenizer.encode(text) for text in dataset.partners)
    return [np.array([BOS, *a, EOS, EOS, *b, EOS]) for a, b in zip(texts, partners, strict=True)]


def require_short(dataset: SentenceSet, rows: Sequence[Ids], limit: int) -> None:
    """Raises UserError if a row that is to be scored is longer than the position table, with file and line."""
    for row, ids in enumerate(rows):
        if len(ids) > limit:
            raise UserError(
                f"{dataset.where(row)}: {len(ids)} tokens, more than the {limit} positions of the model "
                "(text.max_positions); shorten it, or pre-train with more positions"
            )


class SentenceBatches(Dataset[dict[str, Tensor]]):
    """An endless sequence of batches of at most `batch_size` rows and `max_tokens` tokens, padding included.

    As released, a permutation of the rows is cut into batches once; each epoch is a new order of these. Batch n
    depends on (seed, n) alone.
    """

    def __init__(
        self, rows: Sequence[Ids], labels: Tensor, batch_size: int, seed: int, max_tokens: int = MAX_TOKENS
    ) -> None:
        """`labels` (N,): class numbers or scores. Raises UserError without rows."""
        if not len(rows):
            raise UserError("no training sentence is left")
        self.rows, self.labels, self.seed = rows, labels, seed
        order = np.random.default_rng(seed).permutation(len(rows))
        self.members = cut([len(rows[i]) for i in order], order, batch_size, max_tokens)

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self.members)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """Batch `number`: right-padded ids (B, T) and labels (B,)."""
        members = self.members[shuffled_indices(len(self.members), 1, self.seed, number)[0]]
        tokens, _ = pad_rows([self.rows[i] for i in members])
        return {"tokens": torch.from_numpy(tokens), "labels": self.labels[members]}


def evaluation_batches(rows: Sequence[Ids], max_tokens: int = MAX_TOKENS) -> list[NDArray[np.int64]]:
    """All rows in batches of about equal lengths: the numbers of the rows of each."""
    order = np.argsort([len(row) for row in rows], kind="stable")
    return cut([len(rows[i]) for i in order], order, len(rows), max_tokens)


def cut(lengths: Sequence[int], order: Ids, batch_size: int, max_tokens: int) -> list[Ids]:
    """`order` in consecutive pieces of at most `batch_size` rows and, if it is more than a row, `max_tokens`."""
    starts, longest = [0], 0
    for place, length in enumerate(lengths):
        longest = max(longest, length)
        count = place - starts[-1] + 1
        if count > 1 and (count > batch_size or longest * count > max_tokens):
            starts.append(place)
            longest = length
    return np.split(order, starts[1:])
