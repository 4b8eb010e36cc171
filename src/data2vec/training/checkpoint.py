"""Checkpoints: weights as safetensors, and the resumable state of an unfinished run.

The state holds no random state: batches, masks and dropout of an update depend on (seed, update) only.
"""

import io
import json
import logging
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from data2vec.data.vocabulary import Tokenizer
from data2vec.errors import UserError
from data2vec.training.run_folder import write_atomic

log = logging.getLogger(__name__)

VOCABULARY = "vocabulary"
"""Key of a text checkpoint's header: the fingerprint of its tokenizer."""


def save_model(path: Path, model: nn.Module, meta: dict[str, str]) -> None:
    """Write a module's parameters and buffers; `meta` is kept in the file's header."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    write_atomic(path, save(tensors, metadata=meta))


def load_model(path: Path) -> dict[str, Tensor]:
    """Read what `save_model` wrote. Raises UserError for a missing or damaged file."""
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint; pre-train this run first")
    try:
        return load_file(path)
    except (safetensors.SafetensorError, OSError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: damaged checkpoint ({error}); delete it and run again") from None


def check_vocabulary(path: Path, tokenizer: Tokenizer) -> None:
    """Compare a tokenizer with the one that a checkpoint was trained with, where its header names one.

    Raises:
        UserError: they are different ones, so that ids would mean other words.
    """
    with safetensors.safe_open(path, "pt") as file:
        known = (file.metadata() or {}).get(VOCABULARY)
    if known is not None and known != tokenizer.fingerprint:
        raise UserError(
            f"{path} was trained with another vocabulary than that of the prepared text (both may have "
            f"{tokenizer.vocab_size} ids): prepare the text as for that run, or pre-train again"
        )


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a training state; replaces the previous one only when complete."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomic(path, buffer.getbuffer())


def load_state(path: Path, identity: str) -> dict[str, Any] | None:
    """The state of an unfinished run of the same configuration, or None.

    `identity` is compared with the stored one: a state of another configuration is set aside, not resumed.
    """
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise UserError(
            f"{path}: damaged training state ({type(error).__name__}); delete it to start this run again"
        ) from None
    if state["identity"] != identity:
        aside = path.with_suffix(".other.pt")
        path.replace(aside)
        log.warning("the saved state belongs to another configuration; kept as %s, starting anew", aside)
        return None
    return state
