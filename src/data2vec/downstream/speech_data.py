"""Labelled recordings of a downstream task: splits where a set has none, and parts of the labels."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data2vec.config import RunConfig
from data2vec.data.audio import SAMPLE_RATE, Recordings, load_audio
from data2vec.data.manifest import read_manifest
from data2vec.data.recordings import SPLIT_NAMES
from data2vec.errors import UserError
from data2vec.nn.waveform import samples_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Splits:
    """Recordings to learn from, to choose weights by, and to report; `rule` says how they were parted."""

    train: Recordings
    valid: Recordings
    tests: dict[str, Recordings]
    rule: str


def labelled_splits(config: RunConfig, folder: Path, labels: str) -> Splits:
    """The splits of the set prepared in `folder`; `labels` is transcript, label, labels or speaker.

    A set without validation recordings gives a tenth of its training recordings for that, one without test
    recordings reports the validation ones. Speakers to be recognised are those of the training recordings, of which a
    fifth each is for test and a tenth for validation. All choices are the same for every seed.
    """
    task = config.task
    train = _load(config, folder, task.train, labels)
    if labels == "speaker":
        return _by_speaker(train)
    names = list(read_manifest(folder).splits)
    rule = "as prepared"
    if _has(names, task.valid):
        valid = _load(config, folder, task.valid, labels)
    else:
        order, held = _fixed_order(len(train)), max(1, len(train) // 10)
        if len(train) < 2:
            raise UserError(f"{train.name} has one labelled training recording; at least 2 are needed")
        train, valid = subset(train, np.sort(order[held:])), subset(train, np.sort(order[:held]))
        rule = "valid: a tenth of train"
    tests = {name: _load(config, folder, name, labels) for name in task.test if _has(names, name)}
    if not tests:
        log.warning("%s has no split %s: the validation recordings are reported", train.name, " or ".join(task.test))
        tests, rule = {task.valid: valid}, f"{rule}; test: none, valid is reported"
    return Splits(train, valid, tests, rule)


def first_labels(train: Recordings, limit: int | None, seconds: float | None) -> Recordings:
    """Part of the labels: at most `limit` recordings, of at most `seconds` altogether.

    They come first in an order that is the same for every seed, so that a smaller part lies within a larger one.
    """
    order = _fixed_order(len(train))
    if seconds is not None:
        fits = int((np.cumsum(train.lengths[order]) <= seconds * SAMPLE_RATE).sum())
        order = order[: max(1, fits)]
    return subset(train, np.sort(order[:limit]))


def subset(recordings: Recordings, indices: NDArray[np.int64]) -> Recordings:
    """Chosen recordings of a split."""

    def pick(values: Sequence[str]) -> list[str]:
        return [values[i] for i in indices]

    r = recordings
    return replace(
        r,
        paths=r.paths[indices],
        lengths=r.lengths[indices],
        speakers=pick(r.speakers),
        transcripts=pick(r.transcripts),
        labels=pick(r.labels),
    )


def _load(config: RunConfig, folder: Path, split: str, labels: str) -> Recordings:
    """One split, without what has no label: recordings of one frame and more."""
    shortest = samples_of(1, config.speech.conv_layers)
    normalise, is_text = config.speech.normalise, labels == "transcript"
    recordings = load_audio(folder, split, normalise, shortest, transcribed=is_text)
    if is_text:
        return recordings
    values = recordings.speakers if labels == "speaker" else recordings.labels
    kept = np.array([i for i, value in enumerate(values) if value], dtype=np.int64)
    if len(kept) == 0:
        raise UserError(
            f"no {split} recording of {recordings.name} has a {labels.removesuffix('s')}: choose other data"
        )
    if len(kept) < len(recordings):
        log.info("%s: %d of %d recordings have no label: left out", split, len(recordings) - len(kept), len(recordings))
    if labels == "label" and (several := next((values[i] for i in kept if ";" in values[i]), None)):
        raise UserError(f"{recordings.name} has recordings of several classes ({several}): use task.labels=labels")
    return subset(recordings, kept)


def _has(names: list[str], split: str) -> bool:
    """Whether a set with the splits `names` has this one, or parts of its kind."""
    kind = SPLIT_NAMES.get(split)
    return split in names or any(kind and SPLIT_NAMES.get(name.split("-")[0]) == kind for name in names)


def _by_speaker(recordings: Recordings) -> Splits:
    own: dict[str, list[int]] = defaultdict(list)
    for i in _fixed_order(len(recordings)):
        own[recordings.speakers[i]].append(int(i))
    parts: dict[str, list[int]] = {"train": [], "valid": [], "test": []}
    for chosen in own.values():
        test, valid = max(1, len(chosen) // 5), max(1, len(chosen) // 10)
        if len(chosen) < 3:
            continue
        parts["test"] += chosen[:test]
        parts["valid"] += chosen[test : test + valid]
        parts["train"] += chosen[test + valid :]
    if not parts["train"]:
        raise UserError(f"no speaker of {recordings.name} has 3 recordings, so that none can be recognised")
    train, valid_set, test_set = (subset(recordings, np.sort(parts[name])) for name in parts)
    return Splits(train, valid_set, {"test": test_set}, "train alone: of each speaker a fifth test, a tenth valid")


def _fixed_order(count: int) -> NDArray[np.int64]:
    return np.random.default_rng(0).permutation(count)
