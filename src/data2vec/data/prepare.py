"""One entrance to preparation for every modality: `python -m data2vec prepare data=<name> data_dir=DIR`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from data2vec.data.audio_preparation import prepare_audio
from data2vec.data.images import prepare_images
from data2vec.data.sentence_sets import prepare_sentences
from data2vec.data.sources import Source, find_source
from data2vec.data.text_preparation import prepare_text
from data2vec.data.tokenizer import TokenizerChoice

Preparer = Callable[[Source, Path | None, Path, Path | None, bool], Path]

PREPARERS: dict[str, Preparer] = {"speech": prepare_audio, "vision": prepare_images}


class DataChoice(TokenizerChoice, Protocol):
    """The part of a configuration that says which data, and for text which tokenizer."""

    @property
    def name(self) -> str: ...  # noqa: D102


def prepare(config: DataChoice, data_dir: Path, mirror: Path | None = None, offline: bool = False) -> Path:
    """Make `<data_dir>/<name>/` complete, if it is not yet; the path of its manifest.json.

    `mirror` is looked in before any download and only read; with it, or `offline`, nothing is downloaded.

    Raises:
        UserError: unknown data set, or originals that are missing, damaged or laid out differently.
    """
    source = find_source(config.name)
    path = Path(config.path).expanduser() if config.path else None
    if source.kind == "sentences":
        return prepare_sentences(source, path, data_dir, mirror, offline)
    if source.modality == "text":
        return prepare_text(source, path, data_dir, mirror, offline, config)
    return PREPARERS[source.modality](source, path, data_dir, mirror, offline)
