"""`python -m data2vec extract`: features of the files in a folder, one .npy beside the name of each input.

A file that is complete is not made again; inputs that cannot be read are listed in `unreadable.csv`.
"""

import csv
import io
import json
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from data2vec.data.integrity import file_digest
from data2vec.errors import UserError
from data2vec.interop.inputs import SUFFIXES, Reader, files_of, reader
from data2vec.interop.load import Checkpoint, as_encoder, open_checkpoint
from data2vec.interop.pretrained import PretrainedEncoder
from data2vec.interop.tokenizers import find_tokenizer
from data2vec.sections import TrainConfig
from data2vec.training.device import choose_device
from data2vec.training.run_folder import write_atomic

log = logging.getLogger(__name__)

SETTINGS, UNREADABLE = "extract.json", "unreadable.csv"
POOLING = ("none", "mean", "class_token")


@dataclass(frozen=True)
class Choice:
    """Which features are taken."""

    layer: int | None = None
    weights: str = "student"
    pooling: str = "none"


def extract(source: Path, inputs: Path, out: Path, choice: Choice = Choice()) -> int:
    """Write `out/<name of the input>.npy`, float32 (T, D), or (D,) where pooled; how many were made now.

    Raises:
        UserError: nothing can be made; or, after all others were made, that some inputs could not be read.
    """
    if not inputs.is_dir():
        raise UserError(f"input = {inputs}: no such folder")
    if choice.pooling not in POOLING:
        raise UserError(f"pooling = {choice.pooling} is not allowed: it must be {', '.join(POOLING)}")
    checkpoint = open_checkpoint(source)
    encoder = as_encoder(checkpoint, choice.weights)
    _check_choice(encoder, choice)
    modality = checkpoint.config.modality
    names = list(files_of(inputs, modality))
    if not names:
        raise UserError(f"input = {inputs} holds no {modality} files ({', '.join(SUFFIXES[modality])})")
    read = reader(
        checkpoint.config, find_tokenizer(checkpoint.folder, checkpoint.config) if modality == "text" else None
    )
    _claim(out, _settings(checkpoint, choice))
    waiting = [name for name in names if not _place(out, name).is_file()]
    unreadable = _extract(encoder, read, inputs, out, waiting, choice)
    made = len(waiting) - len(unreadable)
    log.info("%d of %d files made, %d were there already", made, len(names), len(names) - len(waiting))
    if unreadable:
        raise UserError(
            f"{len(unreadable)} of {len(names)} inputs could not be read and were left out: {out / UNREADABLE}"
        )
    return made


def _extract(
    encoder: PretrainedEncoder, read: Reader, inputs: Path, out: Path, names: list[Path], choice: Choice
) -> list[tuple[str, str]]:
    """Make the named ones; (name, reason) of those that cannot be read."""
    device = choose_device(TrainConfig(precision="fp32"))
    encoder.to(device.torch)
    unreadable = []
    for name in tqdm(names, desc="features", unit="file", disable=not sys.stderr.isatty()):
        try:
            pieces = read(inputs / name)
        except UserError as error:
            unreadable.append((str(name), str(error)))
            continue
        buffer = io.BytesIO()
        np.save(buffer, features(encoder, [piece.to(device.torch) for piece in pieces], choice))
        write_atomic(_place(out, name), buffer.getbuffer())
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([("input", "reason"), *unreadable])
    if unreadable:
        write_atomic(out / UNREADABLE, table.getvalue().encode("utf-8", "surrogateescape"))
    else:
        (out / UNREADABLE).unlink(missing_ok=True)
    return unreadable


@torch.no_grad()
def features(encoder: PretrainedEncoder, pieces: list[torch.Tensor], choice: Choice) -> np.ndarray:
    """Features of one input, float32 (T, D), or (D,) where pooled."""
    if choice.pooling == "class_token":
        return encoder.class_token(pieces[0], choice.layer)[0].float().cpu().numpy()
    x = torch.cat([encoder(piece, None, choice.layer)[0] for piece in pieces])
    return (x.mean(0) if choice.pooling == "mean" else x).float().cpu().numpy()


def _place(out: Path, name: Path) -> Path:
    """The whole name is kept: a.png and a.jpg are two inputs."""
    return out / name.with_name(name.name + ".npy")


def _check_choice(encoder: PretrainedEncoder, choice: Choice) -> None:
    depth = len(encoder.encoder.trunk.blocks)
    if choice.layer is not None and not 0 <= choice.layer <= depth:
        raise UserError(f"layer = {choice.layer} is not allowed: it must be 0 to {depth}, the number of blocks")
    if choice.pooling == "class_token" and not encoder.encoder.extra_tokens:
        raise UserError("pooling = class_token is not possible: this model has no class token; use mean or none")


def _settings(checkpoint: Checkpoint, choice: Choice) -> dict[str, Any]:
    """What the features depend on; those of other settings are never mixed with these."""
    path = checkpoint.path
    if path.is_dir():
        places = ("model.safetensors", "checkpoint/model.safetensors", "pytorch_model.bin")
        path = next((path / place for place in places if (path / place).is_file()), path)
    digest = file_digest(path) if path.is_file() else str(checkpoint.provenance.get("sha256"))
    return {"weights_sha256": digest, "layer": choice.layer, "weights": choice.weights, "pooling": choice.pooling}


def _claim(out: Path, settings: dict[str, Any]) -> None:
    """Take the folder for these settings. UserError if it holds something else."""
    file = out / SETTINGS
    if file.is_file():
        try:
            found = json.loads(file.read_text())
        except ValueError:
            found = None
        if found != settings:
            raise UserError(f"output = {out} holds features of another model or choice; choose another folder")
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"output = {out} exists already and is not a folder of features; choose a new one")
    write_atomic(file, json.dumps(settings, indent=1) + "\n")
