"""What a speech corpus holds, and which of its recordings can be used.

A layout (`speech_corpora`, `audio_folder`) becomes a `Corpus`; `measure` reads every file once and gives the reason for
each that is left out.
"""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray
from tqdm import tqdm

EXTENSIONS = (".flac", ".wav", ".ogg", ".mp3", ".aiff", ".sph")
MAX_SECONDS, SILENCE = 300.0, 1e-4
MIN_SECONDS = 400 / 16_000  # the waveform encoder's receptive field: less gives no frame
RULE = (
    f"Left out: files that cannot be decoded to their end, recordings under {MIN_SECONDS:g} s or over "
    f"{MAX_SECONDS:g} s, silent ones (no two samples differ by {SILENCE:g} of full scale), recordings that are named "
    "but absent, second entries of one recording, and transcripts that are not UTF-8. All are listed in skipped.csv."
)
ABSENT = "named in the lists of the set, but there is no such recording"
NOT_UTF8 = "its transcript is not UTF-8 text"
SPLIT_NAMES = {"train": "train", "test": "test"} | dict.fromkeys(("valid", "val", "validation", "dev"), "valid")


@dataclass(frozen=True)
class Recording:
    """One utterance; `path` is relative to the corpus's root, `frames` counts samples at `rate` Hz."""

    split: str
    path: str
    speaker: str = ""
    transcript: str = ""
    label: str = ""
    """Name of its class; several are joined by `;`."""
    frames: int = 0
    rate: int = 0


class Skipped(NamedTuple):
    """A recording that is left out, and why."""

    path: str
    reason: str


@dataclass
class Corpus:
    """What a layout names. `absent`: parts of a set that nobody has whole, such as AudioSet's deleted clips."""

    recordings: list[Recording] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    absent: list[Skipped] = field(default_factory=list)
    note: str = ""

    def add(self, recording: Recording, is_utf8: bool = True) -> None:
        """Take a recording, or leave it out for its transcript's sake."""
        if is_utf8:
            self.recordings.append(recording)
        else:
            self.skipped.append(Skipped(recording.path, NOT_UTF8))


def text_lines(path: Path) -> Iterator[tuple[str, bool]]:
    """The lines of a text file, and whether each is UTF-8; a byte that is not becomes a lone surrogate."""
    for line in path.read_bytes().removeprefix(codecs.BOM_UTF8).splitlines():
        text = line.decode("utf-8", errors="surrogateescape")
        yield text, not any("\udc80" <= letter <= "\udcff" for letter in text)


def measure(root: Path, recordings: Sequence[Recording]) -> tuple[list[Recording], list[Skipped]]:
    """Read every file: the usable recordings with frames and rate, and the others."""
    used, skipped = [], []
    seen: set[str] = set()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda recording: _inspect(root / recording.path), recordings)
        bar = tqdm(results, total=len(recordings), desc="reading audio", disable=not sys.stderr.isatty())
        for recording, result in zip(recordings, bar, strict=True):
            if recording.path in seen:
                skipped.append(Skipped(recording.path, "named twice; its first entry is used"))
            elif isinstance(result, str):
                skipped.append(Skipped(recording.path, result))
            else:
                used.append(replace(recording, frames=result[0], rate=result[1]))
            seen.add(recording.path)
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
        if not path.stat().st_size:
            return "empty, 0 bytes"
        stated = soundfile.info(path)
        if stated.duration > MAX_SECONDS:  # before it is read into memory
            return f"too long, {stated.duration:.0f} s"
        samples, rate = read_mono(path)
    except FileNotFoundError:
        return ABSENT
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


def with_extension(root: Path, stem: str) -> str:
    """The file called `stem` with any known extension; with .wav if there is none, which `measure` then reports."""
    return next((stem + end for end in EXTENSIONS if (root / (stem + end)).is_file()), stem + ".wav")


def audio_files(root: Path) -> list[str]:
    """Paths relative to `root` of all audio files below it, sorted; hidden files and folders are not looked at."""
    found = []
    for parent, folders, files in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        names = (name for name in files if name.lower().endswith(EXTENSIONS) and not name.startswith("."))
        found += [Path(parent, name).relative_to(root).as_posix() for name in names]
    return sorted(found)
