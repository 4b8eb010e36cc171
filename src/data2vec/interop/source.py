"""A checkpoint file of the original implementations, taken apart: weights, teacher, head, stored configuration.

state_dict_layouts.md section 1. Every container is read as data (`data2vec.interop.torch_files`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data2vec.data.integrity import file_digest
from data2vec.errors import UserError
from data2vec.interop.pickles import Record
from data2vec.interop.torch_files import StoredTensor, TorchFile, plain

Tensors = dict[str, StoredTensor]
WRAPPERS = ("w2v_encoder.w2v_model.", "d2v_model.", "model.")
"""What fine-tuned models put in front of the names of the encoder within them."""


@dataclass
class Source:
    """What one file holds."""

    path: Path
    sha256: str
    encoder: Tensors
    """Weights by the names of the pre-training model, the wrapper of a fine-tuned one taken off."""
    head: Tensors
    """Weights of a fine-tuned model outside of its encoder, by their full names."""
    teacher: Tensors
    """Averaged weights; their names are relative to what was averaged."""
    model: dict[str, Any]
    """Stored configuration of the (pre-training) model; {} if there is none."""
    finetuned: dict[str, Any]
    """Stored configuration of the fine-tuned model; {} if it is none."""
    task: dict[str, Any]
    symbols: list[str] | None = None
    """Vocabulary in the order of ids, where the file or a dict.txt beside it has one."""
    progress: dict[str, int] = field(default_factory=dict)
    """Epoch and updates, for the provenance."""


def open_source(path: Path) -> Source:
    """Read a `.pt` or `.pth` file and sort its content; tensors themselves are read later.

    Raises:
        UserError: it is no checkpoint, is damaged, or would run code.
    """
    content = TorchFile(path).content
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, not a checkpoint (a dictionary)")
    state, averages = _state(path, content)
    configuration = plain(content.get("cfg")) or plain(content.get("args")) or {}
    configuration = configuration if isinstance(configuration, dict) else {}
    stored = configuration.get("model")
    stored = stored if isinstance(stored, dict) else configuration
    inner = _pretraining_configuration(stored)
    encoder, head = _unwrap(state)
    task = configuration.get("task")
    return Source(
        path,
        file_digest(path),
        encoder,
        head,
        averages,
        inner or stored,
        stored if inner or head else {},
        task if isinstance(task, dict) else configuration,
        _symbols(content) or _dictionary_beside(path),
        _progress(content),
    )


def _state(path: Path, content: Mapping[Any, Any]) -> tuple[Tensors, Tensors]:
    """Weights and averaged weights. A dictionary within the weights is fairseq's teacher, `model_ema` BEiT's."""
    for key in ("model", "module", "state_dict"):
        if isinstance(content.get(key), dict):
            state = content[key]
            break
    else:
        state = content
    weights = {str(name): value for name, value in state.items() if isinstance(value, StoredTensor)}
    if not weights:
        keys = ", ".join(str(key)[:40] for key in list(content)[:8])
        raise UserError(f"{path} holds no weights where checkpoints have them (it holds: {keys or 'nothing'})")
    averages: Tensors = {}
    inside = [value for name, value in state.items() if str(name).split(".")[-1] == "_ema"]
    for found in (*inside, content.get("model_ema")):
        if isinstance(found, dict):
            averages |= {str(name): value for name, value in found.items() if isinstance(value, StoredTensor)}
    return _without_module(weights), _without_module(averages)


def _without_module(tensors: Tensors) -> Tensors:
    """Take off the `module.` that data-parallel training puts in front of all names."""
    if tensors and all(name.startswith("module.") for name in tensors):
        return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return tensors


def _unwrap(state: Tensors) -> tuple[Tensors, Tensors]:
    for wrapper in WRAPPERS:
        if any(name.startswith(wrapper) for name in state):
            encoder = {name.removeprefix(wrapper): t for name, t in state.items() if name.startswith(wrapper)}
            return encoder, {name: t for name, t in state.items() if not name.startswith(wrapper)}
    heads = re.compile(r"classification_heads\..*|(head|fc_norm)\.(weight|bias)")
    encoder = {name: t for name, t in state.items() if not heads.fullmatch(name)}
    return encoder, {name: t for name, t in state.items() if heads.fullmatch(name)}


def _pretraining_configuration(model: Mapping[str, Any]) -> dict[str, Any] | None:
    """The configuration of the pre-trained model that a fine-tuned one's configuration embeds."""
    for key in ("w2v_args", "pretrained_model_args", "d2v_args", "model_args"):
        found = model.get(key)
        if isinstance(found, dict):
            return found["model"] if isinstance(found.get("model"), dict) else found
    return None


def _symbols(content: Mapping[Any, Any]) -> list[str] | None:
    """The vocabulary that the task stored: fairseq's dictionary object, read as data."""
    task = content.get("task_state")
    for key in ("target_dictionary", "dictionary", "source_dictionary"):
        found = task.get(key) if isinstance(task, dict) else None
        if isinstance(found, Record) and isinstance(found.state, dict):
            symbols = found.state.get("symbols")
            if isinstance(symbols, list) and symbols and all(isinstance(symbol, str) for symbol in symbols):
                return list(symbols)
    return None


def _dictionary_beside(path: Path) -> list[str] | None:
    """The vocabulary of a dict.txt or dict.ltr.txt in the file's folder: `symbol count` in each line."""
    for name in ("dict.ltr.txt", "dict.txt"):
        file = path.with_name(name)
        if file.is_file():
            try:
                lines = file.read_text(encoding="utf-8").splitlines()
            except (UnicodeDecodeError, OSError) as error:
                raise UserError(f"{file} beside the checkpoint cannot be read as a dictionary: {error}") from None
            words = [line.removesuffix(" #fairseq:overwrite").rpartition(" ")[0] for line in lines if line.strip()]
            return ["<s>", "<pad>", "</s>", "<unk>", *words]
    return None


def _progress(content: Mapping[Any, Any]) -> dict[str, int]:
    history = content.get("optimizer_history")
    last = history[-1] if isinstance(history, list) and history and isinstance(history[-1], dict) else {}
    found = {"updates": last.get("num_updates"), "epoch": content.get("epoch")}
    return {key: value for key, value in found.items() if type(value) is int}
