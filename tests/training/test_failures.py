"""Disks that fill up, read-only folders, killed loader processes, signals to a whole job, a clock that goes back.

Nothing that was complete is lost, one line names the cause, and the same command then ends with the same bits.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file

from data2vec.cli import main

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src"), "OMP_NUM_THREADS": "1"}
Options = dict[str, str]


@pytest.fixture
def options(tiny: Options) -> Options:
    """A run of seconds that saves its state every second."""
    long = {"train.updates": "150", "train.checkpoint_seconds": "1", "mask.clones": "8", "train.log_every": "1"}
    return tiny | long | {"train.workers": "1"}


@pytest.fixture(scope="module")
def known() -> dict[str, bytes]:
    return {}


@pytest.fixture
def expected(options: Options, known: dict[str, bytes], tmp_path: Path) -> bytes:
    """Weights of that run when nothing happens to it."""
    if not known:
        assert main(command(tmp_path / "whole", options)) == 0
        known["weights"] = weights(tmp_path / "whole")
    return known["weights"]


def command(run_dir: Path, options: Options) -> list[str]:
    return ["pretrain", *(f"{k}={v}" for k, v in options.items()), f"run_dir={run_dir}"]


def start(run_dir: Path, options: Options, log: Path | None = None) -> subprocess.Popen[str]:
    """Start a run and wait until it has saved its state once; it writes to a log beside its folder, or to `log`."""
    words = [sys.executable, "-m", "data2vec", *command(run_dir, options)]
    log = log or run_dir.parent / "messages"
    with log.open("w") as out:
        process = subprocess.Popen(words, env=ENVIRONMENT, stdout=out, stderr=out, text=True, start_new_session=True)
    deadline = time.monotonic() + 60
    while not (run_dir / "checkpoint" / "state.pt").exists():
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)
    return process


def messages(run_dir: Path) -> str:
    return (run_dir.parent / "messages").read_text()


def finish(run_dir: Path, options: Options, caplog: pytest.LogCaptureFixture) -> bytes:
    """The same command again, which must continue; returns the weights."""
    with caplog.at_level("INFO"):
        assert main(command(run_dir, options)) == 0
    assert "resuming after update" in caplog.text
    return weights(run_dir)


def weights(run_dir: Path) -> bytes:
    tensors = load_file(run_dir / "checkpoint" / "model.safetensors")
    return b"".join(tensors[name].numpy().tobytes() for name in sorted(tensors))


def loader_process(pid: int) -> int:
    """The process that makes batches: a copy of the one that trains."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    (worker,) = [
        c for c in children if Path(f"/proc/{c}/cmdline").read_bytes() == Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    return int(worker)


def mount(folder: Path, *words: str) -> None:
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *words, str(folder)], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    folder = tmp_path / "disk"
    mount(folder, "-t", "tmpfs", "-o", "size=8m", "tmpfs")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("log_elsewhere", [True, False])
def test_a_full_disk_stops_the_run_in_one_line_and_keeps_the_last_state(
    options: Options,
    expected: bytes,
    small_disk: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    log_elsewhere: bool,
) -> None:
    run_dir = small_disk / "run"
    log = tmp_path / "messages" if log_elsewhere else None
    process = start(run_dir, options, log)
    with pytest.raises(OSError, match="No space left"), (small_disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))
    assert process.wait(timeout=60) == 2, (log or small_disk / "messages").read_text()
    (small_disk / "filler").unlink()
    if log:  # one on the full disk may end anywhere
        last = log.read_text().splitlines()[-1]
        assert "No space left on device" in last and last.startswith("error: "), log.read_text()
        assert "Traceback" not in log.read_text()  # of TensorBoard's thread
    assert finish(run_dir, options, caplog) == expected


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_to_every_process_of_a_job_saves_the_state(
    number: signal.Signals, options: Options, expected: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As Slurm sends it; loader processes must not die before the state is saved."""
    process = start(tmp_path / "run", options)
    os.killpg(process.pid, number)
    assert process.wait(timeout=60) == 143
    assert f"stopped by signal {number.name}" in messages(tmp_path / "run")
    assert "Traceback" not in messages(tmp_path / "run")
    assert finish(tmp_path / "run", options, caplog) == expected


@pytest.mark.slow
def test_a_killed_loader_process_is_named_and_the_run_continues(
    options: Options, expected: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    process = start(tmp_path / "run", options)
    os.kill(loader_process(process.pid), signal.SIGKILL)
    assert process.wait(timeout=60) == 2
    said = messages(tmp_path / "run")
    assert "Traceback" not in said and said.splitlines()[-1].startswith("error: DataLoader worker"), said
    assert "train.workers" in said
    assert finish(tmp_path / "run", options, caplog) == expected


def test_a_read_only_folder_is_named(tiny: Options, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "results"
    mount(folder, "-t", "tmpfs", "-o", "ro", "tmpfs")
    try:
        assert main(command(folder / "run", tiny)) == 2
    finally:
        subprocess.run(["umount", str(folder)], check=True)
    assert f"{folder / 'run'}: cannot be used as run folder: Read-only file system" in capsys.readouterr().err


def test_a_state_that_was_cut_short_is_named_and_the_run_can_start_again(
    tiny: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from data2vec.methods.data2vec2 import Data2Vec2

    assert main(command(tmp_path / "whole", tiny)) == 0
    state = tmp_path / "run" / "checkpoint" / "state.pt"
    with monkeypatch.context() as patch:
        patch.setattr(Data2Vec2, "update_teacher", lambda self, decay: os.kill(os.getpid(), signal.SIGTERM))
        assert main(command(tmp_path / "run", tiny)) == 143
    os.truncate(state, state.stat().st_size // 2)
    assert main(command(tmp_path / "run", tiny)) == 2
    assert f"{state}: damaged training state" in capsys.readouterr().err
    state.unlink()
    assert main(command(tmp_path / "run", tiny)) == 0
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


def test_a_clock_that_goes_back_changes_nothing(tiny: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(command(tmp_path / "whole", tiny)) == 0
    now = [2e9]

    def an_hour_earlier_each_time() -> float:
        now[0] -= 3600
        return now[0]

    with monkeypatch.context() as patch:
        patch.setattr(time, "time", an_hour_earlier_each_time)
        assert main(command(tmp_path / "run", tiny)) == 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    seconds = [row["seconds"] for row in rows]
    assert now[0] < 2e9 and seconds == sorted(seconds) and seconds[0] >= 0
    assert all(row["examples_per_second"] > 0 for row in rows)
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
