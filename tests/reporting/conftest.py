"""A made-up results folder, and the report made from it."""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from data2vec.reporting.collect import load_results
from data2vec.reporting.report import build_report


def load_synthetic() -> ModuleType:
    name = "reporting_synthetic"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("synthetic.py"))
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def synthetic() -> ModuleType:
    return load_synthetic()


@dataclass
class Place:
    """One results folder and where its report goes."""

    root: Path
    published: Path

    @property
    def vision(self) -> Path:
        return self.root / "results" / "embedded" / "vision"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    def build(self, scale: str | None = None) -> str:
        """Build the report and return its page."""
        folders = (self.root / "results", self.reports, self.published, self.root / "experiments")
        page = build_report(*folders, scale, load_synthetic().PROJECT / "config" / "claims.yaml")
        return page.read_text(encoding="utf-8")

    def frame(self) -> pd.DataFrame:
        return load_results(self.reports / "results.csv")

    def missing(self) -> str:
        return (self.reports / "tables" / "missing.csv").read_text(encoding="utf-8")


@pytest.fixture
def place(tmp_path: Path, synthetic: ModuleType) -> Place:
    """Run folders, with no report yet."""
    synthetic.make_results(tmp_path)
    return Place(tmp_path, synthetic.PUBLISHED)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, synthetic: ModuleType) -> Place:
    """A finished report; tests must not change it."""
    root = tmp_path_factory.mktemp("built")
    synthetic.make_results(root)
    place = Place(root, synthetic.PUBLISHED)
    place.build()
    return place


@pytest.fixture(scope="session")
def again(tmp_path_factory: pytest.TempPathFactory, synthetic: ModuleType) -> Place:
    """The same runs in another folder, reported once more."""
    root = tmp_path_factory.mktemp("again")
    synthetic.make_results(root)
    place = Place(root, synthetic.PUBLISHED)
    place.build()
    return place


@pytest.fixture(scope="session")
def battered(tmp_path_factory: pytest.TempPathFactory, synthetic: ModuleType) -> Place:
    """A report on runs from which much is missing, each thing from another place."""
    root = tmp_path_factory.mktemp("battered")
    synthetic.make_results(root)
    synthetic.batter(root)
    place = Place(root, root / "published")
    place.build()
    return place


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, synthetic: ModuleType) -> Place:
    """A finished report of all three modalities; tests must not change it."""
    root = tmp_path_factory.mktemp("whole")
    synthetic.make_all(root)
    place = Place(root, synthetic.PUBLISHED)
    place.build()
    return place


@pytest.fixture(scope="session")
def battered_sequences(tmp_path_factory: pytest.TempPathFactory, synthetic: ModuleType) -> Place:
    """A report on speech and text from which much is missing."""
    root = tmp_path_factory.mktemp("battered_sequences")
    synthetic.make_all(root)
    synthetic.batter_all(root)
    place = Place(root, root / "published")
    place.build()
    return place
