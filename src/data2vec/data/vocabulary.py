"""The ids that every text vocabulary shares: <s> 0, <pad> 1, </s> 2, <unk> 3, words from 4, <mask> last."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

BOS, PAD, EOS, UNK = 0, 1, 2, 3
WORDS = 4
"""Id of the first piece; <mask> has the last id."""

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
FILE = "vocabulary.model"
"""SentencePiece model of a prepared text set."""
WORD_START = "\u2581"
"""Stands for the space in front of a word where pieces are shown."""


class Tokenizer(ABC):
    """Text to ids and back. `files` is all that it is made of: name -> content, kept in a prepared folder."""

    vocab_size: int
    """Number of ids, special ones and <mask> included."""
    files: Mapping[str, bytes]

    @property
    def mask_id(self) -> int:
        """Id of <mask>."""
        return self.vocab_size - 1

    @property
    def fingerprint(self) -> str:
        """Digest of the files: two tokenizers with the same one give the same ids."""
        digest = hashlib.sha256()
        for name in sorted(self.files):
            digest.update(name.encode() + b"\0" + hashlib.sha256(self.files[name]).digest())
        return digest.hexdigest()

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Ids of a text, without special tokens."""

    @abstractmethod
    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; special tokens and <mask> give nothing."""

    @abstractmethod
    def piece(self, id: int) -> str:
        """One token to look at; the first of a word begins with U+2581."""
