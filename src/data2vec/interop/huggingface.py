"""Folders of Hugging Face models as configuration and tensors of ours; nothing in them is executed.

Data2VecAudio, Data2VecText and Data2VecVision, plain or with a head, and the encoders of Wav2Vec2 and ViTMAE.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

from data2vec.config import RunConfig
from data2vec.data.integrity import file_digest
from data2vec.errors import UserError
from data2vec.interop.huggingface_config import MODALITY, Values, run_config
from data2vec.interop.huggingface_names import HEADS, PREFIXES, UNUSED, encoder_pairs, importing
from data2vec.interop.names import fuse, rename
from data2vec.interop.pretrained import Task, build_model, tensors_of

MAX_JSON_BYTES = 64 * 2**20
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
MASK_TOKEN = "encoder.context.mask_token"
SEGMENTS = "embeddings.token_type_embeddings.weight"


@dataclass
class KeyReport:
    """What became of every tensor of a file: our name, or why it is unused; and what the file lacks, and why."""

    mapped: dict[str, str] = field(default_factory=dict)
    unused: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class HuggingFaceModel:
    """A folder's model: configuration, tensors by our names, what became of its keys, and where it came from."""

    config: RunConfig
    tensors: dict[str, Tensor]
    report: KeyReport
    provenance: dict[str, Any]


def is_huggingface(path: Path) -> bool:
    """Whether `path` is a folder of such a model, by its config.json."""
    return (path / "config.json").is_file()


def read_huggingface(folder: Path) -> HuggingFaceModel:
    """Read and check a folder.

    Raises:
        UserError: a file is missing or damaged, the model is of another kind, or its tensors do not fit its
            configuration. The message names file and value.
    """
    path = folder / "config.json"
    content = _json(path)
    model_type = content.get("model_type")
    if not isinstance(model_type, str) or model_type not in MODALITY:
        raise UserError(f"{path}: model_type = {model_type!r} is not supported, only {', '.join(MODALITY)}")
    extra = folder / "preprocessor_config.json"
    config = run_config(Values(path, content, model_type), _json(extra) if extra.is_file() else {})
    files = _weight_files(folder)
    tensors = {name: tensor for file in files for name, tensor in _read_tensors(file).items()}
    prefix = PREFIXES[model_type]
    plain = {name.removeprefix(prefix): _as_float(name, t, folder) for name, t in tensors.items()}
    ours, report = _translate(plain, model_type, config)
    _complete(ours, report, config, folder)
    digests = [file_digest(file) for file in files]
    provenance = {
        "imported_from": str(folder),
        "sha256": digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest(),
        "licence": _licence(folder),
        "format": f"Hugging Face {model_type}",
        "architecture": str((content.get("architectures") or [model_type])[0]),
        "labels": _labels(folder, content),
    }
    return HuggingFaceModel(config, ours, report, provenance)


def head_task(plain: dict[str, Tensor], model_type: str) -> Task:
    """Which head of ours a model has, by the names of its tensors."""
    modality = MODALITY[model_type]
    if modality == "speech" and "lm_head.weight" in plain:
        return "ctc"
    if modality == "text" and "classifier.out_proj.weight" in plain:
        return "sentence"
    if modality == "text" and "lm_head.dense.weight" in plain:
        return "words"
    if model_type == "data2vec-vision" and plain.get("classifier.weight", torch.empty(0)).dim() == 2:
        return "image"
    return "none"


def _translate(plain: dict[str, Tensor], model_type: str, config: RunConfig) -> tuple[dict[str, Tensor], KeyReport]:
    pairs = [*encoder_pairs(model_type, config.model.norm == "pre"), *HEADS[head_task(plain, model_type)]]
    rules, report, renamed = importing(pairs), KeyReport(), {}
    for name, tensor in plain.items():
        try:
            new = rename(name, rules)
        except KeyError:
            if name != SEGMENTS:
                report.unused[name] = _why_unused(name, plain)
            continue
        assert new is not None
        renamed[new] = tensor
        report.mapped[name] = new
    if SEGMENTS in plain:
        _add_segment(renamed, plain[SEGMENTS], report)
    for name in list(renamed):
        whole, third, _ = name.partition("#")
        if third and not all(f"{whole}#{x}" in renamed for x in "qkv"):
            del renamed[name]  # reported as missing
    return fuse(renamed), report


def _why_unused(name: str, plain: dict[str, Tensor]) -> str:
    try:
        index = [rename(name, [(pattern, str(i))]) for i, (pattern, _) in enumerate(UNUSED) if _matches(name, pattern)]
    except KeyError:
        index = []
    if name == "lm_head.decoder.weight" and not torch.equal(plain[name], plain["embeddings.word_embeddings.weight"]):
        raise UserError(f"{name} differs from the token embeddings; only models that tie them are supported")
    return UNUSED[int(index[0] or 0)][1] if index else "no counterpart in this architecture"
