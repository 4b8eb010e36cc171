"""Runs the command of one workflow rule: `python -m data2vec.job --log FILE --gpus N [...] -- COMMAND`.

Around the command: its output goes to the log, whose end is shown if it fails; it gets graphics cards of its
own (or none, if it asked for none); when Snakemake ends, even by `kill -9`, it is asked to save and leave, and killed
if it does not; SIGTERM and SIGUSR1 (Slurm: preemption, time limit) reach it; and a training state that
stems from other code or other input files is put aside instead of being continued (the trainer itself checks
the configuration). Standard library only.
"""

import argparse
import contextlib
import ctypes
import fcntl
import hashlib
import math
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO

from data2vec.machine import claim_gpus, has_gpu_driver, visible_gpus

SPREAD = ("pretrain", "finetune")
FIRST_PORT, PORTS = 20_000, 10_000
TAIL_LINES = 20
FULL_BYTES = 2**20
POLL_SECONDS = 0.2
LEAVE_SECONDS = 30.0  # to save the training state, once Snakemake is gone: as Slurm's default KillWait
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(words: Sequence[str]) -> int:
    """Exit code of the command."""
    parser = argparse.ArgumentParser(prog="python -m data2vec.job")
    parser.add_argument("--log", type=Path, required=True, help="file that takes the command's output")
    parser.add_argument("--gpus", type=int, default=0, help="cards of its own; 0 hides all cards from it")
    parser.add_argument("--state", type=Path, help="resumable training state of the command")
    parser.add_argument("--code", default="", help="fingerprint of the code behind the command")
    parser.add_argument("--inputs", type=Path, nargs="*", default=[], help="files that the state depends on")
    parser.add_argument("command", nargs="+", help="after --: the command and its arguments")
    asked = parser.parse_args(words)
    try:
        return _logged(asked)
    except OSError as error:
        _say(f"error: the job cannot start: {error}")
        return 2


def _logged(asked: argparse.Namespace) -> int:
    """Exit code of the command, whose log is open before anything else happens."""
    asked.log.parent.mkdir(parents=True, exist_ok=True)
    with asked.log.open("w", encoding="utf-8") as log, contextlib.ExitStack() as held:
        _note(log, f"{time.strftime('%Y-%m-%d %H:%M:%S')} {shlex.join(asked.command)}")
        inherited = [held.enter_context(_only_one(asked.state))] if asked.state else []
        if asked.state and put_aside(asked.state, identity(asked.code, asked.inputs)):
            _note(
                log,
                "code or input files changed: the earlier training state is put aside, a new run starts",
            )
        environment, locks = give_gpus(asked.gpus, os.environ)
        for lock in locks:
            held.enter_context(lock)
        command = spread(asked.command, environment)
        if command != asked.command:
            _note(log, shlex.join(command))
        code = _run(command, environment, log, [lock.fileno() for lock in inherited])
    if code != 0:
        _show_tail(asked.log, code)
    return code


def identity(code: str, inputs: Sequence[Path]) -> str:
    """Hash of what a training state depends on besides its configuration."""
    digest = hashlib.sha256(code.encode())
    for path in inputs:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def put_aside(state: Path, identity: str) -> bool:
    """Rename a state that belongs to another identity to `*.previous`; note the identity of what follows."""
    note = state.with_name(state.name + ".identity")
    is_other = state.exists() and (not note.exists() or note.read_text() != identity)
    if is_other:
        state.replace(state.with_name(state.name + ".previous"))
    partial = note.with_name(note.name + ".partial")
    partial.write_text(identity)
    partial.replace(note)
    return is_other


def give_gpus(count: int, environment: os._Environ[str] | dict[str, str]) -> tuple[dict[str, str], list[IO[str]]]:
    """The environment in which a command sees `count` cards that are its own, and the locks that hold them.

    Slurm hands out cards itself, so inside a Slurm job nothing changes; one that was promised cards and finds none
    ends with exit code 2. Cards that cannot be told apart (no nvidia-smi) are left as they are.
    """
    changed = dict(environment)
    locks: list[IO[str]] = []
    if "SLURM_JOB_ID" in changed:
        if count > 0 and not visible_gpus(changed) and not has_gpu_driver():
            node = changed.get("SLURMD_NODENAME", "this node")
            _say(
                f"error: the job asks for {count} GPU(s) and {node} shows none: check partition and GPU words of slurm/"
            )
            raise SystemExit(2)
        return changed, locks
    cards = visible_gpus(changed)
    if count == 0:
        changed["CUDA_VISIBLE_DEVICES"] = ""
    elif cards:
        mine, locks = claim_gpus(count, cards, say=_say)
        changed |= {"CUDA_VISIBLE_DEVICES": ",".join(mine), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    return changed, locks


def spread(command: list[str], environment: Mapping[str, str]) -> list[str]:
    """A training command as torchrun starts it: one process for each of its cards, on every node of its Slurm job.

    With one card and one node, and for other commands, it is as it was. Nodes without cards get one process each.
    """
    cards = [card for card in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if card]
    nodes = int(environment.get("SLURM_JOB_NUM_NODES", "1"))
    if command[:3] != ["python", "-m", "data2vec"] or command[3] not in SPREAD or max(nodes, len(cards)) <= 1:
        return command
    launch = ["python", "-m", "data2vec.launch", "--nproc-per-node", str(max(1, len(cards)))]
    if nodes == 1:
        return [*launch, "--standalone", "--", *command[3:]]
    # This runs on the first node; all processes meet there. The job's number chooses the port, as other jobs may
    # share the node. --overlap: Snakemake's own step holds the whole job.
    job = environment["SLURM_JOB_ID"]
    meeting = ["--rdzv-backend", "c10d", "--rdzv-id", job, "--rdzv-endpoint"]
    meeting.append(f"{socket.gethostname()}:{FIRST_PORT + int(job) % PORTS}")
    threads = ["--cpus-per-task", environment["SLURM_CPUS_PER_TASK"]] if "SLURM_CPUS_PER_TASK" in environment else []
    step = ["srun", "--overlap", "--kill-on-bad-exit=1", "--nodes", str(nodes), "--ntasks", str(nodes), *threads]
    return [*step, *launch, "--nnodes", str(nodes), *meeting, "--", *command[3:]]


def _only_one(state: Path) -> IO[str]:
    """A lock beside a training state, inherited by the command: a second one waits while a first lives."""
    state.parent.mkdir(parents=True, exist_ok=True)
    lock = state.with_name(state.name + ".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _say(f"waiting: another process still trains on {state}")
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError:
        _say(f"{state.parent} has no file locks: make sure that only one process trains there")
    return lock


def _run(command: list[str], environment: dict[str, str], log: IO[str], inherited: list[int]) -> int:
    """Run a command to its end, or to the end of the process that started this one."""
    parent = os.getppid()
    child = subprocess.Popen(
        command, env=environment, stdout=log, stderr=log, pass_fds=inherited, preexec_fn=_die_with_parent
    )

    def forward(number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(number)

    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGUSR1, forward)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the command itself
    orphaned_at = math.inf
    while True:
        try:
            code = child.wait(timeout=POLL_SECONDS)
            return 128 - code if code < 0 else code
        except subprocess.TimeoutExpired:
            # Snakemake was killed; what it starts next must find nothing running, or waits for the lock of the state
            if orphaned_at == math.inf and os.getppid() != parent:
                orphaned_at = time.monotonic()
                child.terminate()
            elif time.monotonic() - orphaned_at > LEAVE_SECONDS:
                child.kill()


def _die_with_parent() -> None:
    """Let the kernel kill the command if this process is killed (Linux; elsewhere nothing happens)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _show_tail(log: Path, code: int) -> None:
    """Print the end of a log."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    tail = "\n".join(f"    {line}" for line in lines[-TAIL_LINES:])
    _say(f"\nThe command ended with exit code {code}. End of its log, {log}:\n{tail}")
    if shutil.disk_usage(log.parent).free < FULL_BYTES:  # then the log may lack its last lines
        _say(f"The disk that holds {log.parent} is full: make room and run again; training continues")


def _note(log: IO[str], line: str) -> None:
    log.write(f"# {line}\n")
    log.flush()


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
