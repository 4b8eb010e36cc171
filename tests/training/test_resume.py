"""A run that is killed and started again ends with the same bits as one that ran through."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from data2vec.cli import main


def command(run_dir: Path, options: dict[str, str], name: str = "pretrain") -> list[str]:
    return [name, *(f"{k}={v}" for k, v in options.items()), f"run_dir={run_dir}"]


def weights(run_dir: Path) -> bytes:
    """The checkpoint without its header, which holds the data folder's path."""
    tensors = load_file(run_dir / "checkpoint" / "model.safetensors")
    return b"".join(tensors[name].numpy().tobytes() for name in sorted(tensors))


def log_without_times(run_dir: Path) -> list[dict]:
    drop = ("seconds", "examples_per_second")
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in drop} for line in lines]


@pytest.mark.parametrize("method", ["data2vec", "data2vec2", "mae", "dino"])
def test_stopping_at_every_update_changes_nothing(
    method: str, tiny: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM after each update; the state is saved, the same command goes on, the bits are those of one run."""
    options = tiny | {"method": method, "model.dropout": "0.1", "train.micro_batch": "4", "views.local_patches": "1"}
    assert main(command(tmp_path / "whole", options)) == 0
    from data2vec.methods.data2vec import Data2Vec
    from data2vec.methods.data2vec2 import Data2Vec2
    from data2vec.methods.dino import DINO
    from data2vec.methods.mae import MAE

    kind = {"data2vec": Data2Vec, "data2vec2": Data2Vec2, "mae": MAE, "dino": DINO}[method]
    update_teacher = kind.update_teacher

    def stop_after(self: object, decay: float) -> None:
        update_teacher(self, decay)  # type: ignore[arg-type]
        os.kill(os.getpid(), signal.SIGUSR1)

    monkeypatch.setattr(kind, "update_teacher", stop_after)
    codes = [main(command(tmp_path / "parts", options)) for _ in range(6)]
    assert codes == [143] * 5 + [0]
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    assert log_without_times(tmp_path / "parts") == log_without_times(tmp_path / "whole")
    assert not (tmp_path / "parts" / "checkpoint" / "state.pt").exists()


@pytest.mark.slow
def test_kill_9_at_random_moments_changes_nothing(tiny: dict[str, str], tmp_path: Path) -> None:
    """Five times `kill -9` somewhere in the run, then the same command: final weights bit for bit."""
    options = tiny | {"train.updates": "300", "train.checkpoint_seconds": "1", "mask.clones": "8", "train.workers": "1"}
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src"), "OMP_NUM_THREADS": "1"}
    assert main(command(tmp_path / "whole", options)) == 0
    words = [sys.executable, "-m", "data2vec", *command(tmp_path / "killed", options)]
    state = tmp_path / "killed" / "checkpoint" / "state.pt"
    resumed = 0
    for i in range(5):
        process = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)
        log = tmp_path / "killed" / "metrics.jsonl"
        lines = len(log.read_text().splitlines()) if log.exists() else 0
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:  # let it get somewhere first
            if log.exists() and len(log.read_text().splitlines()) > lines + 3 * i:
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        _, messages = process.communicate()
        resumed += "resuming after update" in messages
        if not state.exists() and i > 2:
            break
    finished = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
    assert [r["update"] for r in log_without_times(tmp_path / "killed")] == [
        r["update"] for r in log_without_times(tmp_path / "whole")
    ]


def test_same_seed_gives_the_same_bits_and_another_seed_others(tiny: dict[str, str], tmp_path: Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert main(command(tmp_path / name, tiny | {"seed": seed, "train.updates": "2"})) == 0
    assert weights(tmp_path / "a") == weights(tmp_path / "b") != weights(tmp_path / "c")


def test_workers_change_nothing(tiny: dict[str, str], tmp_path: Path) -> None:
    for name, workers in (("a", "0"), ("b", "1")):
        assert main(command(tmp_path / name, tiny | {"train.workers": workers, "train.updates": "3"})) == 0
    assert weights(tmp_path / "a") == weights(tmp_path / "b")


def test_a_complete_run_is_not_repeated_and_another_configuration_starts_anew(
    tiny: dict[str, str], tmp_path: Path
) -> None:
    options = tiny | {"train.updates": "2"}
    assert main(command(tmp_path / "run", options)) == 0
    before, written = weights(tmp_path / "run"), (tmp_path / "run" / "provenance.json").stat().st_mtime_ns
    assert main(command(tmp_path / "run", options)) == 0
    assert (tmp_path / "run" / "provenance.json").stat().st_mtime_ns == written
    assert main(command(tmp_path / "run", options | {"optim.lr": "0.01"})) == 0
    assert weights(tmp_path / "run") != before


def test_damaged_state_is_named(tiny: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = tmp_path / "run" / "checkpoint" / "state.pt"
    state.parent.mkdir(parents=True)
    state.write_bytes(b"PK\x03\x04 cut short")
    assert main(command(tmp_path / "run", tiny)) == 2
    assert "damaged training state" in capsys.readouterr().err and state.exists()


def test_two_processes_cannot_work_on_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from data2vec.errors import UserError
    from data2vec.training import run_folder
    from data2vec.training.run_folder import RunFolder

    monkeypatch.setattr(run_folder, "LOCK_SECONDS", 0.3)

    with RunFolder(tmp_path / "run"), pytest.raises(UserError, match="another process"):
        RunFolder(tmp_path / "run")
    with RunFolder(tmp_path / "run"):
        pass  # free again


def test_non_finite_steps_are_skipped_and_then_stop_the_run(
    tiny: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from data2vec.methods import data2vec2

    scale = data2vec2.loss_scale
    calls = []

    def sometimes_nan(*arguments: object) -> float:
        calls.append(1)
        return float("nan") if len(calls) in bad else scale(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(data2vec2, "loss_scale", sometimes_nan)
    bad = {2}
    assert main(command(tmp_path / "once", tiny)) == 0
    assert log_without_times(tmp_path / "once")[-1]["skipped_steps"] == 1
    bad, calls[:] = set(range(100)), []
    assert main(command(tmp_path / "always", tiny | {"train.max_bad_steps": "3"})) == 2
    assert "non-finite gradients in a row" in capsys.readouterr().err


def test_accumulation_keeps_the_global_batch(tiny: dict[str, str], tmp_path: Path) -> None:
    """Two micro-batches of 4 give the update of one batch of 8 (same images, other masks: compare sample counts)."""
    options = tiny | {"train.updates": "2", "train.log_every": "1"}
    assert main(command(tmp_path / "whole", options)) == 0
    assert main(command(tmp_path / "halves", options | {"train.micro_batch": "4"})) == 0
    whole, halves = (log_without_times(tmp_path / name) for name in ("whole", "halves"))
    assert [r["samples"] for r in whole] == [r["samples"] for r in halves] == [8, 16]
    assert halves[0]["loss_regression"] == pytest.approx(whole[0]["loss_regression"], rel=0.2)


@pytest.mark.parametrize("method", ["data2vec", "data2vec2"])
def test_teacher_moves_once_for_each_update_however_many_micro_batches(
    method: str, tiny: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As released, 1.0 moves its teacher with every micro-batch: fewer cards would mean another teacher."""
    from data2vec.methods.data2vec import Data2Vec
    from data2vec.methods.data2vec2 import Data2Vec2

    kind = {"data2vec": Data2Vec, "data2vec2": Data2Vec2}[method]
    update_teacher, decays = kind.update_teacher, []

    def count(self: object, decay: float) -> None:
        decays.append(decay)
        update_teacher(self, decay)  # type: ignore[arg-type]

    monkeypatch.setattr(kind, "update_teacher", count)
    assert main(command(tmp_path / "run", tiny | {"method": method, "train.micro_batch": "2"})) == 0
    # the teacher update after n updates has the decay of n: from 0.9 to 0.99 in 4 updates
    assert decays == pytest.approx([0.9225, 0.945, 0.9675, 0.99, 0.99, 0.99])
