"""Labelled sentences: prepared into `<data_dir>/<name>/<split>.tsv`, and read back.

A prepared table has a header and the columns index, text, text2 (tasks of pairs) and label (a class by name, or a
score; absent where labels are withheld). `python -m data2vec prepare data=sst2 data_dir=results/data`
"""

from __future__ import annotations

import logging
import platform
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data2vec.data.fetch import Originals, download_originals, find_originals
from data2vec.data.glue import TASKS, read_glue
from data2vec.data.integrity import atomic_directory
from data2vec.data.manifest import (
    MANIFEST,
    Manifest,
    OriginalEntry,
    SplitEntry,
    complete_manifest,
    read_manifest,
    require_replaceable,
    write_manifest,
)
from data2vec.data.order_tasks import MAKERS, make_items
from data2vec.data.origin import Source
from data2vec.data.sentence_rows import Labelled, to_labelled
from data2vec.data.tables import parse_table
from data2vec.errors import UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SentenceSet:
    """One split of a prepared set.

    `labels`: numbers of classes (int64), scores (float64), or None where they are withheld. `partners` in tasks of
    pairs.
    """

    file: Path
    classes: list[str]
    texts: list[str]
    partners: list[str] | None
    labels: NDArray[np.int64] | NDArray[np.float64] | None
    index: list[str]

    def __len__(self) -> int:
        """Rows."""
        return len(self.texts)

    def where(self, row: int) -> str:
        """File and line of a row."""
        return f"{self.file}, line {row + 2}"


def load_sentences(folder: Path, split: str) -> SentenceSet:
    """One split of the set prepared in `folder`.

    Raises:
        UserError: it is not prepared, not complete, not of labelled sentences, or has no such split.
    """
    manifest = _sentence_manifest(folder)
    if split not in manifest.splits:
        raise UserError(f"data set {manifest.name!r} has no split {split!r}, only {', '.join(manifest.splits)}")
    file = folder / f"{split}.tsv"
    table = parse_table(file.read_bytes(), str(file))
    partners = table.column("text2") if "text2" in table.columns else None
    labels: NDArray[np.int64] | NDArray[np.float64] | None = None
    if "label" in table.columns:
        values = table.column("label")
        numbers = {name: number for number, name in enumerate(manifest.classes)}
        labels = np.array([numbers[value] for value in values]) if numbers else np.array(values, dtype=np.float64)
    return SentenceSet(file, manifest.classes, table.column("text"), partners, labels, table.column("index"))


def sentence_splits(folder: Path) -> dict[str, bool]:
    """The splits of a prepared set, and whether their labels are known."""
    known = {}
    for split in _sentence_manifest(folder).splits:
        with (folder / f"{split}.tsv").open(encoding="utf-8") as file:
            known[split] = "label" in file.readline().split()
    return known


def _sentence_manifest(folder: Path) -> Manifest:
    manifest = read_manifest(folder)
    if manifest.format != "sentences":
        raise UserError(f"{folder} holds no labelled sentences, but {manifest.modality} data without labels")
    return manifest


def prepare_sentences(source: Source, path: Path | None, data_dir: Path, mirror: Path | None, offline: bool) -> Path:
    """Make `<data_dir>/<name>/` complete; the path of its manifest. Does nothing if it already is.

    Raises:
        UserError: the originals are missing or damaged, or a row of them is, with file and line.
    """
    target = data_dir / source.name
    originals = None
    known: str | None = f"python {platform.python_version()}"
    if source.name not in MAKERS:
        originals = find_originals(source, path, mirror, data_dir)
        known = originals.fingerprint() if originals else None
    if (ready := complete_manifest(target, known)) is not None:
        log.info("%s is already prepared in %s (from: %s)", source.name, target, ready.source)
        return target / MANIFEST
    if source.name not in MAKERS:
        originals = originals or download_originals(source, mirror, data_dir, offline)
        originals.check()
        known = originals.fingerprint()
    classes, splits = _read(source, originals)
    require_replaceable(target)
    with atomic_directory(target) as folder:
        for split, rows in splits.items():
            _write_table(folder / f"{split}.tsv", rows)
        write_manifest(folder, _describe(source, originals, splits, classes, known or ""))
    log.info("%s: %s", source.name, ", ".join(f"{len(rows.texts):,} {split}" for split, rows in splits.items()))
    return target / MANIFEST


def _read(source: Source, originals: Originals | None) -> tuple[list[str], dict[str, Labelled]]:
    """Classes (none where labels are scores) and splits."""
    if originals is None:
        return ["0", "1"], make_items(source.name)
    if source.name in TASKS:
        return list(TASKS[source.name].classes), read_glue(source.name, originals.files, source.unpacked_limit)
    return _own_sentences(originals.files[0])


def _own_sentences(folder: Path) -> tuple[list[str], dict[str, Labelled]]:
    """train.tsv, valid.tsv and perhaps test.tsv with a header: text, text2 (pairs), label or score."""
    tables = {}
    for split in ("train", "valid", "test"):
        file = folder / f"{split}.tsv"
        if file.is_file():
            tables[split] = parse_table(file.read_bytes(), str(file))
        elif split != "test":
            raise UserError(f"{folder} holds no {split}.tsv: a table with the columns text and label")
    train = tables["train"].columns
    label = "score" if "score" in train else "label"
    text2 = "text2" if "text2" in train else None
    classes = sorted(set(tables["train"].column("label"))) if label == "label" and label in train else []
    if len(classes) == 1:
        raise UserError(
            f"{folder / 'train.tsv'}: every label is {classes[0]!r}, at least two different ones are needed"
        )
    splits = {}
    for split, table in tables.items():
        known = label if split != "test" or label in table.columns else None
        splits[split] = to_labelled(table, str(folder / f"{split}.tsv"), "text", text2, known, classes)
    return classes, splits


def _write_table(file: Path, rows: Labelled) -> None:
    columns = {"index": rows.index, "text": rows.texts}
    if rows.partners is not None:
        columns["text2"] = rows.partners
    if rows.labels is not None:
        columns["label"] = rows.labels
    lines = ["\t".join(columns), *("\t".join(fields) for fields in zip(*columns.values(), strict=True))]
    file.write_bytes(("\n".join(lines) + "\n").encode())


def _describe(
    source: Source, originals: Originals | None, splits: dict[str, Labelled], classes: list[str], fingerprint: str
) -> Manifest:
    entries, notes = {}, [source.note, originals.note if originals else f"Text of Python {platform.python_version()}."]
    for split, rows in splits.items():
        counted = Counter(rows.labels or []) if classes and rows.labels is not None else {}
        entries[split] = SplitEntry(items=len(rows.texts), per_class={name: counted[name] for name in counted})
        if rows.left_out:
            notes.append(f"{rows.left_out:,} malformed rows of {split} are left out.")
    for split, items in source.items:
        found = entries[split].items if split in entries else 0
        if found != items:
            notes.append(f"{found:,} of the {items:,} official rows of {split}.")
            log.warning("%s: %s", source.title, notes[-1])
    pairs = zip(originals.files, originals.checksums, strict=True) if originals else ()
    return Manifest.model_validate(
        {
            "name": source.name,
            "modality": "text",
            "classes": classes,
            "splits": entries,
            "format": "sentences",
            "source": originals.origin if originals else "embedded",
            "licence": source.licence,
            "citation": source.citation,
            "note": " ".join(filter(None, notes)),
            "originals": [OriginalEntry(file=file.name, checksum=checksum) for file, checksum in pairs],
            "fingerprint": fingerprint,
        }
    )
