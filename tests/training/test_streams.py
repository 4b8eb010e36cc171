"""Pre-training batches of recordings from several sets."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from data2vec.config import RunConfig, validate
from data2vec.data.prepare import prepare
from data2vec.errors import UserError
from data2vec.sections import DataConfig
from data2vec.training.streams import speech_batches, speech_recordings


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two prepared sets: eight noises and four digits."""
    folder = tmp_path_factory.mktemp("streams")
    rng = np.random.default_rng(0)
    names = [f"audiofolder/{i}.wav" for i in range(8)] + [f"fsdd/{i}_theo_7.wav" for i in range(4)]
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        soundfile.write(folder / name, rng.normal(0, 0.1, int(rng.integers(5_000, 9_000))), 16_000)
    for name in ("audiofolder", "fsdd"):
        prepare(DataConfig(name=name, path=str(folder / name)), folder / "data")
    return folder / "data"


def config(data_dir: Path, also: list[str]) -> RunConfig:
    speech = {"min_seconds": 0.3, "max_seconds": 1.0, "batch_seconds": 2.0}
    data = {"name": "audiofolder", "also": also}
    values = {"modality": "speech", "data_dir": str(data_dir), "data": data, "speech": speech}
    mask = {"sampler": "span", "ratio": 0.5, "length": 2, "clones": 2}
    return validate(values | {"mask": mask, "train": {"workers": 0}})


def test_further_sets_join_the_training_recordings(data_dir: Path) -> None:
    alone, joined = (speech_recordings(config(data_dir, also)) for also in ([], ["fsdd"]))
    assert len(alone) == 8 and len(joined) == 12 and joined.labels[8:] == ["0", "1", "2", "3"]


def test_batches_of_joined_sets_are_the_same_from_any_start(data_dir: Path) -> None:
    """A resumed run asks for batches n, n + 1, ... of a new stream."""
    whole = list(speech_batches(config(data_dir, ["fsdd"]))(0, 8))
    resumed = list(speech_batches(config(data_dir, ["fsdd"]))(3, 8))
    for a, b in zip(whole[3:], resumed, strict=True):
        assert torch.equal(a.inputs, b.inputs) and torch.equal(a.masks.is_masked, b.masks.is_masked)
    assert all(batch.inputs.numel() <= 2.0 * 16_000 for batch in whole)


@pytest.mark.parametrize(
    ("also", "said"),
    [
        (["an4"], "no prepared data in .*an4: run `python -m data2vec prepare data=an4"),
        (["fsdd", "fsdd"], r"data\.also = .* names of further data sets, each once"),
        (["audiofolder"], r"data\.also = .* not data.name = audiofolder"),
    ],
)
def test_mistakes_in_further_sets_are_named(also: list[str], said: str, data_dir: Path) -> None:
    with pytest.raises(UserError, match=said):
        speech_recordings(config(data_dir, also))


def test_only_recordings_are_joined() -> None:
    with pytest.raises(UserError, match="empty for modality=vision"):
        validate({"data": {"name": "digits", "also": ["cifar10"]}})
