"""Splits of labelled recordings, and parts of the labels."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from data2vec.compose import compose
from data2vec.data.audio import SAMPLE_RATE, Recordings
from data2vec.downstream.speech_data import _by_speaker, first_labels, labelled_splits, subset
from data2vec.errors import UserError

from .conftest import SPEECH


def recordings(count: int, speakers: int = 4) -> Recordings:
    seconds = np.random.default_rng(0).integers(1, 9, count)
    return Recordings(
        name="made",
        paths=np.array([f"/{i}.wav".encode() for i in range(count)]),
        lengths=seconds * SAMPLE_RATE,
        speakers=[f"s{i % speakers}" for i in range(count)],
        transcripts=["A"] * count,
        labels=["x"] * count,
    )


def names(part: Recordings) -> set[bytes]:
    return {bytes(path) for path in part.paths}


def test_fewer_labels_lie_within_more_labels() -> None:
    whole = recordings(50)
    parts = [first_labels(whole, None, seconds) for seconds in (5.0, 20.0, 60.0, 1e9)]
    assert all(names(a) < names(b) for a, b in itertools.pairwise(parts))
    assert all(p.lengths.sum() <= s * SAMPLE_RATE for p, s in zip(parts[1:], (20, 60, 1e9), strict=True))
    assert len(parts[-1]) == 50 and names(first_labels(whole, 3, None)) < names(first_labels(whole, 4, None))
    assert len(first_labels(whole, None, 0.1)) == 1


def test_every_speaker_is_in_every_part_and_no_recording_in_two() -> None:
    whole = recordings(40)
    splits = _by_speaker(whole)
    parts = [splits.train, splits.valid, splits.tests["test"]]
    assert [len(part) for part in parts] == [28, 4, 8]
    assert all(set(part.speakers) == set(whole.speakers) for part in parts)
    assert sum(len(part) for part in parts) == len(set().union(*map(names, parts)))


def test_speakers_with_two_recordings_are_left_out() -> None:
    few = subset(recordings(9), np.array([0, 1, 4, 5, 8]))  # speaker s0 three times, s1 twice
    assert set(_by_speaker(few).train.speakers) == {"s0"}
    with pytest.raises(UserError, match="no speaker of made has 3 recordings"):
        _by_speaker(subset(few, np.array([1, 3])))


def test_without_valid_a_tenth_of_train_takes_its_place(sorted_tones: Path) -> None:
    config = compose(SPEECH | {"data_dir": str(sorted_tones)})
    splits = labelled_splits(config, sorted_tones / "audiofolder", "label")
    assert (len(splits.train), len(splits.valid), len(splits.tests["test"])) == (11, 1, 6)
    assert splits.rule == "valid: a tenth of train" and not names(splits.train) & names(splits.valid)


def test_without_test_the_validation_recordings_are_reported(spoken: Path) -> None:
    config = compose(SPEECH | {"data_dir": str(spoken), "task.test": "[test-other]"})
    splits = labelled_splits(config, spoken / "audiofolder", "transcript")
    assert splits.tests == {"valid": splits.valid} and "valid is reported" in splits.rule


@pytest.mark.parametrize(("labels", "said"), [("label", "has a label"), ("speaker", "has a speaker")])
def test_a_set_without_such_labels_is_refused(labels: str, said: str, spoken: Path) -> None:
    config = compose(SPEECH | {"data_dir": str(spoken)})
    with pytest.raises(UserError, match=said):
        labelled_splits(config, spoken / "audiofolder", labels)
