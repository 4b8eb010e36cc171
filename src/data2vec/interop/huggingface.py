"""Folders of Hugging Face models as configuration and tensors of ours; nothing in them is executed.

Data2VecAudio, Data2VecText and Data2VecVision, plain or with a head, and the encoders of Wav2Vec2 and ViTMAE.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data2vec.config import RunConfig
from data2vec.errors import UserError
from data2vec.interop import huggingface_files as files
from data2vec.interop.huggingface_config import MODALITY, Values, run_config
from data2vec.interop.huggingface_names import HEADS, PREFIXES, UNUSED, encoder_pairs, importing
from data2vec.interop.imported import save_imported
from data2vec.interop.names import rename, translate
from data2vec.interop.pretrained import Task, build_model, tensors_of
from data2vec.interop.report import Report
from data2vec.interop.tokenizers import find_tokenizer

MASK_TOKEN = "encoder.context.mask_token"
POSITIONS, WORDS = "encoder.local.positions.weight", "embeddings.word_embeddings.weight"
TASKS: dict[Task, str] = {
    "none": "pretraining",
    "ctc": "ctc",
    "recording": "recording_classification",
    "sentence": "sentence_classification",
    "image": "classification",
    "words": "masked_lm",
}
SEGMENTS = "embeddings.token_type_embeddings.weight"


@dataclass(frozen=True)
class HuggingFaceModel:
    """A folder's model: configuration, tensors by our names, what became of its keys, and where it came from."""

    config: RunConfig
    tensors: dict[str, Tensor]
    report: Report
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
    content = files.read_json(path)
    model_type = content.get("model_type")
    if not isinstance(model_type, str) or model_type not in MODALITY:
        raise UserError(f"{path}: model_type = {model_type!r} is not supported, only {', '.join(MODALITY)}")
    extra = folder / "preprocessor_config.json"
    config = run_config(Values(path, content, model_type), files.read_json(extra) if extra.is_file() else {})
    sources = files.weight_files(folder)
    stored = {name: tensor for file in sources for name, tensor in files.read_tensors(file).items()}
    theirs = {name.removeprefix(PREFIXES[model_type]): tensor.float() for name, tensor in stored.items()}
    try:
        tensors, report = _translate(theirs, model_type, config)
        _fit(tensors, report, config)
    except UserError as error:
        raise UserError(f"{folder}: {error}") from None
    architectures = content.get("architectures")
    provenance = {
        "imported_from": str(folder),
        "sha256": files.digest(sources),
        "licence": files.licence(folder),
        "format": f"Hugging Face {model_type}",
        "architecture": str(architectures[0]) if isinstance(architectures, list) and architectures else model_type,
        "task": TASKS[head_task(theirs, model_type)],
        "labels": files.labels(folder, content),
    }
    return HuggingFaceModel(config, tensors, report, provenance)


def import_huggingface(folder: Path, run_dir: Path, licence: str | None = None) -> Report:
    """Write the run folder of a model of Hugging Face; what became of its keys.

    Raises:
        UserError: as `read_huggingface`, or `run_dir` is taken.
    """
    found = read_huggingface(folder)
    provenance = found.provenance | ({"licence": licence} if licence else {})
    tokenizer = find_tokenizer(folder, found.config) if found.config.modality == "text" else None
    added: dict[str, str | bytes] = {"import.json": _json(found.report.as_dict())}
    save_imported(run_dir, found.config, found.tensors, provenance, added | dict(tokenizer.files if tokenizer else {}))
    return found.report


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1) + "\n"


def head_task(theirs: Mapping[str, Tensor], model_type: str) -> Task:
    """Which head of ours a model has, by the names of its tensors."""
    modality = MODALITY[model_type]
    if modality == "speech" and "lm_head.weight" in theirs:
        return "ctc"
    if modality == "text" and "classifier.out_proj.weight" in theirs:
        return "sentence"
    if modality == "text" and "lm_head.dense.weight" in theirs:
        return "words"
    return "image" if model_type == "data2vec-vision" and "classifier.weight" in theirs else "none"


def _translate(theirs: dict[str, Tensor], model_type: str, config: RunConfig) -> tuple[dict[str, Tensor], Report]:
    """Tensors by our names, in their own shapes, and what became of each."""
    pairs = [*encoder_pairs(model_type, config.model.norm == "pre"), *HEADS[head_task(theirs, model_type)]]
    rules, report, renamed = importing(pairs), Report(), {}
    for name, tensor in theirs.items():
        try:
            new = rename(name, rules)
        except KeyError:
            report.unused[name] = _why_unused(name, theirs)
            continue
        assert new is not None
        renamed[new] = tensor
        report.mapped[name] = new
    _add_segment(theirs, renamed, report)
    apart = {name.partition("#")[0] for name in renamed if "#" in name}
    for whole in apart:
        thirds = [renamed.get(f"{whole}#{x}") for x in "qkv"]
        if any(third is None for third in thirds) or len({t.shape[1:] for t in thirds if t is not None}) > 1:
            raise UserError(f"query, key and value of {whole.partition('.attn')[0]} are not all there, or differ")
    return translate(renamed, [(r"(.*)", r"\1")], {}), report  # put thirds together


def _why_unused(name: str, theirs: dict[str, Tensor]) -> str:
    reason = next((reason for pattern, reason in UNUSED if re.fullmatch(pattern, name)), None)
    if name == "lm_head.decoder.weight" and not torch.equal(theirs[name], theirs.get(WORDS, torch.empty(0))):
        raise UserError(f"{name} differs from the token embeddings; only models that share them are supported")
    return reason or "no counterpart in this architecture"


def _add_segment(theirs: dict[str, Tensor], renamed: dict[str, Tensor], report: Report) -> None:
    """Add the embedding of the first segment to that of every position: it is a constant for single sentences."""
    if SEGMENTS not in theirs or POSITIONS not in renamed:
        return
    segments, positions = theirs[SEGMENTS], renamed[POSITIONS]
    if segments.dim() != 2 or positions.dim() != 2 or segments.shape[1] != positions.shape[1]:
        raise UserError(f"{SEGMENTS} has shape {tuple(segments.shape)}, positions {tuple(positions.shape)}")
    renamed[POSITIONS] = positions + segments[0]
    report.unused.pop(SEGMENTS)
    report.mapped[SEGMENTS] = f"{POSITIONS}, its first row added to every position"
    if len(segments) > 1:
        report.assumed.append("text is of one segment: further rows of the segments' embedding are left out")


def _fit(tensors: dict[str, Tensor], report: Report, config: RunConfig) -> None:
    """Check against the configured model and give tensors its shapes; what may be missing is filled.

    Raises:
        UserError: something else is missing, of another shape, or has no place.
    """
    for what, count in (("blocks", config.model.depth), ("positional convolutions", config.speech.pos_conv_depth)):
        if count > max(100, len(tensors)):  # before they are built
            raise UserError(f"config.json says {count} {what}, but the file has {len(tensors)} tensors")
    with torch.device("meta"):
        expected = tensors_of(build_model(config, tensors))
    if MASK_TOKEN in expected and MASK_TOKEN not in tensors:
        tensors[MASK_TOKEN] = torch.zeros(expected[MASK_TOKEN].shape)
        report.missing[MASK_TOKEN] = "needed to hide positions in training only; set to zeros"
    if lacking := [name for name in expected if name not in tensors]:
        raise UserError(f"the weights lack {lacking[0]} and {len(lacking) - 1} more that config.json asks for")
    for name, tensor in tensors.items():
        if name not in expected:
            if name.startswith("encoder."):
                raise UserError(f"{name} has no place in the model that config.json describes")
            continue  # a pooler without head is kept as it is
        if _shape(tensor) != _shape(expected[name]):
            shapes = f"{tuple(tensor.shape)}, config.json asks for {tuple(expected[name].shape)}"
            raise UserError(f"{name} has shape {shapes}")
        tensors[name] = tensor.reshape(expected[name].shape)


def _shape(tensor: Tensor) -> list[int]:
    """Shape without axes of size 1, which differ between the code bases."""
    return [n for n in tensor.shape if n != 1]
