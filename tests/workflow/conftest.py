"""A copy of the project whose `python -m data2vec` is a stand-in, and a way to run Snakemake in it.

Everything under test is the real thing (rules, configuration, planning, the wrapper around commands); only
the training is replaced, so that whole workflows run in seconds.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIGHT_MODULES = (
    "__init__",
    "errors",
    "settings",
    "scales",
    "planning",
    "targets",
    "papers",
    "fingerprint",
    "machine",
    "job",
)
LIGHT_MODULES += ("groups", "jobs", "flops", "sizes", "costs")
ENTRY_MODULES = (
    "compose",
    "plan",
    "data.prepare",
    "training.pretrain",
    "downstream.probe",
    "downstream.finetune",
    "reporting.report",
    "reporting.papers",
    "interop.importing",
    "interop.huggingface",
)
COPIED = ("workflow", "config", "slurm", "environment.yml", "requirements.txt")


@dataclass
class Project:
    """A project folder and Snakemake in it."""

    path: Path

    def environment(self, **variables: str) -> dict[str, str]:
        """A plain environment with this interpreter's folder first on PATH."""
        path = os.pathsep.join([variables.pop("PATH", ""), str(Path(sys.executable).parent), os.environ["PATH"]])
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "SNAKEMAKE", "CUDA", "PYTHON"))}
        home = {"HOME": str(self.path.parent), "XDG_CACHE_HOME": str(self.path.parent / "cache")}
        return {**inherited, **home, "PATH": path.lstrip(os.pathsep), **variables}

    def snakemake(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run Snakemake to its end; standard error is part of stdout."""
        return subprocess.run(
            [sys.executable, "-m", "snakemake", *words],
            cwd=self.path,
            env=self.environment(**variables),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=120,
        )

    def start(self, *words: str, **variables: str) -> subprocess.Popen[str]:
        """Start Snakemake and go on."""
        with (self.path / "snakemake.out").open("a") as out:
            return subprocess.Popen(
                [sys.executable, "-m", "snakemake", *words],
                cwd=self.path,
                env=self.environment(**variables),
                text=True,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def commands(self) -> list[str]:
        """Commands that the stand-in was given so far, in order."""
        file = self.path / "commands.txt"
        return file.read_text().splitlines() if file.exists() else []

    def forget_commands(self) -> None:
        """Start a new list of commands."""
        (self.path / "commands.txt").unlink(missing_ok=True)


def make_project(path: Path) -> Project:
    """Copy the project to `path`, with a stand-in for the training code."""
    path.mkdir(parents=True)
    for name in COPIED:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, path / name)
    package = path / "src" / "data2vec"
    package.mkdir(parents=True)
    for name in LIGHT_MODULES:
        shutil.copy(ROOT / "src" / "data2vec" / f"{name}.py", package)
    for name in ENTRY_MODULES:
        module = package.joinpath(*name.split(".")).with_suffix(".py")
        module.parent.mkdir(exist_ok=True)
        (module.parent / "__init__.py").touch()
        module.write_text(f'"""Stand-in for {name}."""\n\nSTEPS = 1\n')
    shutil.copy(Path(__file__).with_name("stub_main.py"), package / "__main__.py")
    return Project(path)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A fresh copy of the project."""
    return make_project(tmp_path / "project")


@pytest.fixture(scope="module")
def shared_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy for tests that only look (dry runs)."""
    return make_project(tmp_path_factory.mktemp("shared") / "project")
