"""The letters that speech recognition writes with, and transcripts as letters (algorithms.md 9.4)."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")  # the blank of CTC is the first
UNKNOWN, WORD_END = 3, "|"
LIBRISPEECH = "|ETAONIHSRDLUMWCFGYPBVK'XJQZ"
"""Letters of the published dictionary for LibriSpeech, in its order."""


def plain(text: str) -> str:
    """A transcript in capitals: letters, digits, apostrophes, and single spaces between words."""
    text = text.upper().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return " ".join("".join(c if c.isalnum() or c == "'" else " " for c in text).split())


@dataclass(frozen=True)
class Letters:
    """All symbols by their number: four special ones, `|` that ends a word, letters."""

    symbols: tuple[str, ...]

    @classmethod
    def of_transcripts(cls, texts: Iterable[str]) -> Self:
        """Those of plain transcripts, the most frequent first."""
        counts = Counter(letter for text in texts for letter in text.replace(" ", ""))
        return cls((*SPECIALS, WORD_END, *sorted(counts, key=lambda letter: (-counts[letter], letter))))

    @classmethod
    def of_librispeech(cls) -> Self:
        """The published 32."""
        return cls((*SPECIALS, *LIBRISPEECH))

    def __len__(self) -> int:
        """How many symbols there are."""
        return len(self.symbols)

    def encode(self, text: str) -> list[int]:
        """Letters of a plain transcript, `|` after each word; a letter that is not among the symbols is <unk>."""
        number = {symbol: i for i, symbol in enumerate(self.symbols)}
        return [number.get(letter, UNKNOWN) for word in text.split() for letter in (*word, WORD_END)]

    def decode(self, ids: Iterable[int]) -> str:
        """The plain text of symbols; special ones are left out, but for <unk>, which is a question mark."""
        written = ("?" if i == UNKNOWN else self.symbols[i] for i in ids if i >= UNKNOWN)
        return " ".join("".join(written).replace(WORD_END, " ").split())

    def unknown(self, texts: Iterable[str]) -> str:
        """The letters of plain transcripts that are not among the symbols, in order."""
        return "".join(sorted({letter for text in texts for letter in text} - set(self.symbols) - {" "}))
