"""`python -m data2vec export`: a checkpoint of any kind as a folder for others.

huggingface    config.json, model.safetensors, preprocessor or tokenizer files, README.md; `from_pretrained` reads it
data2vec       config.yaml, model.safetensors, README.md; `data2vec.load` reads it; every method, teacher included
"""

import json
import logging
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from data2vec import config as schema
from data2vec.data.integrity import atomic_directory
from data2vec.errors import UserError
from data2vec.interop.card import model_card, training_data
from data2vec.interop.huggingface_export import model_type, to_huggingface
from data2vec.interop.load import Checkpoint, as_encoder, open_checkpoint
from data2vec.interop.preprocessors import preprocessor_files
from data2vec.interop.pretrained import task_of, teacher_tensors
from data2vec.interop.tokenizers import find_tokenizer, tokenizer_files

log = logging.getLogger(__name__)

FORMATS = ("huggingface", "data2vec")
CITED = ("commit", "seed", "updates", "samples", "imported_from", "sha256", "licence", "format", "task", "packages")


def export(source: Path, out: Path, format_name: str | None = None, weights: str = "student") -> Path:
    """Write the folder whole or not at all; its path.

    Args:
        source: anything that `data2vec.load` opens.
        out: new or empty folder.
        format_name: "huggingface" or "data2vec"; None = huggingface where transformers has the model.
        weights: "student" or "teacher".

    Raises:
        UserError: the checkpoint cannot be read, has no counterpart in that format, or `out` is taken.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"out = {out} exists already and is not overwritten; choose a new folder")
    if format_name not in (None, *FORMATS):
        raise UserError(f"format = {format_name} is not allowed: it must be {' or '.join(FORMATS)}")
    checkpoint = open_checkpoint(source)
    as_encoder(checkpoint, weights)  # whatever does not fit is found here
    if format_name is None:
        format_name = "data2vec" if checkpoint.config.method == "data2vec2" else "huggingface"
    files = _huggingface(checkpoint, weights) if format_name == "huggingface" else _own(checkpoint, weights)
    files |= {name: json.dumps(content, indent=1) + "\n" for name, content in _origin(checkpoint).items()}
    if checkpoint.config.modality == "text":
        files |= _tokenizer(checkpoint, format_name)
    with atomic_directory(out) as folder:
        for name, content in files.items():
            (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return out


def _origin(checkpoint: Checkpoint) -> dict[str, Any]:
    kept = {key: checkpoint.provenance[key] for key in CITED if key in checkpoint.provenance}
    origin = {**kept, "exported_from": str(checkpoint.path), "data": training_data(checkpoint)}
    if checkpoint.labels:
        origin["labels"] = checkpoint.labels
    rows = checkpoint.metrics.get("rows")
    return {"provenance.json": origin} | ({"metrics.json": {"rows": rows}} if rows else {})


def _tokenizer(checkpoint: Checkpoint, format_name: str) -> dict[str, str | bytes]:
    config = checkpoint.config
    tokenizer = find_tokenizer(checkpoint.folder, config)
    if tokenizer is None:
        log.warning("no vocabulary found for %s: the folder is without tokenizer", checkpoint.path)
        return {}
    converted = tokenizer_files(tokenizer, config.text.max_positions) if format_name == "huggingface" else {}
    return {**tokenizer.files, **converted}


def _own(checkpoint: Checkpoint, weights: str) -> dict[str, str | bytes]:
    tensors = checkpoint.tensors if weights == "student" else teacher_tensors(checkpoint.tensors)
    text = schema.dump(checkpoint.config)
    use = f'import data2vec\n\nencoder = data2vec.load("FOLDER")\n{_call(checkpoint)}'
    return {
        "config.yaml": text,
        "model.safetensors": _tensors(tensors, {"format": "pt", "config": text}),
        "README.md": model_card(checkpoint, _title(checkpoint), use, _notes(checkpoint, False)),
    }


def _huggingface(checkpoint: Checkpoint, weights: str) -> dict[str, str | bytes]:
    tensors = checkpoint.tensors if weights == "student" else teacher_tensors(checkpoint.tensors)
    try:
        content, named = to_huggingface(checkpoint.config, tensors, checkpoint.labels)
    except UserError as error:
        raise UserError(f"{checkpoint.path}: {error}") from None
    recognises = task_of(tensors, checkpoint.config) == "ctc"
    name = content["architectures"][0]
    use = f'from transformers import {name}\n\nmodel = {name}.from_pretrained("FOLDER")'
    return {
        "config.json": json.dumps(content, indent=2, ensure_ascii=False) + "\n",
        "model.safetensors": _tensors(named, {"format": "pt"}),
        "README.md": model_card(checkpoint, _title(checkpoint), use, _notes(checkpoint, True)),
        **preprocessor_files(checkpoint.config, checkpoint.labels, recognises),
    }


def _tensors(tensors: dict[str, Tensor], meta: dict[str, str]) -> bytes:
    return save({name: tensor.contiguous() for name, tensor in tensors.items()}, meta)


def _title(checkpoint: Checkpoint) -> str:
    config = checkpoint.config
    return f"{config.method} {config.modality} {config.model.name}"


def _call(checkpoint: Checkpoint) -> str:
    calls = {
        "vision": "features = encoder(images)  # (B, 3, H, W) normalised -> (B, patches, D)",
        "speech": "features = encoder(waveforms, padding)  # (B, samples) at 16 kHz -> (B, frames, D)",
        "text": "features = encoder(tokens, padding)  # (B, T) ids -> (B, T, D)",
    }
    return calls[checkpoint.config.modality]


def _notes(checkpoint: Checkpoint, huggingface: bool) -> list[str]:
    config = checkpoint.config
    notes: list[str] = []
    if not huggingface:
        return notes
    if model_type(config) == "data2vec-audio" and config.speech.pos_conv_padding == "zeroed":
        notes.append(
            "In a padded batch transformers lets padding change the last frames of the shorter recordings; this model "
            "was trained without that. Batches of one length, or one recording at a time, give equal features."
        )
    if config.modality == "vision":
        notes.append("Image files are to be cut to a square first: the processor resizes without regard to shape.")
    if config.modality == "text":
        notes.append("Outputs at padding differ from those of this project; nothing else depends on them.")
    if checkpoint.config.method == "data2vec" and task_of(checkpoint.tensors) == "none":
        notes.append("Teacher and prediction head of pre-training are not part of the folder.")
    return notes
