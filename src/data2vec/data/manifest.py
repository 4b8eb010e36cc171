"""manifest.json: what a prepared data set holds, where it came from, and whether it is all there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from data2vec.data.integrity import file_digest
from data2vec.errors import UserError

MANIFEST = "manifest.json"
COPY = ".manifest.json"
"""Its second copy: a workflow removes the first before it prepares again, and what lies there is still ours."""
UNPACKED = "images"
"""Subfolder for image files unpacked from an archive."""
AUDIO = "audio"
"""Subfolder for audio files unpacked from an archive."""
PREPARATION = 2
"""Raised when preparation writes something else than before, so that older folders are prepared again."""


class FileEntry(BaseModel):
    """One file of the prepared set."""

    file: str
    bytes: int
    sha256: str


class OriginalEntry(BaseModel):
    """One file the set was made from; `checksum` is `<algorithm>:<hex>` as verified, or None."""

    file: str
    checksum: str | None


class SplitEntry(BaseModel):
    """Counts of one split."""

    items: int
    per_class: dict[str, int]
    hours: float | None = None
    speakers: int | None = None
    sentences: int | None = None
    words: int | None = None
    tokens: int | None = None
    sha256: str | None = None
    """Of the text, document after document, in UTF-8 (text sets)."""


class Manifest(BaseModel):
    """Everything that is known about a prepared set; written last, so its presence means completeness."""

    name: str
    modality: str
    classes: list[str]
    splits: dict[str, SplitEntry]
    format: Literal["packed", "folder", "sentences"]
    source: Literal["mirror", "download", "embedded", "folder"]
    licence: str
    citation: str
    note: str = ""
    image_size: int | None = None
    mean: list[float] | None = None
    """Per channel over the training split, of pixel values in 0..1 (packed sets)."""
    std: list[float] | None = None
    vocab_size: int | None = None
    tokenizer: str | None = None
    """Text: bpe, unigram or gpt2."""
    root: str | None = None
    """Folder that image paths are relative to: absolute, or relative to the manifest (folder sets)."""
    skipped: list[str] = []
    files: list[FileEntry] = []
    originals: list[OriginalEntry] = []
    fingerprint: str = ""
    preparation: int = PREPARATION


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Describe the files that lie in `folder` and write the manifest beside them."""
    files = sorted(p for p in folder.iterdir() if p.is_file())
    entries = [FileEntry(file=p.name, bytes=p.stat().st_size, sha256=file_digest(p)) for p in files]
    complete = manifest.model_copy(update={"files": entries})
    text = json.dumps(complete.model_dump(), indent=2, ensure_ascii=False)
    for name in (COPY, MANIFEST):
        (folder / name).write_text(text + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a prepared data set.

    Raises:
        UserError: there is none or it cannot be read, or one of its files is missing or has another size.
    """
    path = folder / MANIFEST
    again = f"run `python -m data2vec prepare data={folder.name} data_dir={folder.parent}`"
    if not path.is_file():
        raise UserError(f"no prepared data in {folder}: {again}")
    try:
        manifest = Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a manifest of prepared data: delete {folder} and {again}") from error
    for entry in manifest.files:
        file = folder / entry.file
        if not file.is_file() or file.stat().st_size != entry.bytes:
            raise UserError(f"{file} is missing or not the {entry.bytes:,} bytes that were written: {again}")
    return manifest


def complete_manifest(folder: Path, fingerprint: str | None) -> Manifest | None:
    """The manifest if `folder` is complete and was made from originals with this fingerprint (None: any)."""
    try:
        manifest = read_manifest(folder)
    except UserError:
        return None
    current = manifest.preparation == PREPARATION and fingerprint in (None, manifest.fingerprint)
    if manifest.root and not Path(folder, manifest.root).is_dir():
        return None
    return manifest if current else None


def require_replaceable(folder: Path) -> None:
    """Refuse to replace a folder that holds anything this program did not write there.

    Raises:
        UserError: with the first strange entry.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"{folder} is in the way of the prepared data: it is not a folder")
    present = {p.name for p in folder.iterdir()}
    ours: set[str] = set()
    for name in (MANIFEST, COPY):
        try:
            manifest = Manifest.model_validate_json((folder / name).read_bytes())
        except (OSError, ValidationError):
            continue
        ours |= {MANIFEST, COPY, UNPACKED, AUDIO, *(entry.file for entry in manifest.files)}
    if strange := sorted(present - ours):
        raise UserError(
            f"{folder} holds {strange[0]!r}, which preparation did not put there; it would be replaced. "
            "Move it away, or choose another data_dir="
        )
