"""What the workflow must know about the machine it runs on: graphics cards, CPU threads, a forgotten lock.

Snakemake counts GPUs but does not say which card a job gets, and its directory lock outlives a `kill -9`.
Standard library only: Snakemake's own process uses this module.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from data2vec.errors import UserError


def visible_gpus(environment: Mapping[str, str] = os.environ) -> list[str]:
    """NVIDIA cards that this process may use: CUDA_VISIBLE_DEVICES, else what nvidia-smi lists."""
    listed = environment.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        return [name.strip() for name in listed.split(",") if name.strip() not in ("", "-1", "NoDevFiles")]
    if shutil.which("nvidia-smi", path=environment.get("PATH")) is None:
        return []
    try:
        lines = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    cards = [line for line in lines.splitlines() if line.startswith("GPU ")]  # MIG slices are indented
    return [line.partition("(UUID: ")[2].rstrip(") ") or str(i) for i, line in enumerate(cards)]


def has_gpu_driver() -> bool:
    """Whether an NVIDIA or AMD driver is loaded here, or NVIDIA's tool is installed."""
    loaded = any(Path(path).exists() for path in ("/proc/driver/nvidia/version", "/dev/kfd"))
    return loaded or shutil.which("nvidia-smi") is not None


def job_threads(asked: int, gpus: int, visible: int, cores: int | None) -> int:
    """CPU threads of a job.

    A run meant for a GPU that finds none takes all cores, so that such runs go one after another; beside GPUs
    it takes no more than its share, so that cores never keep a card waiting. `cores` is None on a cluster:
    then as asked.
    """
    if cores is None or gpus == 0:
        return asked
    if visible == 0:
        return cores
    return max(1, min(asked, cores * min(gpus, visible) // visible))


def claim_gpus(
    count: int, cards: list[str], lock_dir: Path | None = None, say: Callable[[str], None] = lambda line: None
) -> tuple[list[str], list[IO[str]]]:
    """`count` of `cards` that no other job on this machine holds, and the open lock files that hold them.

    Waits while they are taken. The locks end with the process, however it ends.
    """
    lock_dir = lock_dir or Path(tempfile.gettempdir()) / f"data2vec-gpus-{os.getuid()}"
    lock_dir.mkdir(parents=True, exist_ok=True)
    count = min(count, len(cards))
    said = False
    while True:
        held: list[tuple[str, IO[str]]] = []
        for card in cards:
            if len(held) < count and (lock := _try_lock(lock_dir / f"{card.replace('/', '_')}.lock")):
                held.append((card, lock))
        if len(held) == count:
            return [card for card, _ in held], [lock for _, lock in held]
        for _, lock in held:  # all or nothing: two jobs that each hold half would wait for ever
            lock.close()
        if not said:
            say(f"waiting for {count} of the cards {', '.join(cards)}: other jobs hold them")
            said = True
        time.sleep(1)


def clear_stale_lock(snakemake_dir: Path) -> IO[str] | None:
    """Remove the directory lock of a Snakemake that was killed; keep it if another one is alive.

    Every Snakemake of this project holds an operating-system lock for as long as it lives, which no kill can
    leave behind. Returns that lock, to be kept open, or None if another process has it.

    Raises:
        UserError: if the folder cannot be written.
    """
    try:
        snakemake_dir.mkdir(exist_ok=True)
        (snakemake_dir / "alive.lock").touch()
    except OSError as error:
        raise UserError(f"{snakemake_dir.resolve()}: cannot be written: {error.strerror}") from None
    lock = _try_lock(snakemake_dir / "alive.lock")
    if lock is not None:
        for path in (snakemake_dir / "locks").glob("*.lock"):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
    return lock


def _try_lock(path: Path) -> IO[str] | None:
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file
