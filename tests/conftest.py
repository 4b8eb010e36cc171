"""Shared by all tests: prepared digits, and the smallest runs."""

from pathlib import Path

import pytest

TINY = {
    "model": "tiny",
    "data": "digits",
    "vision.patch_size": "4",
    "model.dim": "16",
    "model.depth": "2",
    "target.top_k": "2",
    "decoder.dim": "16",
    "mask.length": "1",
    "mask.ratio": "0.5",
    "mask.min_block": "1",
    "train.updates": "6",
    "train.batch_size": "8",
    "train.workers": "0",
    "train.threads": "1",
    "train.precision": "fp32",
    "train.log_every": "2",
    "optim.warmup_updates": "2",
    "teacher.start": "0.9",
    "teacher.end": "0.99",
    "teacher.anneal_updates": "4",
}


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the prepared digits."""
    from data2vec.config import DataConfig
    from data2vec.data.prepare import prepare

    folder = tmp_path_factory.mktemp("data")
    prepare(DataConfig(name="digits"), folder)
    return folder


@pytest.fixture
def tiny(digits: Path) -> dict[str, str]:
    """Overrides of a run of some seconds on 8 x 8 digits."""
    return TINY | {"data_dir": str(digits)}
