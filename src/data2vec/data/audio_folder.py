"""Recordings of one's own: any folder of audio files, with transcripts or class folders where there are some."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path, PurePosixPath

from data2vec.data.recordings import (
    ABSENT,
    EXTENSIONS,
    NOT_UTF8,
    SPLIT_NAMES,
    Corpus,
    Recording,
    Skipped,
    audio_files,
    text_lines,
)
from data2vec.errors import UserError

TABLES = ("transcripts.tsv", "transcripts.csv")
HELD_OUT = 0.1

Texts = dict[str, str | Skipped]


def scan_audio_folder(root: Path) -> Corpus:
    """The recordings below `root`.

    - Splits: the subfolders train, valid (or dev, val, validation) and test. Without them, a tenth of the recordings
      with a transcript or label is valid and a tenth test, chosen by a hash of the path; the others are train.
    - Transcripts: transcripts.tsv or transcripts.csv with file and text, at the top or in a split, or `<name>.txt`
      beside a recording. Letters become capitals. Recordings without one serve pre-training.
    - Labels: without any transcript, the class folders if every recording lies in one.
    """
    paths = audio_files(root)
    if not paths:
        raise UserError(f"{root} holds no audio files ({', '.join(EXTENSIONS)})")
    found = Corpus()
    paths = _without_twins(paths, found)
    splits = _splits(root, paths)
    texts = _transcripts(root, paths, found)
    labels = {} if texts else _labels(paths, bool(splits))
    for path in paths:
        text = texts.get(path, "")
        if isinstance(text, Skipped):
            found.skipped.append(text)
        else:
            found.recordings.append(Recording(splits.get(path, "train"), path, "", text, labels.get(path, "")))
    if not splits:
        found.recordings = _held_out(found.recordings)
    if texts:
        missing = sum(not recording.transcript for recording in found.recordings)
        found.note = f"{missing} of {len(found.recordings)} recordings have no transcript: for pre-training only."
    return found


def _without_twins(paths: list[str], found: Corpus) -> list[str]:
    """`a.wav` beside `a.flac` is the same recording twice: the first by name is kept."""
    first: dict[PurePosixPath, str] = {}
    for path in paths:
        stem = PurePosixPath(path).with_suffix("")
        if (kept := first.setdefault(stem, path)) != path:
            found.skipped.append(Skipped(path, f"has the same name as {kept}, which is used"))
    return list(first.values())


def _splits(root: Path, paths: list[str]) -> dict[str, str]:
    """The split of each path by its top folder; empty where there are no such folders."""
    folders = [name for name in SPLIT_NAMES if (root / name).is_dir()]
    if not folders:
        return {}
    if twice := [name for name, n in Counter(SPLIT_NAMES[name] for name in folders).items() if n > 1]:
        raise UserError(f"{root} has several folders for the split {twice[0]}: keep one of {', '.join(folders)}")
    stray = [path for path in paths if path.split("/")[0] not in folders]
    if stray:
        raise UserError(
            f"{root} has the splits {', '.join(folders)}, and {stray[0]!r} in none of them ({len(stray)} files)"
        )
    return {path: SPLIT_NAMES[path.split("/")[0]] for path in paths}


def _transcripts(root: Path, paths: list[str], found: Corpus) -> Texts:
    """The transcript of each path that has one, or why it is left out."""
    texts: Texts = {}
    by_stem = {str(PurePosixPath(path).with_suffix("")): path for path in paths}
    for folder in (root, *(root / name for name in SPLIT_NAMES)):
        for table in (folder / name for name in TABLES):
            if table.is_file():
                _read_table(root, table, by_stem, texts, found)
    for stem, path in by_stem.items():
        file = root / f"{stem}.txt"
        if path not in texts and file.is_file():
            lines = list(text_lines(file))
            is_utf8 = all(ok for _, ok in lines)
            texts[path] = _clean(" ".join(line for line, _ in lines)) if is_utf8 else Skipped(path, NOT_UTF8)
    return texts


def _read_table(root: Path, table: Path, by_stem: dict[str, str], texts: Texts, found: Corpus) -> None:
    """`file<TAB>text` or `file,text` a line; a first line `file`, `text` is a heading."""
    folder = PurePosixPath(table.parent.relative_to(root).as_posix())
    for number, (line, is_utf8) in enumerate(text_lines(table), start=1):
        fields = line.split("\t", 1) if table.suffix == ".tsv" else next(csv.reader([line]), [])
        if not line.strip() or (number == 1 and fields[0].strip().lower() in ("file", "path")):
            continue
        if len(fields) != 2:
            kind = "file<TAB>text" if table.suffix == ".tsv" else 'file,"text"'
            raise UserError(f"{table}, line {number}: {line!r} is not {kind}")
        name = str(folder / fields[0].strip())
        stem = name.removesuffix(PurePosixPath(name).suffix) if name.lower().endswith(EXTENSIONS) else name
        path = by_stem.get(stem)
        if path is None:
            found.skipped.append(Skipped(name, ABSENT))
        elif path in texts:
            found.skipped.append(Skipped(path, f"named again in line {number} of {table.name}; the first text is used"))
        else:
            texts[path] = _clean(fields[1]) if is_utf8 else Skipped(path, NOT_UTF8)


def _clean(text: str) -> str:
    return " ".join(text.split()).upper()


def _labels(paths: list[str], in_splits: bool) -> dict[str, str]:
    """The class folder of each path, if all lie in one and there are two or more."""
    depth = 3 if in_splits else 2
    if any(path.count("/") != depth - 1 for path in paths):
        return {}
    labels = {path: path.split("/")[-2] for path in paths}
    return labels if len(set(labels.values())) > 1 else {}


def _held_out(recordings: list[Recording]) -> list[Recording]:
    """Parts valid and test of the recordings that have something to be evaluated on; none of fewer than three."""
    usable = [recording.path for recording in recordings if recording.transcript or recording.label]
    if len(usable) < 3:
        return recordings
    ordered = sorted(usable, key=lambda path: hashlib.sha256(path.encode(errors="surrogateescape")).digest())
    part = max(1, round(HELD_OUT * len(ordered)))
    splits = dict.fromkeys(ordered[:part], "valid") | dict.fromkeys(ordered[part : 2 * part], "test")
    return [replace(recording, split=splits.get(recording.path, "train")) for recording in recordings]
