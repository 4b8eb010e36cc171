"""The embedded speech set."""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from data2vec.data.audio import load_audio
from data2vec.data.espeak import COLOURS, speak, utterances
from data2vec.data.manifest import read_manifest
from data2vec.errors import UserError


def test_no_speaker_and_no_sentence_is_in_two_splits() -> None:
    planned = utterances()
    assert len({u.sentence for u in planned}) == len(planned)
    for key in ("speaker", "voice"):
        splits = {split: {getattr(u, key) for u in planned if u.split == split} for split in ("train", "valid", "test")}
        assert sum(map(len, splits.values())) == len(set.union(*splits.values())) == 24


def test_classes_are_balanced_and_every_word_is_trained() -> None:
    planned = utterances()
    for split in ("train", "valid", "test"):
        counts = Counter(u.colour for u in planned if u.split == split)
        assert set(counts) == set(COLOURS) and len(set(counts.values())) == 1
    words = {split: {w for u in planned if u.split == split for w in u.sentence.split()} for split in ("train", "test")}
    assert len(words["train"]) == 30 and words["test"] <= words["train"]


def test_the_same_samples_every_time_also_for_other_utterances_before() -> None:
    """The library draws breath and flutter at random; for a given list nothing may depend on the time."""
    planned = utterances()[::60]
    (first, rate), (again, _) = speak(planned), speak(planned)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert all(0.8 < len(samples) / rate < 3 and np.ptp(samples.astype(int)) > 10_000 for samples in first)
    assert not np.array_equal(first[0], first[1])


def test_the_prepared_set(run_prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("data2vec.data.audio_preparation.utterances", lambda: utterances()[::40])
    folder = run_prepare("espeak")
    manifest = read_manifest(folder)
    assert manifest.source == "embedded" and "espeak-ng" in manifest.note and manifest.skipped == []
    recordings = load_audio(folder, "train")
    assert len(recordings) == sum(u.split == "train" for u in utterances()[::40])
    assert recordings.labels[0] == recordings.transcripts[0].split()[2] in COLOURS
    assert set(recordings.speakers) <= {u.speaker for u in utterances()}
    assert recordings.waveform(0).std() > 0.9
    before = (folder / "manifest.json").stat().st_mtime_ns
    assert (run_prepare("espeak") / "manifest.json").stat().st_mtime_ns == before


def test_a_library_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(UserError, match="needs the package espeakng-loader, whose library cannot be loaded here"):
        speak(utterances()[:1])
