"""Preparing speech sets into `<data_dir>/<name>/`.

A prepared set is a manifest, a table per split, `<split>.csv` with the columns path, frames, rate, speaker, transcript
and label, and `skipped.csv` with path and reason of all that is left out. The audio stays as it came, in the folder of
the user or unpacked beside the tables.
"""

from __future__ import annotations

import csv
import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch

from data2vec.data.archives import extract
from data2vec.data.audio import SAMPLE_RATE, resampled
from data2vec.data.audio_folder import scan_audio_folder
from data2vec.data.espeak import library_version, speak, utterances
from data2vec.data.fetch import Originals, download_originals, find_originals
from data2vec.data.integrity import atomic_directory
from data2vec.data.manifest import (
    AUDIO,
    MANIFEST,
    Manifest,
    OriginalEntry,
    SplitEntry,
    complete_manifest,
    require_replaceable,
    write_manifest,
)
from data2vec.data.recordings import RULE, Corpus, Recording, Skipped, measure
from data2vec.data.sound_corpora import scan_audioset, scan_esc, scan_fsdd, scan_speech_commands
from data2vec.data.sources import Source
from data2vec.data.speech_corpora import LIBRILIGHT_PARTS, scan_an4, scan_librilight, scan_librispeech, scan_yesno
from data2vec.errors import UserError

log = logging.getLogger(__name__)

COLUMNS = ("path", "frames", "rate", "speaker", "transcript", "label")
SKIPPED = "skipped.csv"
PEAK = 0.5
"""Factor of the synthetic samples: resampling overshoots their full scale."""
SCANS: dict[str, Callable[[Path], Corpus]] = {
    "an4": scan_an4,
    "librispeech": scan_librispeech,
    **{f"librilight-{subset}": partial(scan_librilight, subset=subset) for subset in LIBRILIGHT_PARTS},
    "yesno": scan_yesno,
    "fsdd": scan_fsdd,
    "speechcommands": scan_speech_commands,
    "esc50": partial(scan_esc, only_esc10=False),
    "esc10": partial(scan_esc, only_esc10=True),
    "audioset": scan_audioset,
    "audiofolder": scan_audio_folder,
}


def prepare_audio(source: Source, path: Path | None, data_dir: Path, mirror: Path | None, offline: bool) -> Path:
    """Make `<data_dir>/<name>/` complete; the path of its manifest. Does nothing if it already is.

    Raises:
        UserError: the originals are missing, damaged or laid out differently. Nothing is left behind.
    """
    target = data_dir / source.name
    if source.kind == "embedded":
        return _prepare_spoken(source, target)
    if path is None and source.mirror is None and source.download is None:
        raise UserError(f"data set {source.name!r} needs data.path=FOLDER: {source.by_hand}")
    if path is not None:
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
        own = originals.files[0].is_dir()
        root = originals.files[0].resolve() if own else _unpack(source, originals, folder)
        stored = str(root) if own else root.relative_to(folder).as_posix()
        _write_set(source, SCANS[source.name](root), root, folder, _origin(originals) | {"root": stored})
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


def _origin(originals: Originals) -> dict[str, object]:
    pairs = zip(originals.files, originals.checksums, strict=True)
    return {
        "source": originals.origin,
        "note": originals.note,
        "originals": [OriginalEntry(file=file.name, checksum=checksum) for file, checksum in pairs],
        "fingerprint": originals.fingerprint(),
    }


def _prepare_spoken(source: Source, target: Path) -> Path:
    """The embedded set: every utterance as 16-bit FLAC of 16 kHz below audio/."""
    planned, version = utterances(), library_version()
    fingerprint = hashlib.sha256(repr((version, planned)).encode()).hexdigest()
    if complete_manifest(target, fingerprint) is not None:
        return target / MANIFEST
    require_replaceable(target)
    spoken, rate = speak(planned)
    corpus = Corpus()
    with atomic_directory(target) as folder:
        for number, (utterance, samples) in enumerate(zip(planned, spoken, strict=True)):
            file = f"{utterance.split}/{number:04}.flac"
            (folder / AUDIO / file).parent.mkdir(parents=True, exist_ok=True)
            waveform = PEAK * resampled(torch.from_numpy(samples.astype(np.float32)), rate)
            soundfile.write(folder / AUDIO / file, waveform.round().to(torch.int16).numpy(), SAMPLE_RATE)
            corpus.add(Recording(utterance.split, file, utterance.speaker, utterance.sentence, utterance.colour))
        facts = {"source": "embedded", "note": f"espeak-ng {version}.", "fingerprint": fingerprint, "root": AUDIO}
        _write_set(source, corpus, folder / AUDIO, folder, facts)
    return target / MANIFEST


def _write_set(source: Source, corpus: Corpus, root: Path, folder: Path, facts: Mapping[str, object]) -> None:
    """Measure the recordings, write the tables, and the manifest with `facts` about where the set comes from."""
    recordings, unusable = measure(root, corpus.recordings)
    skipped = [*corpus.skipped, *unusable]
    if not recordings:
        first = f"{skipped[0].path}: {skipped[0].reason}"
        raise UserError(f"{source.name}: none of {len(skipped)} recordings can be used; the first: {first}")
    splits = {}
    for split in dict.fromkeys(recording.split for recording in recordings):
        rows = [recording for recording in recordings if recording.split == split]
        splits[split] = _describe_split(source, split, rows)
        _write_table(folder / f"{split}.csv", COLUMNS, ([getattr(row, column) for column in COLUMNS] for row in rows))
    _write_table(folder / SKIPPED, Skipped._fields, [*skipped, *corpus.absent])
    if skipped:
        counts = Counter(reason.partition(",")[0] for _, reason in skipped)
        reasons = "; ".join(f"{n} {reason}" for reason, n in counts.most_common())
        total = len(skipped) + len(recordings)
        log.warning("left out %d of %d recordings (%s); all are named in %s", len(skipped), total, reasons, SKIPPED)
    manifest = {
        "name": source.name,
        "modality": source.modality,
        "classes": sorted({name for recording in recordings for name in recording.label.split(";")} - {""}),
        "splits": splits,
        "format": "folder",
        "licence": source.licence,
        "citation": source.citation,
        "skipped": [f"{path}: {reason}" for path, reason in skipped],
    }
    note = " ".join(str(part) for part in (source.note, facts["note"], corpus.note, RULE) if part)
    write_manifest(folder, Manifest.model_validate({**facts, **manifest, "note": note}))


def _describe_split(source: Source, split: str, rows: Sequence[Recording]) -> SplitEntry:
    hours = sum(row.frames / row.rate for row in rows) / 3600
    speakers = len({row.speaker for row in rows if row.speaker})
    log.info("%s: %s, %d recordings, %.2f hours, %d speakers", source.name, split, len(rows), hours, speakers)
    per_class = Counter(name for row in rows if row.label for name in row.label.split(";"))
    return SplitEntry(
        items=len(rows), per_class=dict(sorted(per_class.items())), hours=round(hours, 4), speakers=speakers
    )


def _write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
