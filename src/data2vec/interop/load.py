"""Opening a checkpoint of any kind, and `data2vec.load`.

A run folder, an exported folder, a folder of Hugging Face, or a file of the original implementations.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from data2vec import config as schema
from data2vec.config import RunConfig
from data2vec.errors import UserError
from data2vec.interop.huggingface import is_huggingface, read_huggingface
from data2vec.interop.pretrained import PretrainedEncoder, Weights, task_of
from data2vec.training.checkpoint import load_model

WEIGHTS = ("student", "teacher")


@dataclass(frozen=True)
class Checkpoint:
    """A model from anywhere, by our names."""

    path: Path
    kind: str
    """What was opened, in words."""
    config: RunConfig
    tensors: dict[str, Tensor]
    provenance: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    """Classes or letters by their number, where known."""

    @property
    def folder(self) -> Path:
        """Where further files of the checkpoint are, such as a vocabulary."""
        return self.path if self.path.is_dir() else self.path.parent


def open_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of any kind.

    Raises:
        UserError: there is none, it is damaged, or of a kind that is not known.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    if path.is_file():
        return _original(path)
    if (path / "config.yaml").is_file():
        return _own(path)
    if is_huggingface(path):
        found = read_huggingface(path)
        labels = found.provenance.get("labels", [])
        kind = f"{found.provenance['architecture']} of Hugging Face"
        return Checkpoint(path, kind, found.config, found.tensors, found.provenance, {}, labels)
    raise UserError(f"{path} holds no model: expected config.yaml of this project or config.json of Hugging Face")


def load(path: str | Path, weights: str = "student") -> PretrainedEncoder:
    """The encoder of a checkpoint, in evaluation mode: `encoder(inputs, padding)` are features.

    Args:
        path: run folder, exported folder, folder of Hugging Face, or file of the original implementations.
        weights: "student", or "teacher" where the checkpoint holds one.

    Raises:
        UserError: the checkpoint cannot be read or does not hold these weights.
    """
    return as_encoder(open_checkpoint(Path(path)), weights)


def as_encoder(checkpoint: Checkpoint, weights: str = "student") -> PretrainedEncoder:
    """The model of an opened checkpoint."""
    chosen: dict[str, Weights] = {"student": "student", "teacher": "teacher"}
    if weights not in chosen:
        raise UserError(f"weights = {weights} is not allowed: it must be {' or '.join(WEIGHTS)}")
    try:
        return PretrainedEncoder(checkpoint.config, checkpoint.tensors, chosen[weights])
    except UserError as error:
        raise UserError(f"{checkpoint.path}: {error}") from None


def _own(path: Path) -> Checkpoint:
    """A run folder or what `export format=data2vec` wrote."""
    config = schema.load(path / "config.yaml")
    exported = path / "model.safetensors"
    tensors = load_model(exported if exported.is_file() else path / "checkpoint" / "model.safetensors")
    provenance, metrics = _json(path / "provenance.json"), _json(path / "metrics.json")
    labels = metrics.get("classes") or metrics.get("letters") or provenance.get("labels") or []
    if not labels and task_of(tensors, config) == "ctc":
        labels = _json(path / "symbols.json", list)
    kind = "imported run folder" if "imported_from" in provenance else "run folder"
    return Checkpoint(
        path, "exported folder" if exported.is_file() else kind, config, tensors, provenance, metrics, labels
    )


def _original(path: Path) -> Checkpoint:
    from data2vec.interop.importing import read_original

    found = read_original(path)
    symbols = json.loads(found.files.get("symbols.json", "[]")) if task_of(found.tensors) == "ctc" else []
    return Checkpoint(path, found.provenance["format"], found.config, found.tensors, found.provenance, {}, symbols)


def _json(path: Path, kind: type = dict) -> Any:
    """Content of a file of ours; empty if there is none."""
    if not path.is_file():
        return kind()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}") from None
    if not isinstance(content, kind):
        raise UserError(f"{path} is damaged: it holds a {type(content).__name__}")
    return content
