"""The wrapper around a rule's command: log, cards, states, and an end with Snakemake."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data2vec import job
from data2vec.job import give_gpus, identity, put_aside

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "src")}


def run_job(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "data2vec.job", *words],
        cwd=folder,
        env=ENVIRONMENT,
        text=True,
        capture_output=True,
    )


def test_a_failure_shows_the_end_of_its_log_and_keeps_the_exit_code(tmp_path: Path) -> None:
    code = "import sys; [print('line', i) for i in range(50)]; sys.exit('budget = -1 is not allowed')"
    done = run_job("--log", "a/b.log", "--", sys.executable, "-c", code, folder=tmp_path)
    assert done.returncode == 1
    shown = done.stderr.splitlines()
    assert "ended with exit code 1" in done.stderr and "a/b.log" in done.stderr
    assert shown[-1].strip() == "budget = -1 is not allowed" and len(shown) < 25
    log = (tmp_path / "a" / "b.log").read_text()
    assert log.startswith("# 20") and "line 0\n" in log  # date and command come first


def test_a_success_is_silent(tmp_path: Path) -> None:
    done = run_job("--log", "x.log", "--", "echo", "hello", folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "x.log").read_text().splitlines()[-1] == "hello"


def test_cards_are_hidden_from_jobs_that_asked_for_none() -> None:
    environment, locks = give_gpus(0, {"CUDA_VISIBLE_DEVICES": "0,1"})
    assert environment["CUDA_VISIBLE_DEVICES"] == "" and not locks
    slurm = {"CUDA_VISIBLE_DEVICES": "3", "SLURM_JOB_ID": "7"}
    assert give_gpus(2, slurm) == (slurm, [])
    assert give_gpus(1, {"PATH": ""}) == ({"PATH": ""}, [])


def test_parallel_jobs_get_different_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    two_cards = {"CUDA_VISIBLE_DEVICES": "4,5"}
    first, locks = give_gpus(1, two_cards)
    second, more_locks = give_gpus(1, two_cards)
    assert {first["CUDA_VISIBLE_DEVICES"], second["CUDA_VISIBLE_DEVICES"]} == {"4", "5"}
    for lock in [*locks, *more_locks]:
        lock.close()


def test_a_state_is_only_continued_under_the_same_code_and_inputs(tmp_path: Path) -> None:
    state, data = tmp_path / "state.pt", tmp_path / "data"
    data.write_text("data")
    mine = identity("v1", [data])
    assert not put_aside(state, mine)  # nothing there yet
    state.write_text("half way")
    assert not put_aside(state, mine) and state.exists()
    others = [identity("v2", [data])]
    data.write_text("other data")
    others.append(identity("v1", [data]))
    for other in others:
        assert put_aside(state, other) and not state.exists()
        assert (tmp_path / "state.pt.previous").read_text() == "half way"
        state.write_text("half way")


def test_a_second_command_waits_for_the_first(tmp_path: Path) -> None:
    code = "import pathlib, time; time.sleep(1); pathlib.Path('order').open('a').write('x')"
    words = ["-m", "data2vec.job", "--state", "run/state.pt"]
    first = subprocess.Popen(
        [sys.executable, *words, "--log", "1.log", "--", sys.executable, "-c", code],
        cwd=tmp_path,
        env=ENVIRONMENT,
    )
    assert wait_until(lambda: (tmp_path / "run" / "state.pt.identity").exists())
    second = run_job(*words[2:], "--log", "2.log", "--", "cat", "order", folder=tmp_path)
    assert second.returncode == 0 and "another process still trains on run/state.pt" in second.stderr
    assert (tmp_path / "2.log").read_text().splitlines()[-1] == "x"
    assert first.wait() == 0


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(holds, seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.05)
    return holds()


@pytest.mark.parametrize("victim", ["starter", "wrapper"])
def test_the_command_ends_when_what_started_it_is_killed(tmp_path: Path, victim: str) -> None:
    command = f"{sys.executable} -m data2vec.job --log x.log -- sh -c 'echo $$ >pid; exec sleep 60'"
    starter = subprocess.Popen(["sh", "-c", f"{command} & echo $! >wrapper; wait"], cwd=tmp_path, env=ENVIRONMENT)
    assert wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip() != "")
    pid = int((tmp_path / "pid").read_text())
    wrapper = int((tmp_path / "wrapper").read_text())
    os.kill(starter.pid if victim == "starter" else wrapper, signal.SIGKILL)
    assert wait_until(lambda: not is_alive(pid)) and wait_until(lambda: not is_alive(wrapper))
    starter.wait()


def test_a_slurm_job_without_its_cards_stops_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(job, "has_gpu_driver", lambda: False)
    node = {"SLURM_JOB_ID": "7", "SLURMD_NODENAME": "n1", "PATH": "/nowhere"}
    with pytest.raises(SystemExit) as stop:
        give_gpus(2, node)
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: the job asks for 2 GPU(s) and n1 shows none")
    assert give_gpus(0, node)[0] == node
    assert give_gpus(2, node | {"CUDA_VISIBLE_DEVICES": "0,1"})[1] == []
