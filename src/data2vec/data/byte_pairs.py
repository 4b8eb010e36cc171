"""GPT-2's byte-level byte pairs with fairseq's order of ids: the vocabulary of released text models.

Three files: `encoder.json` (piece -> GPT-2's number), `vocab.bpe` (merges, best first), and fairseq's `dict.txt`
(a GPT-2 number and its count in each line; the order of lines is the order of ids from 4). Radford et al. 2019,
section 2.2: no merge crosses a border between letters, digits, other signs and space.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import regex

from data2vec.data.vocabulary import SPECIAL, UNK, WORD_START, WORDS, Tokenizer
from data2vec.errors import UserError

ENCODER, MERGES, ORDER = FILES = ("encoder.json", "vocab.bpe", "dict.txt")
CACHED_WORDS = 2**19
_WORD = regex.compile(r"'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")


def _byte_characters() -> list[str]:
    """A visible character for each byte: itself where it is one in Latin-1, else those from 256 on, in order."""
    visible = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = iter(range(256, 512))
    return [chr(byte if byte in visible else next(others)) for byte in range(256)]


_CHARACTERS = _byte_characters()
_BYTES = {character: byte for byte, character in enumerate(_CHARACTERS)}


class BytePairs(Tokenizer):
    """Byte pairs from the three files of a released model. Encoding and decoding lose nothing."""

    def __init__(self, files: dict[str, bytes], where: str = "") -> None:
        """`files` maps each of FILES to its content; `where` names their folder in messages.

        Raises:
            UserError: a file does not have its format; file and line are named.
        """
        self.files = files
        texts = {name: _text(files[name], f"{where}{name}") for name in FILES}
        self.ranks = _read_merges(texts[MERGES], f"{where}{MERGES}")
        names = _read_order(texts[ORDER], f"{where}{ORDER}")
        symbols = {str(number): symbol for symbol, number in _read_encoder(texts[ENCODER], f"{where}{ENCODER}").items()}
        # rows that are no GPT-2 number only fill the table up ("madeupword0000")
        self.symbols = [symbols.get(name, "") for name in names]
        self.names = names
        self.ids = {symbol: WORDS + i for i, symbol in enumerate(self.symbols) if symbol}
        self.vocab_size = WORDS + len(names) + 1
        self._word_ids = lru_cache(CACHED_WORDS)(self._merged_ids)

    @classmethod
    def load(cls, folder: Path) -> BytePairs:
        """The tokenizer whose files lie in `folder`. Raises UserError if one is missing or broken."""
        for name in FILES:
            if not (folder / name).is_file():
                raise UserError(
                    f"{folder / name} is missing: byte-level BPE needs {', '.join(FILES)} of the released model "
                    "in the folder data.bpe_dir"
                )
        return cls({name: (folder / name).read_bytes() for name in FILES}, f"{folder}/")

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without special tokens; what is written like one is text."""
        return [i for word in _WORD.findall(text) for i in self._word_ids(word)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; special tokens and <mask> give nothing. Bytes that are no UTF-8 become U+FFFD."""
        return b"".join(_as_bytes(self.symbols[i - WORDS]) for i in ids if WORDS <= i < self.mask_id).decode(
            "utf-8", "replace"
        )

    def piece(self, id: int) -> str:
        """One token to look at; the first of a word begins with U+2581."""
        if id == self.mask_id:
            return "<mask>"
        if id < WORDS:
            return SPECIAL[id]
        symbol = self.symbols[id - WORDS]
        return _as_bytes(symbol).decode("utf-8", "replace").replace(" ", WORD_START) or self.names[id - WORDS]

    def _merged_ids(self, word: str) -> tuple[int, ...]:
        parts = [_CHARACTERS[byte] for byte in word.encode("utf-8", "replace")]
        while len(parts) > 1:
            best = min(pairwise(parts), key=lambda pair: self.ranks.get(pair, math.inf))
            if best not in self.ranks:
                break
            parts = _join(parts, best)
        return tuple(self.ids.get(part, UNK) for part in parts)


def _join(parts: list[str], pair: tuple[str, str]) -> list[str]:
    """`parts` with every occurrence of `pair` made one, from the left."""
    joined: list[str] = []
    i = 0
    while i < len(parts):
        is_pair = tuple(parts[i : i + 2]) == pair
        joined.append("".join(pair) if is_pair else parts[i])
        i += 2 if is_pair else 1
    return joined


def _as_bytes(symbol: str) -> bytes:
    return bytes(_BYTES[c] for c in symbol) if all(c in _BYTES for c in symbol) else symbol.encode()


def _text(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{where} is not UTF-8 text (byte {error.start:,})") from None


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines and their numbers; pieces may hold characters that splitlines() would break at."""
    return enumerate(text.replace("\r\n", "\n").rstrip("\n").split("\n"), start=1)


def _read_encoder(text: str, where: str) -> dict[str, int]:
    try:
        found: Any = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{where}, line {error.lineno}: not valid JSON ({error.msg})") from None
    if not isinstance(found, dict) or not all(type(number) is int for number in found.values()):
        raise UserError(f"{where}: must map pieces to whole numbers")
    return found


def _read_merges(text: str, where: str) -> dict[tuple[str, str], int]:
    """Merges and their rank; the first line may be a comment (#version)."""
    ranks: dict[tuple[str, str], int] = {}
    for number, line in _lines(text):
        if number == 1 and line.startswith("#version"):
            continue
        pair = line.split(" ")
        if len(pair) != 2 or not all(pair):
            raise UserError(f"{where}, line {number}: {line!r} is not two pieces with a space between them")
        ranks.setdefault((pair[0], pair[1]), len(ranks))
    return ranks


def _read_order(text: str, where: str) -> list[str]:
    """Names of the ids from 4 on."""
    names: dict[str, int] = {}
    for number, line in _lines(text):
        name, _, count = line.rpartition(" ")
        if not name or not count.isdigit():
            raise UserError(f"{where}, line {number}: {line!r} is not a token, a space and its count")
        if name in names:
            raise UserError(f"{where}, line {number}: {name!r} stands in line {names[name]} already")
        names[name] = number
    return list(names)
