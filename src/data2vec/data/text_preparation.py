"""Preparing text into `<data_dir>/<name>/`: documents, vocabulary, token ids.

Written: `vocabulary.model`, and for each split shards `<split>_tokens_<k>.npy` (ids, uint16 or uint32, mapped
into memory) with `<split>_sentences_<k>.npy` (their lengths). Every sentence ends in </s>; a document ends in a
sentence that is nothing else.
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data2vec.data.corpora import Document, python_documents, read_documents, sentences
from data2vec.data.fetch import Originals, download_originals, find_originals
from data2vec.data.integrity import atomic_directory
from data2vec.data.manifest import (
    MANIFEST,
    Manifest,
    OriginalEntry,
    SplitEntry,
    complete_manifest,
    require_replaceable,
    write_manifest,
)
from data2vec.data.sentence_pieces import SAMPLE_BYTES, train_pieces
from data2vec.data.sources import Source
from data2vec.data.vocabulary import EOS, Tokenizer

log = logging.getLogger(__name__)

SHARD_TOKENS = 2**27
Documents = Callable[[], Iterator[Document]]


def prepare_text(
    source: Source, path: Path | None, data_dir: Path, mirror: Path | None, offline: bool, vocab_size: int
) -> Path:
    """Make `<data_dir>/<name>/` complete with a vocabulary of `vocab_size`; the path of its manifest.

    Raises:
        UserError: the text is missing, damaged or not UTF-8, or does not suit such a vocabulary.
    """
    target = data_dir / source.name
    originals = None
    known: str | None = f"python {platform.python_version()}"
    if source.kind != "embedded":
        originals = find_originals(source, path, mirror, data_dir)
        known = originals.fingerprint() if originals else None
    ready = complete_manifest(target, f"{known} {vocab_size}" if known else None)
    if ready is not None and ready.vocab_size == vocab_size:
        log.info("%s is already prepared in %s (from: %s)", source.name, target, ready.source)
        return target / MANIFEST
    if source.kind == "embedded":
        documents: Documents = partial(iter, list(python_documents()))
    else:
        originals = originals or download_originals(source, mirror, data_dir, offline)
        originals.check()
        documents = partial(read_documents, source.name, originals.files, source.unpacked_limit)
    require_replaceable(target)
    with atomic_directory(target) as folder:
        tokenizer = train_pieces(_sample(documents), "bpe", vocab_size)
        for name, content in tokenizer.files.items():
            (folder / name).write_bytes(content)
        splits = _write_splits(folder, documents(), tokenizer)
        fingerprint = f"{originals.fingerprint() if originals else known} {vocab_size}"
        write_manifest(folder, _describe(source, originals, splits, vocab_size, fingerprint))
    counted = ", ".join(f"{entry.tokens:,} {split}" for split, entry in splits.items())
    log.info("%s: %s tokens", source.name, counted)
    return target / MANIFEST


def _sample(documents: Documents) -> Iterator[str]:
    """Every k-th sentence of the training split, k such that about SAMPLE_BYTES remain."""
    sizes = {"train": 0}
    for document in documents():
        sizes[document.split] = sizes.get(document.split, 0) + len(document.text)
    split = "train" if sizes["train"] else "valid"  # a mirror may hold no training split
    stride = -(-sizes.get(split, 0) // SAMPLE_BYTES) or 1
    chosen = (s for document in documents() if document.split == split for s in sentences(document.text))
    return (sentence for i, sentence in enumerate(chosen) if i % stride == 0)


@dataclass
class _Shards:
    """Collects one split and writes it in shards."""

    folder: Path
    split: str
    dtype: type
    documents: int = 0
    sentences: int = 0
    tokens: int = 0
    number: int = 0

    def __post_init__(self) -> None:
        self.waiting: list[NDArray[np.generic]] = []
        self.lengths: list[int] = []

    def add(self, encoded: Iterable[list[int]]) -> None:
        """One document; a lone </s> ends it."""
        ended = [[*ids, EOS] for ids in encoded if ids]
        self.documents += 1
        self.sentences += len(ended)
        for ids in (*ended, [EOS]):
            self.lengths.append(len(ids))
        self.waiting.append(np.array([i for ids in (*ended, [EOS]) for i in ids], dtype=self.dtype))
        if sum(self.lengths) >= SHARD_TOKENS:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if not self.waiting:
            return
        tokens = np.concatenate(self.waiting)
        np.save(self.folder / f"{self.split}_tokens_{self.number:03}.npy", tokens)
        np.save(self.folder / f"{self.split}_sentences_{self.number:03}.npy", np.array(self.lengths, dtype=np.int32))
        self.tokens += len(tokens)
        self.number += 1
        self.waiting, self.lengths = [], []


def _write_splits(folder: Path, documents: Iterator[Document], tokenizer: Tokenizer) -> dict[str, SplitEntry]:
    dtype = np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32
    writers: dict[str, _Shards] = {}
    for document in documents:
        writer = writers.setdefault(document.split, _Shards(folder, document.split, dtype))
        writer.add(tokenizer.encode(sentence) for sentence in sentences(document.text))
    entries = {}
    for split, writer in writers.items():
        writer.flush()
        entries[split] = SplitEntry(
            items=writer.documents, per_class={}, sentences=writer.sentences, tokens=writer.tokens
        )
    return entries


def _describe(
    source: Source, originals: Originals | None, splits: dict[str, SplitEntry], vocab_size: int, fingerprint: str
) -> Manifest:
    learned = "" if "train" in splits else "There is no training split; the vocabulary is learned from valid."
    made_by = "" if originals else f"Text of Python {platform.python_version()}."
    notes = (source.note, originals.note if originals else "", made_by, learned)
    pairs = zip(originals.files, originals.checksums, strict=True) if originals else ()
    return Manifest.model_validate(
        {
            "name": source.name,
            "modality": "text",
            "classes": [],
            "splits": splits,
            "format": "packed",
            "source": originals.origin if originals else "embedded",
            "licence": source.licence,
            "citation": source.citation,
            "note": " ".join(filter(None, notes)),
            "vocab_size": vocab_size,
            "tokenizer": "bpe",
            "originals": [OriginalEntry(file=file.name, checksum=checksum) for file, checksum in pairs],
            "fingerprint": fingerprint,
        }
    )
