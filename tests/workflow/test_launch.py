"""Training commands of the workflow in several processes: what starts them, and how they end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from data2vec.job import spread

TRAIN = ["python", "-m", "data2vec", "pretrain", "seed=1"]
ENDLESS = {"train.updates": "100000", "train.log_every": "1", "train.workers": "1"}
SLURM = {"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "64"}


@pytest.mark.parametrize("cards", ["", "3", None])
def test_one_card_needs_no_launcher(cards: str | None) -> None:
    assert spread(TRAIN, {} if cards is None else {"CUDA_VISIBLE_DEVICES": cards}) == TRAIN


def test_a_process_for_each_card_of_training_commands_only() -> None:
    four = {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}
    launched = "python -m data2vec.launch --nproc-per-node 4 --standalone -- pretrain seed=1"
    assert " ".join(spread(TRAIN, four)) == launched
    evaluate = ["python", "-m", "data2vec", "evaluate", "run_dir=a"]
    assert spread(evaluate, four) == evaluate
    assert spread(["echo", "pretrain"], four) == ["echo", "pretrain"]


def test_a_launcher_on_every_node_of_a_slurm_job() -> None:
    words = " ".join(spread(TRAIN, SLURM | {"CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7"}))
    assert words.startswith("srun --overlap --kill-on-bad-exit=1 --nodes 2 --ntasks 2 --cpus-per-task 64 python -m ")
    assert "--nproc-per-node 8 --nnodes 2 --rdzv-backend c10d --rdzv-id 7 " in words
    assert ":20007 -- pretrain seed=1" in words
    assert "--nproc-per-node 1 " in " ".join(spread(TRAIN, SLURM))  # nodes without cards


def start(folder: Path, tiny: dict[str, str]) -> subprocess.Popen[bytes]:
    """The job of a rule that got two cards; torch finds none and computes on the CPU."""
    words = ["--log", str(folder / "log"), "--gpus", "2", "--", "python", "-m", "data2vec", "pretrain"]
    options = tiny | ENDLESS | {"run_dir": str(folder / "run")}
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "0,1", "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    return subprocess.Popen(
        [sys.executable, "-m", "data2vec.job", *words, *(f"{k}={v}" for k, v in options.items())],
        env=environment | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def children(process: int) -> list[int]:
    return [int(word) for f in Path(f"/proc/{process}/task").glob("*/children") for word in f.read_text().split()]


@pytest.mark.slow
def test_a_signal_saves_and_a_killed_launcher_leaves_nothing(tiny: dict[str, str], tmp_path: Path) -> None:
    log, state = tmp_path / "run" / "metrics.jsonl", tmp_path / "run" / "checkpoint" / "state.pt"
    job = start(tmp_path, tiny)
    wait_until(log.exists)
    job.send_signal(signal.SIGTERM)
    assert job.wait(timeout=60) == 143, (tmp_path / "log").read_text()
    assert state.exists() and "batch: 4 samples per GPU x 2 GPUs" in (tmp_path / "log").read_text()
    log.unlink()
    job = start(tmp_path, tiny)
    wait_until(log.exists)
    assert "resuming after update" in (tmp_path / "log").read_text()
    (launcher,) = children(job.pid)
    processes = children(launcher)
    assert len(processes) >= 2
    os.kill(launcher, signal.SIGKILL)
    assert job.wait(timeout=60) != 0
    wait_until(lambda: not any(Path(f"/proc/{process}").exists() for process in processes))
