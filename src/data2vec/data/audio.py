"""Preparing speech sets into `<data_dir>/<name>/`, and reading them back.

A prepared set is a manifest and a table per split, `<split>.csv` with the columns path, frames, rate, speaker and
transcript; the audio stays as it came, in the folder of the user or unpacked beside the table.
"""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from data2vec.data.archives import extract
from data2vec.data.fetch import Originals, download_originals, find_originals
from data2vec.data.integrity import atomic_directory
from data2vec.data.manifest import (
    AUDIO,
    MANIFEST,
    Manifest,
    OriginalEntry,
    SplitEntry,
    complete_manifest,
    read_manifest,
    require_replaceable,
    write_manifest,
)
from data2vec.data.recordings import (
    RULE,
    Recording,
    measure,
    read_mono,
    scan_an4,
    scan_audio_folder,
    scan_librispeech,
)
from data2vec.data.sources import Source
from data2vec.errors import UserError

log = logging.getLogger(__name__)

SAMPLE_RATE = 16_000
EPS = 1e-5  # of the normalisation, as released
COLUMNS = ("path", "frames", "rate", "speaker", "transcript")
SCANS: dict[str, Callable[[Path], list[Recording]]] = {"an4": scan_an4, "librispeech": scan_librispeech}


def prepare_audio(source: Source, path: Path | None, data_dir: Path, mirror: Path | None, offline: bool) -> Path:
    """Make `<data_dir>/<name>/` complete; the path of its manifest. Does nothing if it already is.

    Raises:
        UserError: the originals are missing, damaged or laid out differently. Nothing is left behind.
    """
    target = data_dir / source.name
    in_place = path is not None and path.is_dir()
    if path is None and source.mirror is None and source.download is None:
        raise UserError(f"data set {source.name!r} needs data.path=FOLDER: {source.by_hand}")
    if in_place and path is not None:
        _require_apart(path.resolve(), target.resolve())
    originals = find_originals(source, path, mirror, data_dir)
    known = originals.fingerprint() if originals else None
    if complete_manifest(target, known) is not None:
        log.info("%s is already prepared in %s", source.name, target)
        return target / MANIFEST
    originals = originals or download_originals(source, mirror, data_dir, offline)
    originals.check()
    require_replaceable(target)
    with atomic_directory(target) as folder:
        root = path.resolve() if in_place and path is not None else _unpack(source, originals, folder)
        _write_set(source, originals, root, str(root) if in_place else root.relative_to(folder).as_posix(), folder)
    return target / MANIFEST


def _require_apart(root: Path, target: Path) -> None:
    if root.is_relative_to(target) or target.is_relative_to(root):
        raise UserError(
            f"the prepared data would go to {target}, which overlaps data.path={root}: choose another data_dir="
        )


def _unpack(source: Source, originals: Originals, folder: Path) -> Path:
    """Unpack the archives below `folder`; the innermost folder that holds everything."""
    root = folder / AUDIO
    root.mkdir()
    for archive in originals.files:
        extract(archive, root, source.unpacked_limit)
    while len(entries := list(root.iterdir())) == 1 and entries[0].is_dir():
        root = entries[0]
    return root


def _write_set(source: Source, originals: Originals, root: Path, stored_root: str, folder: Path) -> None:
    recordings, skipped = measure(root, SCANS.get(source.name, scan_audio_folder)(root))
    if not recordings:
        raise UserError(f"{source.name}: none of {len(skipped)} recordings can be used; the first: {skipped[0]}")
    splits: dict[str, SplitEntry] = {}
    for split in dict.fromkeys(recording.split for recording in recordings):
        rows = [recording for recording in recordings if recording.split == split]
        hours = sum(row.frames / row.rate for row in rows) / 3600
        speakers = len({row.speaker for row in rows if row.speaker})
        splits[split] = SplitEntry(items=len(rows), per_class={}, hours=round(hours, 4), speakers=speakers)
        _write_table(folder / f"{split}.csv", rows)
        log.info("%s: %s, %d recordings, %.2f hours, %d speakers", source.name, split, len(rows), hours, speakers)
    for line in skipped[:5]:
        log.warning("left out: %s", line)
    if skipped:
        total = len(skipped) + len(recordings)
        log.warning("left out %d of %d recordings; all are named in %s", len(skipped), total, MANIFEST)
    manifest = Manifest(
        name=source.name,
        modality=source.modality,
        classes=[],
        splits=splits,
        format="folder",
        source=originals.origin,
        licence=source.licence,
        citation=source.citation,
        note=" ".join(filter(None, (source.note, originals.note, RULE))),
        root=stored_root,
        skipped=skipped,
        originals=[
            OriginalEntry(file=file.name, checksum=checksum)
            for file, checksum in zip(originals.files, originals.checksums, strict=True)
        ],
        fingerprint=originals.fingerprint(),
    )
    write_manifest(folder, manifest)


def _write_table(path: Path, rows: list[Recording]) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([getattr(row, column) for column in COLUMNS] for row in rows)


class Recordings:
    """One split of a prepared speech set, decoded when asked for."""

    def __init__(self, folder: Path, split: str, manifest: Manifest, normalise: bool, min_samples: int) -> None:
        """Read `<split>.csv`; recordings under `min_samples` at 16 kHz are left out."""
        with (folder / f"{split}.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
            rows = list(csv.DictReader(stream))
        frames, rates = (np.array([int(row[column]) for row in rows], dtype=np.int64) for column in ("frames", "rate"))
        lengths = -(-frames * SAMPLE_RATE // rates)  # as many as resampling gives
        kept = np.flatnonzero(lengths >= min_samples)
        seconds, short = min_samples / SAMPLE_RATE, len(rows) - len(kept)
        if len(kept) == 0:
            raise UserError(
                f"{manifest.name} has no {split} recordings of {seconds:g} s or more; lower speech.min_seconds"
            )
        if short:
            log.info("%s: %d of %d recordings are under %.2f s: left out", split, short, len(rows), seconds)
        other = sorted(set(rates[kept].tolist()) - {SAMPLE_RATE})
        if other:
            named = ", ".join(f"{rate:,}" for rate in other)
            log.info("%s: recordings of %s Hz are resampled to %s Hz", split, named, f"{SAMPLE_RATE:,}")
        self.name, self.normalise = manifest.name, normalise
        self.root = folder / (manifest.root or "")
        # One array instead of many strings: forked workers share it without touching reference counts.
        self.paths: NDArray[np.bytes_] = np.array([os.fsencode(rows[i]["path"]) for i in kept], dtype=np.bytes_)
        self.speakers: NDArray[np.str_] = np.array([rows[i]["speaker"] for i in kept])
        self.transcripts: NDArray[np.str_] = np.array([rows[i]["transcript"] for i in kept])
        self.lengths: NDArray[np.int64] = lengths[kept]

    def __len__(self) -> int:
        """Recordings in the split."""
        return len(self.lengths)

    def waveform(self, index: int) -> Tensor:
        """Recording `index` at 16 kHz, float32 (lengths[index],); normalised as a whole where asked for.

        Raises:
            UserError: the file is gone, damaged or another one than when it was prepared; the message names it.
        """
        path = self.root / os.fsdecode(bytes(self.paths[index]))
        try:
            samples, rate = read_mono(path)
        except (soundfile.LibsndfileError, OSError) as error:
            raise UserError(f"recording {path} cannot be read any more ({error}): prepare {self.name} again") from None
        waveform = torch.from_numpy(samples)
        if rate != SAMPLE_RATE:
            from torchaudio.functional import resample  # type: ignore[import-untyped]

            waveform = resample(waveform, rate, SAMPLE_RATE)
        if len(waveform) != self.lengths[index]:
            raise UserError(f"recording {path} is not the one that was prepared: prepare {self.name} again")
        return normalise_waveform(waveform) if self.normalise else waveform


def normalise_waveform(waveform: Tensor) -> Tensor:
    """Zero mean and unit variance (biased, eps 1e-5), (samples,)."""
    centred = waveform - waveform.mean()
    return centred * torch.rsqrt(centred.square().mean() + EPS)


def load_audio(folder: Path, split: str, normalise: bool = True, min_samples: int = 1) -> Recordings:
    """One split of the set prepared in `folder`.

    Raises:
        UserError: it is not prepared, not complete, not of speech, or has no such split.
    """
    manifest = read_manifest(folder)
    if manifest.modality != "speech":
        raise UserError(f"{folder} holds {manifest.modality} data, not speech")
    if split not in manifest.splits:
        raise UserError(f"data set {manifest.name!r} has no split {split!r}, only {', '.join(manifest.splits)}")
    return Recordings(folder, split, manifest, normalise, min_samples)
