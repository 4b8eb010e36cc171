"""Reading the files of a Hugging Face folder: JSON, and tensors from safetensors or PyTorch files.

Nothing is executed: JSON and safetensors are data, and `pytorch_model.bin` is read by `data2vec.interop.torch_files`.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors
import yaml
from safetensors.torch import load_file
from torch import Tensor

from data2vec.data.integrity import file_digest
from data2vec.errors import UserError
from data2vec.interop.torch_files import StoredTensor, TorchFile

MAX_JSON_BYTES = 64 * 2**20
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
UNKNOWN_LICENCE = "unknown"


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises UserError if the file is missing or is anything else."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise UserError(f"{path} has {path.stat().st_size:,} bytes: too large for a description of a model")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON: {str(error).splitlines()[0]}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold a JSON object, not a {type(content).__name__}")
    return content


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the tensors: one, or those that an index names. Raises UserError without any."""
    name = next((name for name in WEIGHTS if (folder / name).is_file()), None)
    if name is None:
        raise UserError(f"{folder} holds no weights: expected {' or '.join(WEIGHTS[::2])}")
    if not name.endswith(".index.json"):
        return [folder / name]
    places = read_json(folder / name).get("weight_map")
    names = set(places.values()) if isinstance(places, dict) and places else set()
    if not names or not all(isinstance(n, str) and n == Path(n).name and (folder / n).is_file() for n in names):
        raise UserError(f"{folder / name} names files that are not in its folder")
    return sorted(folder / n for n in names)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of one file as they are stored. Raises UserError if it is damaged or no such file."""
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (safetensors.SafetensorError, OSError, ValueError) as error:
            raise UserError(f"{path} is damaged or no safetensors file ({error}); fetch it again") from None
    file = TorchFile(path)
    content = file.content
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise UserError(f"{path} holds a {type(content).__name__}, not tensors by name")
    tensors = {name: value.read() for name, value in content.items() if isinstance(value, StoredTensor)}
    file.close()
    return tensors


def digest(files: list[Path]) -> str:
    """SHA-256 of one file; of several, of their digests in order of name."""
    digests = [file_digest(file) for file in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def licence(folder: Path) -> str:
    """What the model card's front matter says."""
    card = folder / "README.md"
    if not card.is_file():
        return UNKNOWN_LICENCE
    parts = card.read_text(encoding="utf-8", errors="replace")[:100_000].split("---", 2)
    if len(parts) < 3 or parts[0].strip():
        return UNKNOWN_LICENCE
    try:
        front = yaml.safe_load(parts[1])
    except (yaml.YAMLError, RecursionError):
        return UNKNOWN_LICENCE
    found = front.get("license") if isinstance(front, dict) else None
    return found if isinstance(found, str) else UNKNOWN_LICENCE


def labels(folder: Path, config: dict[str, Any]) -> list[str]:
    """Names of classes by id, or letters by id (vocab.json); [] without any."""
    found = config.get("id2label")
    names: dict[Any, Any] = found if isinstance(found, dict) else {}
    if (folder / "vocab.json").is_file() and "vocab_size" in config:
        letters = read_json(folder / "vocab.json")
        names = {number: letter for letter, number in letters.items() if type(number) is int}
    by_id = {str(number): str(name) for number, name in names.items()}
    return [by_id[str(i)] for i in range(len(by_id))] if all(str(i) in by_id for i in range(len(by_id))) else []
