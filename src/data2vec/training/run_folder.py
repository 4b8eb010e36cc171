"""One run, one folder: configuration, provenance, metrics and checkpoint, written so that a kill loses nothing."""

import datetime
import fcntl
import importlib.metadata
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any, Self

import torch

from data2vec.errors import UserError

# Loader processes of a run that was killed hold its lock until they notice, which takes torch 5 seconds.
LOCK_SECONDS = 15.0
PACKAGES = ("torch", "torchvision", "torchaudio", "timm", "numpy", "scikit-learn", "snakemake")


def write_atomic(path: Path, content: str | bytes | memoryview) -> None:
    """Write a file so that a reader sees the old content or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot be written: {error.strerror}; what was there is unchanged") from None


class RunFolder:
    """A run's folder, locked while a process works in it."""

    def __init__(self, path: Path, is_writer: bool = True) -> None:
        """Of several processes that train together only one `is_writer`, and locks the folder for all."""
        self.path = path
        self.checkpoint = path / "checkpoint"
        self.model = self.checkpoint / "model.safetensors"
        self.state = self.checkpoint / "state.pt"
        self.log = path / "metrics.jsonl"
        self.started = _now()
        self._lock: IO[str] | None = None
        if not is_writer:
            return
        try:
            self.checkpoint.mkdir(parents=True, exist_ok=True)
            self._lock = (path / ".lock").open("w")
        except OSError as error:
            raise UserError(f"{path}: cannot be used as run folder: {error.strerror}") from None
        if not _lock(self._lock, LOCK_SECONDS):
            self._lock.close()
            raise UserError(f"{path}: another process is working on this run; wait for it or stop it")

    def __enter__(self) -> Self:
        """Locked since its creation."""
        return self

    def __exit__(self, *error: object) -> None:
        """Release the lock."""
        if self._lock is not None:
            self._lock.close()

    def clear_leftovers(self) -> None:
        """Remove temporary files of killed writers."""
        for folder in (self.path, self.checkpoint):
            for file in folder.glob(".*.[0-9]*"):
                file.unlink(missing_ok=True)

    def truncate_log(self, update: int) -> None:
        """Drop log lines after `update`, which a resumed run will write again."""
        if not self.log.exists():
            return
        kept = []
        for line in self.log.read_text().splitlines():
            try:
                if json.loads(line)["update"] <= update:
                    kept.append(line + "\n")
            except (ValueError, KeyError):  # the last line of a killed process may be cut
                continue
        write_atomic(self.log, "".join(kept))

    def append_log(self, record: dict[str, Any]) -> None:
        """Add one line to metrics.jsonl."""
        with self.log.open("a") as file:
            file.write(json.dumps(record) + "\n")

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write one of the folder's JSON files."""
        write_atomic(self.path / name, json.dumps(content, indent=1) + "\n")

    def provenance(self, device_name: str, device: torch.device, **facts: Any) -> dict[str, Any]:
        """What produced this run: code, packages, machine, command, and `facts` such as the seed."""
        commit, dirty = git_commit()
        return {
            "commit": commit,
            "dirty": dirty,
            "python": platform.python_version(),
            "packages": {p: importlib.metadata.version(p) for p in PACKAGES if _installed(p)},
            "hardware": {
                "device": str(device),
                "name": device_name,
                "cores": len(os.sched_getaffinity(0)),
                "gpus": torch.cuda.device_count(),
            },
            "command": "python -m data2vec " + " ".join(sys.argv[1:]),
            "started": self.started,
            "finished": _now(),
            "peak_memory_bytes": peak_memory(device),
            **facts,
        }


def _lock(file: IO[str], seconds: float) -> bool:
    """Lock a file, trying for some seconds."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        except OSError:  # a file system without locks
            return True


def peak_memory(device: torch.device) -> int:
    """Largest memory use of this process: on the card, or resident on the CPU; bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def git_commit() -> tuple[str, bool]:
    """Commit of the code and whether tracked files differ from it; ("unknown", False) outside git."""
    root = Path(__file__).resolve().parents[3]
    try:
        run = ["git", "-C", str(root)]
        commit = subprocess.run([*run, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        status = subprocess.run([*run, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown", False
    return commit.stdout.strip(), bool(status.stdout.strip())


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
