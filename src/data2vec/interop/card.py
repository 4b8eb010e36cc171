"""What is known about a checkpoint, as a model card and on one screen: architecture, data, licence, origin, metrics."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data2vec.config import RunConfig
from data2vec.data.manifest import MANIFEST, read_manifest
from data2vec.errors import UserError
from data2vec.interop.load import Checkpoint
from data2vec.interop.pretrained import Task, task_of

VERSIONS = {"data2vec": "data2vec 1.0", "data2vec2": "data2vec 2.0", "mae": "MAE", "masked_lm": "masked language model"}
INPUTS = {"vision": "images", "speech": "speech at 16 kHz", "text": "text"}
HEADS: dict[Task, str] = {
    "none": "none (pre-trained)",
    "ctc": "letters (CTC)",
    "recording": "classes of recordings",
    "sentence": "sentence classification or regression",
    "image": "image classification",
    "words": "masked language model",
}
OWN_LICENCE = "not stated; set by whoever trained it"


def method_of(checkpoint: Checkpoint) -> str:
    """The method's name; of an imported model the format says it."""
    found = checkpoint.provenance.get("format")
    return str(found) if found else VERSIONS.get(checkpoint.config.method, checkpoint.config.method)


def training_data(checkpoint: Checkpoint) -> dict[str, str]:
    """Name, licence and origin of the training data, as far as they are known."""
    known = checkpoint.provenance.get("data")
    if isinstance(known, dict):
        return {str(k): str(v) for k, v in known.items()}
    if "imported_from" in checkpoint.provenance:
        return {"name": "not stated by the file"}
    config = checkpoint.config
    folder = Path(config.data_dir) / config.data.name
    if not (folder / MANIFEST).is_file():
        return {"name": config.data.name}
    try:
        manifest = read_manifest(folder)
    except UserError:
        return {"name": config.data.name}
    return {"name": manifest.name, "licence": manifest.licence, "citation": manifest.citation}


def architecture(config: RunConfig) -> str:
    """Size and layout in one line."""
    m = config.model
    blocks = f"{m.depth} blocks" if not m.prenet_depth else f"{m.prenet_depth} + {m.depth} blocks"
    norm = {"post": "post-norm", "pre": "pre-norm"}.get(m.norm, m.norm)
    return f"Transformer, {blocks}, width {m.dim}, {m.heads} heads, {norm}, on {INPUTS[config.modality]}"


def parameters(checkpoint: Checkpoint) -> int:
    """Parameters of the encoder."""
    return sum(t.numel() for name, t in checkpoint.tensors.items() if name.startswith("encoder."))


def has_teacher(checkpoint: Checkpoint) -> bool:
    """Whether the averaged weights are there too."""
    return any(name.startswith("teacher.encoder.") for name in checkpoint.tensors)


def facts(checkpoint: Checkpoint) -> dict[str, str]:
    """Everything known in a few words each, by title."""
    config, origin = checkpoint.config, checkpoint.provenance
    data = training_data(checkpoint)
    words = {
        "what": " - ".join(dict.fromkeys((method_of(checkpoint), checkpoint.kind))),
        "architecture": architecture(config),
        "parameters": f"{parameters(checkpoint):,} in the encoder",
        "weights": "student and teacher" if has_teacher(checkpoint) else "student",
        "head": HEADS[task_of(checkpoint.tensors, config)]
        + (f", {len(checkpoint.labels)} labels" if checkpoint.labels else ""),
        "input": _input(config),
        "training data": "; ".join(
            filter(None, (data.get("name"), data.get("licence") and f"licence {data['licence']}"))
        ),
        "training": _training(config, origin),
        "licence": str(origin.get("licence", OWN_LICENCE)),
        "from": str(origin.get("imported_from", f"trained by this project, commit {origin.get('commit', 'unknown')}")),
    }
    if sha256 := origin.get("sha256"):
        words["sha256"] = str(sha256)
    if measured := [_measured(row) for row in checkpoint.metrics.get("rows", [])]:
        words["metrics"] = ", ".join(measured)
    return words


def model_card(checkpoint: Checkpoint, title: str, use: str, notes: list[str]) -> str:
    """README.md of an exported model; `use` is code that loads it."""
    found = facts(checkpoint)
    licence = found["licence"] if re.fullmatch(r"[a-z0-9.-]+", found["licence"]) else "other"
    head = ["---", f"license: {licence}", f"tags: [data2vec, {checkpoint.config.modality}]", "---"]
    lines = [*head, f"# {title}", "", f"{found['what']}. {found['architecture']}.", "", "| | |", "|---|---|"]
    lines += [
        f"| {name} | {text.replace('|', '/')} |" for name, text in found.items() if name not in ("what", "metrics")
    ]
    rows = checkpoint.metrics.get("rows", [])
    if rows:
        lines += ["", "## Metrics", "", "| metric | value | data |", "|---|---|---|"]
        lines += [
            f"| {row['metric']} | {row['value']:.4g} {row.get('unit', '')} | {row.get('dataset', '')} |" for row in rows
        ]
    lines += ["", "## Use", "", "```python", use.strip(), "```"]
    if notes:
        lines += ["", "## Notes", "", *(f"- {note}" for note in notes)]
    if citation := training_data(checkpoint).get("citation"):
        lines += ["", "## Training data", "", citation]
    return "\n".join(lines) + "\n"


def _input(config: RunConfig) -> str:
    if config.modality == "vision":
        v = config.vision
        return f"{v.image_size} x {v.image_size} pixels, patches of {v.patch_size}, mean {v.mean}, std {v.std}"
    if config.modality == "speech":
        return f"waveforms at 16 kHz{', zero mean and unit variance' if config.speech.normalise else ''}"
    return f"{config.data.vocab_size:,} tokens, at most {config.text.max_positions} in a sequence"


def _training(config: RunConfig, origin: Mapping[str, Any]) -> str:
    names = ("updates", "samples", "seed", "pretrain_seconds", "started")
    told = [f"{name.replace('pretrain_', '')} {origin[name]}" for name in names if name in origin]
    return ", ".join(told) or "not stated"


def _measured(row: Mapping[str, Any]) -> str:
    return f"{row['metric']} {row['value']:.4g} {row.get('unit', '')}".strip()
