"""Which recordings a speech data set holds, and which of them can be used.

A corpus layout becomes a list of `Recording`; `measure` reads every file once and gives the reason for each that
is left out.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from tqdm import tqdm

from data2vec.errors import UserError

EXTENSIONS = (".flac", ".wav", ".ogg", ".mp3", ".aiff", ".sph")
MIN_SECONDS, MAX_SECONDS, SILENCE = 0.1, 300.0, 1e-4
RULE = (
    f"Left out: files that cannot be decoded to their end, recordings under {MIN_SECONDS:g} s or over "
    f"{MAX_SECONDS:g} s, and silent ones (no two samples differ by {SILENCE:g} of full scale)."
)

# Of AN4's training speakers, these are kept apart as a development part: 3 female, 5 male, 104 utterances.
AN4_DEV_SPEAKERS = frozenset("fbbh fmjc fmjd mewl mjjs2 mmdg mmkw mtos".split())


@dataclass(frozen=True)
class Recording:
    """One utterance; `path` is relative to the data set's root, `frames` counts samples at `rate` Hz."""

    split: str
    path: str
    speaker: str = ""
    transcript: str = ""
    frames: int = 0
    rate: int = 0


def scan_an4(root: Path) -> list[Recording]:
    """AN4: `etc/an4_<part>.fileids`, `etc/an4_<part>.transcription` and the audio under `wav/`."""
    found = []
    for split in ("train", "test"):
        listing, spoken = root / "etc" / f"an4_{split}.fileids", root / "etc" / f"an4_{split}.transcription"
        if not listing.is_file():
            continue
        names = listing.read_text(encoding="utf-8").split()
        lines = spoken.read_text(encoding="utf-8").splitlines()
        if len(names) != len(lines):
            raise UserError(f"{listing} names {len(names)} utterances, {spoken.name} transcribes {len(lines)}")
        for name, line in zip(names, lines, strict=True):
            text = re.match(r"(?:<s>)?(.*?)(?:</s>)?\s*\((\S+)\)\s*$", line)
            if text is None or text[2] != name.rpartition("/")[2]:
                raise UserError(f"{spoken}: {line!r} is not the transcript of {name}: expected `<s> WORDS </s> (name)`")
            speaker = name.split("/")[-2]
            part = "dev" if split == "train" and speaker in AN4_DEV_SPEAKERS else split
            found.append(Recording(part, _with_extension(root, f"wav/{name}"), speaker, text[1].strip().upper()))
    if not found:
        raise UserError(f"{root} is not AN4: no etc/an4_train.fileids in it")
    return found


def scan_librispeech(root: Path) -> list[Recording]:
    """LibriSpeech: `<part>/<speaker>/<chapter>/<utterance>.flac`; all parts called train-... are the training split."""
    base = root / "LibriSpeech" if (root / "LibriSpeech").is_dir() else root
    found = []
    for texts in sorted(base.glob("*/*/*/*.trans.txt")):
        chapter = texts.parent
        part = chapter.parts[-3]
        split = "train" if part.startswith("train") else part
        for line in texts.read_text(encoding="utf-8").splitlines():
            name, _, text = line.partition(" ")
            path = (chapter / f"{name}.flac").relative_to(root).as_posix()
            found.append(Recording(split, path, chapter.parts[-2], text.strip()))
    if not found:
        raise UserError(
            f"{root} is not LibriSpeech: expected <part>/<speaker>/<chapter>/*.flac and *.trans.txt in it or in its "
            "folder LibriSpeech"
        )
    return found


def scan_audio_folder(root: Path) -> list[Recording]:
    """Any folder of audio files; subfolders called train, dev and test are splits, without them all is train."""
    splits = [name for name in ("train", "dev", "test") if (root / name).is_dir()]
    paths = sorted(path.relative_to(root).as_posix() for path in _audio_files(root))
    if not paths:
        raise UserError(f"{root} holds no audio files ({', '.join(EXTENSIONS)})")
    if not splits:
        return [Recording("train", path) for path in paths]
    parted = [(path.split("/")[0], path) for path in paths]
    stray = [path for part, path in parted if part not in splits]
    if stray:
        raise UserError(
            f"{root} has the splits {', '.join(splits)}, and {stray[0]!r} in none of them ({len(stray)} files)"
        )
    return [Recording(part, path) for part, path in parted]


def measure(root: Path, recordings: Sequence[Recording]) -> tuple[list[Recording], list[str]]:
    """Read every file: the usable recordings with frames and rate, and `path: reason` of the others."""
    used, skipped = [], []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda recording: _inspect(root / recording.path), recordings)
        bar = tqdm(results, total=len(recordings), desc="reading audio", disable=not sys.stderr.isatty())
        for recording, result in zip(recordings, bar, strict=True):
            if isinstance(result, str):
                skipped.append(f"{recording.path}: {result}")
            else:
                used.append(replace(recording, frames=result[0], rate=result[1]))
    return used, skipped


def read_mono(path: Path) -> tuple[NDArray[np.float32], int]:
    """Samples (n,) in -1..1 and sampling rate of an audio file; several channels are averaged.

    Raises:
        soundfile.LibsndfileError, OSError: it cannot be decoded.
    """
    with soundfile.SoundFile(path) as file:
        samples = file.read(dtype="float32", always_2d=True)
        return samples.mean(axis=1), file.samplerate


def _inspect(path: Path) -> tuple[int, int] | str:
    """Frames and rate of a usable file, or why it is left out."""
    try:
        stated = soundfile.info(path)
        if stated.duration > MAX_SECONDS:  # before it is read into memory
            return f"too long, {stated.duration:.0f} s"
        samples, rate = read_mono(path)
    except (soundfile.LibsndfileError, OSError) as error:
        return f"unreadable, {str(error).splitlines()[0]}"
    if len(samples) < stated.frames:
        return f"cut short, {len(samples):,} of {stated.frames:,} samples"
    if len(samples) < MIN_SECONDS * rate:
        return f"too short, {len(samples) / rate:.3f} s"
    if not np.isfinite(samples).all():
        return "holds values that are not finite"
    if float(np.ptp(samples)) < SILENCE:
        return "silent"
    return len(samples), rate


def _with_extension(root: Path, stem: str) -> str:
    """The file called `stem` with any known extension; with .wav if there is none, which `measure` then reports."""
    return next((stem + end for end in EXTENSIONS if (root / (stem + end)).is_file()), stem + ".wav")


def _audio_files(root: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if name.lower().endswith(EXTENSIONS) and not name.startswith("."):
                yield Path(parent, name)
