"""Preparing text into `<data_dir>/<name>/`: documents, tokenizer, token ids.

Written: the tokenizer's files, and for each split shards `<split>_tokens_<k>.npy` (ids, uint16 or uint32, mapped
into memory) with `<split>_sentences_<k>.npy` (their lengths). Every sentence ends in </s>; a document ends in a
sentence that is nothing else.
"""

from __future__ import annotations

import hashlib
import logging
import platform
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data2vec.data.corpora import corpus_note, python_documents, read_documents, sentences
from data2vec.data.fetch import Originals, download_originals, find_originals
from data2vec.data.integrity import atomic_directory
from data2vec.data.layouts import Document
from data2vec.data.manifest import (
    MANIFEST,
    Manifest,
    OriginalEntry,
    SplitEntry,
    complete_manifest,
    require_replaceable,
    write_manifest,
)
from data2vec.data.sentence_pieces import SAMPLE_BYTES
from data2vec.data.sources import Source
from data2vec.data.tokenizer import TokenizerChoice, choice_fingerprint, make_tokenizer
from data2vec.data.vocabulary import EOS, Tokenizer

log = logging.getLogger(__name__)

SHARD_TOKENS = 2**27
Documents = Callable[[], Iterator[Document]]


def prepare_text(
    source: Source, path: Path | None, data_dir: Path, mirror: Path | None, offline: bool, choice: TokenizerChoice
) -> Path:
    """Make `<data_dir>/<name>/` complete with the chosen tokenizer; the path of its manifest.

    A set that was prepared with another tokenizer is replaced as a whole: runs that used it say so when they meet
    the new one.

    Raises:
        UserError: the text is missing, damaged or not UTF-8, or does not suit such a vocabulary.
    """
    target = data_dir / source.name
    originals = None
    known: str | None = f"python {platform.python_version()}"
    if source.kind != "embedded":
        originals = find_originals(source, path, mirror, data_dir)
        known = originals.fingerprint() if originals else None
    vocabulary = choice_fingerprint(choice)
    ready = complete_manifest(target, f"{known} {vocabulary}" if known and vocabulary else None)
    if ready is not None and (ready.tokenizer, ready.vocab_size) == (choice.tokenizer, choice.vocab_size):
        log.info("%s is already prepared in %s (from: %s)", source.name, target, ready.source)
        return target / MANIFEST
    if source.kind == "embedded":
        documents: Documents = partial(iter, list(python_documents()))
    else:
        originals = originals or download_originals(source, mirror, data_dir, offline)
        originals.check()
        documents = partial(read_documents, source.name, originals.files, source.unpacked_limit)
        known = originals.fingerprint()
    require_replaceable(target)
    if old := complete_manifest(target, None):
        log.warning("%s held %s ids (%s); it is replaced", target, old.vocab_size, old.tokenizer)
    with atomic_directory(target) as folder:
        tokenizer = make_tokenizer(choice, partial(_sample, documents))
        for name, content in tokenizer.files.items():
            (folder / name).write_bytes(content)
        splits = _write_splits(folder, documents(), tokenizer)
        write_manifest(folder, _describe(source, originals, splits, choice, f"{known} {choice_fingerprint(choice)}"))
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
    words: int = 0
    sentences: int = 0
    tokens: int = 0
    number: int = 0
    parts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.digest = hashlib.sha256()
        self.held = 0
        self.waiting: list[NDArray[np.generic]] = []
        self.lengths: list[int] = []

    def add(self, document: Document, tokenizer: Tokenizer) -> None:
        """One document; a lone </s> ends it."""
        found = list(sentences(document.text))
        ended = [[*ids, EOS] for ids in map(tokenizer.encode, found) if ids]
        self.documents += 1
        self.parts[document.part] += 1
        self.words += sum(sentence.count(" ") + 1 for sentence in found)
        self.sentences += len(ended)
        self.digest.update(document.text.encode())
        ended.append([EOS])
        self.lengths += map(len, ended)
        self.waiting.append(np.array([i for sentence in ended for i in sentence], dtype=self.dtype))
        self.held += len(self.waiting[-1])
        if self.held >= SHARD_TOKENS:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if not self.waiting:
            return
        np.save(self.folder / f"{self.split}_tokens_{self.number:03}.npy", np.concatenate(self.waiting))
        np.save(self.folder / f"{self.split}_sentences_{self.number:03}.npy", np.array(self.lengths, dtype=np.int32))
        self.tokens += self.held
        self.number += 1
        self.held, self.waiting, self.lengths = 0, [], []

    def entry(self) -> SplitEntry:
        """The counts of the split."""
        return SplitEntry(
            items=self.documents,
            per_class={part: count for part, count in self.parts.items() if part},
            words=self.words,
            sentences=self.sentences,
            tokens=self.tokens,
            sha256=self.digest.hexdigest(),
        )


def _write_splits(folder: Path, documents: Iterator[Document], tokenizer: Tokenizer) -> dict[str, SplitEntry]:
    dtype = np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32
    writers: dict[str, _Shards] = {}
    for document in documents:
        writer = writers.setdefault(document.split, _Shards(folder, document.split, dtype))
        writer.add(document, tokenizer)
    for writer in writers.values():
        writer.flush()
    return {split: writer.entry() for split, writer in writers.items()}


def _describe(
    source: Source,
    originals: Originals | None,
    splits: dict[str, SplitEntry],
    choice: TokenizerChoice,
    fingerprint: str,
) -> Manifest:
    has_train = "train" in splits or choice.tokenizer == "gpt2"
    learned = "" if has_train else "There is no training split; the vocabulary is learned from valid."
    made_by = "" if originals else f"Text of Python {platform.python_version()}."
    corpus = corpus_note(source.name, originals.files if originals else ())
    notes = (corpus, source.note, originals.note if originals else "", made_by, learned)
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
            "vocab_size": choice.vocab_size,
            "tokenizer": choice.tokenizer,
            "originals": [OriginalEntry(file=file.name, checksum=checksum) for file, checksum in pairs],
            "fingerprint": fingerprint,
        }
    )
