"""Fixtures for data sets: preparation as the command line does it, a mirror, a small folder of images."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from data2vec.data.prepare import prepare

from .made_data import encoded_image, write_files


@pytest.fixture
def run_prepare(tmp_path: Path) -> Callable[..., Path]:
    """`prepare` as the command line calls it, into tmp_path/data; the prepared folder."""

    def run(name: str, path: Path | None = None, mirror: Path | None = None, offline: bool = True) -> Path:
        choice = SimpleNamespace(name=name, path=str(path) if path else None)
        return prepare(choice, tmp_path / "data", mirror, offline).parent

    return run


@pytest.fixture(scope="session")
def real_mirror() -> Path:
    """A folder of real data sets: $DATA2VEC_MIRROR, or shared/data beside the project; skips without one."""
    project = Path(__file__).resolve().parents[2]
    mirror = Path(os.environ.get("DATA2VEC_MIRROR", project.parent / "shared" / "data"))
    if not mirror.is_dir():
        pytest.skip("no mirror of real data (set DATA2VEC_MIRROR)")
    return mirror


@pytest.fixture
def class_folders(tmp_path: Path) -> Path:
    """A folder of two classes with six and four images of different sizes."""
    files = {f"cat/{i}.jpg": encoded_image(i, (40 + i, 30)) for i in range(6)}
    files |= {f"dog/{i}.png": encoded_image(i + 10, (30, 44), format="PNG") for i in range(4)}
    return write_files(tmp_path / "pets", files)
