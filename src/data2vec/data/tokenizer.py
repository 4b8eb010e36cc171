"""The tokenizer of a prepared text set: `load_tokenizer(Path("results/data/novels")).encode("Some text")`."""

from __future__ import annotations

from pathlib import Path

from data2vec.data.byte_pairs import BytePairs
from data2vec.data.manifest import read_manifest
from data2vec.data.sentence_pieces import FILE, SentencePieces
from data2vec.data.vocabulary import Tokenizer
from data2vec.errors import UserError


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
