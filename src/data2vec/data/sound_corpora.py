"""The layouts of published sets with classes: FSDD, Speech Commands, ESC-50 and ESC-10, AudioSet."""

from __future__ import annotations

import csv
import logging
import re
from collections import Counter, defaultdict
from pathlib import Path

from data2vec.data.recordings import ABSENT, Corpus, Recording, Skipped, audio_files
from data2vec.errors import UserError

log = logging.getLogger(__name__)

DIGITS = ("ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE")
FSDD_TEST = range(5)  # recordings 0 to 4 of each digit and speaker, says its README
NOISES = "_background_noise_"
ESC_TEST_FOLD, ESC_TEST_SHARE = "5", 0.25
AUDIOSET_LISTS = {"balanced_train": "train-balanced", "unbalanced_train": "train-unbalanced", "eval": "test"}


def scan_fsdd(root: Path) -> Corpus:
    """FSDD: `<digit>_<speaker>_<index>.wav`; indices 0 to 4 are the official test part."""
    found = Corpus()
    for path in audio_files(root):
        name = re.fullmatch(r"(\d)_([^_]+)_(\d+)", Path(path).stem)
        if name is None:
            found.skipped.append(Skipped(path, "its name is not <digit>_<speaker>_<index>"))
            continue
        split = "test" if int(name[3]) in FSDD_TEST else "train"
        found.recordings.append(Recording(split, path, name[2], DIGITS[int(name[1])], name[1]))
    if not found.recordings:
        raise UserError(f"{root} is not FSDD: no files such as 7_jackson_32.wav in it")
    return found


def scan_speech_commands(root: Path) -> Corpus:
    """Speech Commands: `<word>/<speaker>_nohash_<n>.wav`, `validation_list.txt` and `testing_list.txt`."""
    lists = {"valid": root / "validation_list.txt", "test": root / "testing_list.txt"}
    if missing := [path.name for path in lists.values() if not path.is_file()]:
        raise UserError(f"{root} is not Speech Commands: no {missing[0]} in it")
    splits = {path: split for split, listing in lists.items() for path in listing.read_text("utf-8").split()}
    found = Corpus()
    paths = [path for path in audio_files(root) if not path.startswith(f"{NOISES}/")]
    for path in paths:
        word, _, name = path.rpartition("/")
        speaker = Path(name).stem.partition("_nohash_")[0]
        found.recordings.append(Recording(splits.get(path, "train"), path, speaker, word.upper(), word))
    found.skipped = [Skipped(path, ABSENT) for path in sorted(set(splits) - set(paths))]
    if not found.recordings:
        raise UserError(f"{root} is not Speech Commands: no recordings in folders of words")
    return found


def scan_esc(root: Path, only_esc10: bool) -> Corpus:
    """ESC-50: `meta/esc50.csv` and `audio/`; fold 5 is test, the other folds are train.

    In a copy with one fold, whole source recordings are test: of every class those last by number, until they have a
    quarter of its clips.
    """
    table = root / "meta" / "esc50.csv"
    if not table.is_file():
        raise UserError(f"{root} is not ESC-50: no meta/esc50.csv in it")
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    if not rows or not {"filename", "fold", "category", "esc10", "src_file"} <= set(rows[0]):
        raise UserError(f"{table} has not the columns filename, fold, category, esc10 and src_file")
    if only_esc10:
        rows = [row for row in rows if row["esc10"] == "True"]
    folds = {row["fold"] for row in rows}
    held_out = _last_sources(rows) if len(folds) == 1 else set()
    found = Corpus()
    for row in rows:
        is_test = row["src_file"] in held_out if len(folds) == 1 else row["fold"] == ESC_TEST_FOLD
        split = "test" if is_test else "train"
        found.recordings.append(Recording(split, f"audio/{row['filename']}", label=row["category"]))
    if len(folds) == 1:
        found.note = f"One fold, {folds.pop()}: split by source recording."
    return found


def _last_sources(rows: list[dict[str, str]]) -> set[str]:
    clips: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        clips[row["category"]][row["src_file"]] += 1
    chosen: set[str] = set()
    for sources in clips.values():
        taken = 0
        for name in sorted(sources, key=int, reverse=True)[: len(sources) - 1]:
            if taken >= ESC_TEST_SHARE * sources.total():
                break
            taken += sources[name]
            chosen.add(name)
    return chosen


def scan_audioset(root: Path) -> Corpus:
    """AudioSet: its lists of segments, and the clips that exist below `root`, named by their video.

    `balanced_train_segments.csv`, `unbalanced_train_segments.csv` and `eval_segments.csv` hold after lines of comment
    `id, start, end, "label,label"`; `class_labels_indices.csv` gives the names of the labels. A clip is called
    `<id>.wav`, `Y<id>.wav` or `<id>_<anything>.wav`.
    """
    lists = {split: path for name, split in AUDIOSET_LISTS.items() if (path := root / f"{name}_segments.csv").is_file()}
    if not lists:
        raise UserError(f"{root} is not AudioSet: no balanced_train_segments.csv or eval_segments.csv in it")
    clips = {video: path for path in reversed(audio_files(root)) for video in _videos(Path(path).stem)}
    names = _label_names(root / "class_labels_indices.csv")
    found, coverage = Corpus(), []
    for split, listing in lists.items():
        there = total = 0
        for line in listing.read_text(encoding="utf-8").splitlines():
            if line.startswith("#") or not line.strip():
                continue
            fields = next(csv.reader([line], skipinitialspace=True))
            if len(fields) != 4:
                raise UserError(f'{listing}: {line!r} is not `id, start, end, "labels"`')
            total += 1
            if (clip := clips.get(fields[0])) is None:
                found.absent.append(Skipped(fields[0], f"no clip of this segment of {listing.name}"))
                continue
            there += 1
            label = ";".join(names.get(mark, mark) for mark in fields[3].split(","))
            found.recordings.append(Recording(split, clip, label=label))
        coverage.append(f"{split} {there:,} of {total:,} clips")
    found.note = f"Coverage: {', '.join(coverage)}."
    log.info("audioset: %s", found.note)
    if not found.recordings:
        raise UserError(
            f"{root} holds none of the clips that its lists name ({found.note}): put <id>.wav files below it"
        )
    return found


def _videos(stem: str) -> list[str]:
    """Identifiers, of 11 characters, that a clip of this name can belong to."""
    return [stem[:11]] if len(stem) == 11 or stem[11:12] == "_" else [stem[1:]] if stem.startswith("Y") else []


def _label_names(table: Path) -> dict[str, str]:
    """Display names by label, such as /m/09x0r: Speech; empty without the table."""
    if not table.is_file():
        return {}
    rows = csv.DictReader(table.read_text(encoding="utf-8").splitlines())
    return {row["mid"]: row["display_name"].replace(";", ",") for row in rows}
