"""Encoders kept along a pre-training, so that the score can be drawn against time, samples and FLOPs.

`RUN/checkpoint/snapshots/<update>.safetensors`: the student's encoder, which is also what is evaluated of a finished
run; the header says how far the run was. The last moment is the run's own `model.safetensors`.
"""

from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from torch import nn

from data2vec.training.checkpoint import save_model
from data2vec.training.run_folder import RunFolder

COST = ("updates", "samples", "pretrain_seconds")


@dataclass(frozen=True)
class Snapshot:
    """One kept encoder: its file, and what had been spent on it."""

    path: Path
    updates: int
    samples: int
    pretrain_seconds: float


def snapshot_updates(total: int, number: int) -> frozenset[int]:
    """Updates after which an encoder is kept: before the first one, then evenly, without the last; none for 0."""
    return frozenset(total * i // number for i in range(number)) if number else frozenset()


def save_snapshot(folder: RunFolder, encoder: nn.Module, updates: int, samples: int, seconds: float) -> None:
    """Keep an encoder. `seconds`: training time so far, without saving and evaluation."""
    holder = nn.Module()
    holder.encoder = encoder
    cost = dict(zip(COST, map(str, (updates, samples, round(seconds, 3))), strict=True))
    save_model(_place(folder.path) / f"{updates:08d}.safetensors", holder, cost)


def drop_snapshots(folder: RunFolder, after: int) -> None:
    """Remove those that a run which continues after this update will write again; with -1 all."""
    for file in _place(folder.path).glob("*.safetensors"):
        if int(file.stem) > after:
            file.unlink()


def find_snapshots(run_dir: Path) -> list[Snapshot]:
    """The encoders kept of a run, in order."""
    found = []
    for path in sorted(_place(run_dir).glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            updates, samples, seconds = (file.metadata()[key] for key in COST)
        found.append(Snapshot(path, int(updates), int(samples), float(seconds)))
    return found


def _place(run_dir: Path) -> Path:
    return run_dir / "checkpoint" / "snapshots"
