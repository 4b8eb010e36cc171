"""One training on two nodes of a real Slurm, on CPUs by gloo, equals the same training in one process.

Run by `bash tests/slurm/run`.
"""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from data2vec.cli import main

HERE = Path(__file__).parent
pytestmark = [pytest.mark.slurm, pytest.mark.slow]


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if "slurm" not in request.config.getoption("markexpr"):
        pytest.skip("starts a Slurm of its own: bash tests/slurm/run")
    spec = importlib.util.spec_from_file_location("slurm_cluster", HERE / "cluster.py")
    assert spec and spec.loader
    slurm = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(slurm)
    if missing := slurm.missing_programs():
        pytest.skip(f"needs {', '.join(missing)} (Debian: apt-get install slurm-wlm munge)")
    started = slurm.Cluster(tmp_path_factory.mktemp("slurm") / "cluster")
    yield started
    started.stop()


def test_two_nodes_train_as_one_process(cluster: Any, tiny: dict[str, str], tmp_path: Path) -> None:
    """A step within a step, as Snakemake's plugin starts a rule: sbatch, srun, the rule's job, srun on every node."""
    options = [f"{key}={value}" for key, value in (tiny | {"train.micro_batch": "4"}).items()]
    job = ["-m", "data2vec.job", "--log", str(tmp_path / "log"), "--"]
    command = ["python", "-m", "data2vec", "pretrain", *options, f"run_dir={tmp_path / 'two'}"]
    script = tmp_path / "job.sh"
    environment = cluster.environment() | {"PYTHONPATH": str(HERE.parents[1] / "src"), "OMP_NUM_THREADS": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    script.write_text("#!/bin/sh\nsrun -n1 -N1 --cpu-bind=q " + " ".join([sys.executable, *job, *command]) + "\n")
    words = ["sbatch", "--wait", "--nodes=2", "--cpus-per-task=1", f"--output={tmp_path / 'out'}", str(script)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=240)
    log = (tmp_path / "log").read_text() if (tmp_path / "log").exists() else ""
    assert done.returncode == 0, done.stderr + log + cluster.messages()
    assert "batch: 4 samples per GPU x 2 GPUs x accumulation 1 = 8" in log
    assert main(["pretrain", *options, f"run_dir={tmp_path / 'one'}"]) == 0
    one, two = (load_file(tmp_path / run / "checkpoint" / "model.safetensors") for run in ("one", "two"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=1e-5)
    assert json.loads((tmp_path / "two" / "provenance.json").read_text())["processes"] == 2
