"""Reading prepared speech sets: which recordings a split holds, and their waveforms at 16 kHz."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from data2vec.data.manifest import Manifest, read_manifest
from data2vec.data.recordings import SPLIT_NAMES, read_mono
from data2vec.errors import UserError

log = logging.getLogger(__name__)

SAMPLE_RATE = 16_000
EPS = 1e-5  # of the normalisation, as released


@dataclass(frozen=True)
class Recordings:
    """Recordings of prepared sets, decoded when asked for.

    `lengths` counts samples at 16 kHz; `labels` are as in the tables: empty, one class, or several joined by `;`.
    """

    name: str
    paths: NDArray[np.bytes_]
    """One array instead of many strings: forked workers share it without touching reference counts."""
    lengths: NDArray[np.int64]
    speakers: list[str]
    transcripts: list[str]
    labels: list[str]
    normalise: bool = True

    def __len__(self) -> int:
        """How many there are."""
        return len(self.lengths)

    def waveform(self, index: int) -> Tensor:
        """Recording `index` at 16 kHz, float32 (lengths[index],); normalised as a whole where asked for.

        Raises:
            UserError: the file is gone, damaged or another one than when it was prepared; the message names it.
        """
        path = Path(os.fsdecode(bytes(self.paths[index])))
        try:
            samples, rate = read_mono(path)
        except (soundfile.LibsndfileError, OSError) as error:
            raise UserError(f"recording {path} cannot be read any more ({error}): prepare {self.name} again") from None
        waveform = resampled(torch.from_numpy(samples), rate)
        if len(waveform) != self.lengths[index]:
            raise UserError(f"recording {path} is not the one that was prepared: prepare {self.name} again")
        return normalise_waveform(waveform) if self.normalise else waveform


def resampled(waveform: Tensor, rate: int) -> Tensor:
    """A waveform (n,) of `rate` Hz at 16 kHz, (ceil(n * 16000 / rate),)."""
    if rate == SAMPLE_RATE:
        return waveform
    with torch.autocast("cpu", enabled=False):  # a caller's autocast would resample in bf16
        return _resampler(rate)(waveform)


@lru_cache(maxsize=8)
def _resampler(rate: int) -> Callable[[Tensor], Tensor]:
    """Kept, since computing its kernel takes 2 ms, more than resampling half a second of speech."""
    from torchaudio.transforms import Resample  # type: ignore[import-untyped]

    resampler: Callable[[Tensor], Tensor] = Resample(rate, SAMPLE_RATE)
    return resampler


def normalise_waveform(waveform: Tensor) -> Tensor:
    """Zero mean and unit variance (biased, eps 1e-5), (samples,)."""
    centred = waveform - waveform.mean()
    return centred * torch.rsqrt(centred.square().mean() + EPS)


def load_audio(
    folder: Path, split: str, normalise: bool = True, min_samples: int = 1, transcribed: bool = False
) -> Recordings:
    """The recordings of at least `min_samples` at 16 kHz of a split of the set prepared in `folder`.

    `split` names a split or several joined by `+`. Where a set has no split of that name, train, valid and test
    stand for all parts of that kind, such as LibriSpeech's train-clean-100 and train-other-500. With `transcribed`,
    recordings without a transcript are left out too.

    Raises:
        UserError: the set is not prepared, not complete, not of speech, or has no such split or recording.
    """
    manifest = read_manifest(folder)
    if manifest.modality != "speech":
        raise UserError(f"{folder} holds {manifest.modality} data, not speech")
    rows: list[dict[str, str]] = []
    for part in _parts(manifest, split):
        with (folder / f"{part}.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
            rows += csv.DictReader(stream)
    if transcribed:
        rows = _transcribed(manifest.name, split, rows)
    frames, rates = (np.array([int(row[column]) for row in rows], dtype=np.int64) for column in ("frames", "rate"))
    lengths = -(-frames * SAMPLE_RATE // rates)  # as many as resampling gives
    kept = np.flatnonzero(lengths >= min_samples)
    _report(manifest.name, split, len(rows), len(kept), min_samples, rates)
    root = folder / (manifest.root or "")
    chosen = [rows[i] for i in kept]
    return Recordings(
        name=manifest.name,
        paths=np.array([os.fsencode(root / row["path"]) for row in chosen], dtype=np.bytes_),
        lengths=lengths[kept],
        speakers=[row["speaker"] for row in chosen],
        transcripts=[row["transcript"] for row in chosen],
        labels=[row["label"] for row in chosen],
        normalise=normalise,
    )


def join(parts: Sequence[Recordings]) -> Recordings:
    """The recordings of several sets, one after another."""
    return Recordings(
        name=" + ".join(part.name for part in parts),
        paths=np.concatenate([part.paths for part in parts]),
        lengths=np.concatenate([part.lengths for part in parts]),
        speakers=[name for part in parts for name in part.speakers],
        transcripts=[text for part in parts for text in part.transcripts],
        labels=[label for part in parts for label in part.labels],
        normalise=parts[0].normalise,
    )


def _parts(manifest: Manifest, split: str) -> list[str]:
    """The tables that `split` stands for."""
    found: list[str] = []
    for wanted in split.split("+"):
        kind = SPLIT_NAMES.get(wanted)
        alike = [name for name in manifest.splits if kind and SPLIT_NAMES.get(name.split("-")[0]) == kind]
        parts = [wanted] if wanted in manifest.splits else alike
        if not parts:
            raise UserError(f"data set {manifest.name!r} has no split {wanted!r}, only {', '.join(manifest.splits)}")
        found += parts
    return list(dict.fromkeys(found))


def _transcribed(name: str, split: str, rows: list[dict[str, str]]) -> list[dict[str, str]]:
    kept = [row for row in rows if row["transcript"]]
    if not kept:
        raise UserError(f"no {split} recording of {name} has a transcript: choose a set with transcripts, or add them")
    if len(kept) < len(rows):
        log.info("%s: %d of %d recordings have no transcript: left out", split, len(rows) - len(kept), len(rows))
    return kept


def _report(name: str, split: str, total: int, kept: int, min_samples: int, rates: NDArray[np.int64]) -> None:
    seconds = min_samples / SAMPLE_RATE
    if kept == 0:
        raise UserError(f"{name} has no {split} recordings of {seconds:g} s or more; lower speech.min_seconds")
    if kept < total:
        log.info("%s, %s: %d of %d recordings are under %.2f s: left out", name, split, total - kept, total, seconds)
    if other := sorted(set(rates.tolist()) - {SAMPLE_RATE}):
        named = ", ".join(f"{rate:,}" for rate in other)
        log.info("%s, %s: recordings of %s Hz are resampled to %s Hz", name, split, named, f"{SAMPLE_RATE:,}")
