"""The tokenizer of a text set: made with it, and had back from its prepared folder.

`load_tokenizer(Path("results/data/novels")).encode("Some text")`
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from data2vec.data.byte_pairs import FILES, BytePairs
from data2vec.data.manifest import read_manifest
from data2vec.data.sentence_pieces import SentencePieces, train_pieces
from data2vec.data.vocabulary import FILE, Tokenizer
from data2vec.errors import UserError


class TokenizerChoice(Protocol):
    """The part of a configuration that says which tokenizer a text set gets."""

    @property
    def path(self) -> str | None: ...  # noqa: D102
    @property
    def vocab_size(self) -> int: ...  # noqa: D102
    @property
    def tokenizer(self) -> str: ...  # noqa: D102
    @property
    def bpe_dir(self) -> str | None: ...  # noqa: D102


def released_pairs(choice: TokenizerChoice) -> BytePairs:
    """GPT-2's byte pairs from the folder that is chosen for them.

    Raises:
        UserError: no such files, broken ones, or as many ids as the configuration does not say.
    """
    folder = choice.bpe_dir or choice.path
    if folder is None:
        raise UserError(f"data.tokenizer = gpt2 needs data.bpe_dir=FOLDER with {', '.join(FILES)} of a released model")
    found = BytePairs.load(Path(folder).expanduser())
    if found.vocab_size != choice.vocab_size:
        raise UserError(
            f"data.vocab_size = {choice.vocab_size}, but the files in {folder} make {found.vocab_size} ids "
            f"(rows of {FILES[2]} and five special ones): pass data.vocab_size={found.vocab_size}"
        )
    return found


def make_tokenizer(choice: TokenizerChoice, sample: Callable[[], Iterable[str]]) -> Tokenizer:
    """The chosen tokenizer: learned from the sentences of `sample`, or the released one."""
    if choice.tokenizer == "gpt2":
        return released_pairs(choice)
    return train_pieces(sample(), choice.tokenizer, choice.vocab_size)


def choice_fingerprint(choice: TokenizerChoice) -> str | None:
    """Says which tokenizer a set would get, without reading the set; None if the files of gpt2 are not given."""
    if choice.tokenizer != "gpt2":
        return f"{choice.tokenizer} {choice.vocab_size}"
    return released_pairs(choice).fingerprint if choice.bpe_dir or choice.path else None


def tokenizer_beside(folder: Path) -> Tokenizer | None:
    """The tokenizer whose files lie in a folder, of a model for instance; None where there are none.

    Raises:
        UserError: they are damaged.
    """
    if (folder / FILE).is_file():
        try:
            return SentencePieces((folder / FILE).read_bytes())
        except (RuntimeError, OSError) as error:
            raise UserError(f"{folder / FILE} is no SentencePiece model ({str(error).splitlines()[0]})") from None
    return BytePairs.load(folder) if all((folder / name).is_file() for name in FILES) else None


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer that a prepared text set was made with.

    Raises:
        UserError: `folder` holds no prepared text, or not all of it.
    """
    manifest = read_manifest(folder)
    if manifest.modality != "text":
        raise UserError(f"{folder} holds {manifest.modality} data, not text")
    if manifest.tokenizer == "gpt2":
        return BytePairs.load(folder)
    return SentencePieces((folder / FILE).read_bytes())
