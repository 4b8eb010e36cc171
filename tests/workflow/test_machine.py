"""Cards, threads and locks of the machine."""

import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from data2vec.machine import claim_gpus, clear_stale_lock, job_threads, visible_gpus


def fake_nvidia_smi(folder: Path, lines: str) -> None:
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\ncat <<'END'\n{lines}\nEND\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)


@pytest.mark.parametrize(
    "value, cards",
    [("", []), ("-1", []), ("NoDevFiles", []), ("0,2", ["0", "2"]), ("GPU-a, GPU-b", ["GPU-a", "GPU-b"])],
)
def test_cuda_visible_devices_decides(value: str, cards: list[str]) -> None:
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": value, "PATH": ""}) == cards


def test_else_nvidia_smi_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_nvidia_smi(
        tmp_path,
        "GPU 0: H200 (UUID: GPU-1a)\n  MIG 1g.10gb Device 0: (UUID: MIG-9)\nGPU 1: H200 (UUID: GPU-2b)",
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert visible_gpus({"PATH": str(tmp_path)}) == ["GPU-1a", "GPU-2b"]
    assert visible_gpus({"PATH": ""}) == []
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    assert visible_gpus({"PATH": str(tmp_path)}) == []


@pytest.mark.parametrize(
    "asked, gpus, visible, cores, threads",
    [
        (1, 0, 0, 2, 1),  # embedded: as many runs side by side as there are cores
        (8, 1, 0, 2, 2),  # a GPU run without a GPU takes all cores, so that runs go one after another
        (8, 1, 0, 64, 64),
        (8, 1, 4, 16, 4),  # beside four cards, a quarter of the cores: none of the cards waits
        (8, 1, 1, 64, 8),
        (64, 8, 1, 16, 16),  # eight cards asked, one there
        (8, 1, 4, 2, 1),
        (8, 1, 0, None, 8),  # a cluster: as asked
    ],
)
def test_threads_of_a_job(asked: int, gpus: int, visible: int, cores: int | None, threads: int) -> None:
    assert job_threads(asked, gpus, visible, cores) == threads


def test_two_jobs_never_share_a_card(tmp_path: Path) -> None:
    first, locks = claim_gpus(1, ["a", "b"], tmp_path)
    second, more_locks = claim_gpus(1, ["a", "b"], tmp_path)
    assert (first, second) == (["a"], ["b"])
    said: list[str] = []
    third: list = []
    waiting = threading.Thread(target=lambda: third.extend(claim_gpus(1, ["a", "b"], tmp_path, said.append)))
    waiting.start()
    time.sleep(0.3)
    assert waiting.is_alive() and "waiting for 1 of the cards a, b" in said[0]
    for lock in more_locks:
        lock.close()
    waiting.join(timeout=10)
    assert third[0] == ["b"]
    for lock in [*locks, *third[1]]:
        lock.close()


def test_a_request_is_cut_to_the_cards_there_are(tmp_path: Path) -> None:
    cards, locks = claim_gpus(8, ["a"], tmp_path)
    assert cards == ["a"]
    for lock in locks:
        lock.close()


def test_only_the_lock_of_a_dead_snakemake_is_removed(tmp_path: Path) -> None:
    lock_file = tmp_path / "locks" / "0.output.lock"
    lock_file.parent.mkdir()
    lock_file.write_text("results/x\n")
    holder = (
        "import sys, time; from pathlib import Path; from data2vec.machine import clear_stale_lock as c; "
        f"lock = c(Path({str(tmp_path)!r})); Path({str(lock_file)!r}).write_text('x'); "
        "print(1, flush=True); time.sleep(60)"
    )
    environment = {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    process = subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    process.stdout.readline()
    assert clear_stale_lock(tmp_path) is None and lock_file.exists()
    process.kill()
    process.wait()
    process.stdout.close()
    mine = clear_stale_lock(tmp_path)
    assert mine is not None and not lock_file.exists()
    mine.close()
