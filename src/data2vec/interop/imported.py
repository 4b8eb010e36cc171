"""The run folder of a model that came from elsewhere: fine-tuned, evaluated and exported like a run of ours.

    config.yaml                    what the model is; recipes of its method for everything a file cannot tell
    checkpoint/model.safetensors   names as pre-training writes them: `encoder.` student, `teacher.` where stored
    provenance.json                where it came from, with checksum and licence

There is no metrics.json, so reports do not count it as a run.
"""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from data2vec import config as schema
from data2vec.config import RunConfig
from data2vec.data.integrity import atomic_directory
from data2vec.errors import UserError

log = logging.getLogger(__name__)

REQUIRED = ("imported_from", "sha256", "licence", "format")


def save_imported(
    run_dir: Path,
    config: RunConfig,
    tensors: dict[str, Tensor],
    provenance: dict[str, Any],
    files: Mapping[str, str | bytes] | None = None,
) -> None:
    """Write the folder whole or not at all; the same import again changes nothing.

    Args:
        run_dir: new or empty folder.
        config: of the model.
        tensors: by the names of our modules; floating-point ones are stored as float32.
        provenance: at least `imported_from`, `sha256` (of the source), `licence` and `format`.
        files: further files by name, such as a vocabulary.

    Raises:
        UserError: the folder holds something else, or cannot be written.
    """
    if lacking := [key for key in REQUIRED if key not in provenance]:
        raise ValueError(f"provenance lacks {', '.join(lacking)}")
    described = schema.dump(config)
    texts = {"config.yaml": described, **(files or {}), "provenance.json": json.dumps(provenance, indent=1) + "\n"}
    contents = {name: text.encode() if isinstance(text, str) else text for name, text in texts.items()}
    if check_vacant(run_dir, provenance["sha256"]):
        if all((run_dir / n).is_file() and (run_dir / n).read_bytes() == c for n, c in contents.items()):
            log.info("%s holds this import already", run_dir)
            return
        raise UserError(f"{run_dir} holds an import of this file made with other options; choose another run_dir=")
    with atomic_directory(run_dir) as folder:
        for name, content in contents.items():
            (folder / name).write_bytes(content)
        (folder / "checkpoint").mkdir()
        model = folder / "checkpoint" / "model.safetensors"
        save_file({name: _plain(t) for name, t in tensors.items()}, model, {"config": described})
        with model.open("rb") as file:
            os.fsync(file.fileno())


def check_vacant(run_dir: Path, sha256: str) -> bool:
    """Whether the folder holds an import of the source with this checksum already.

    Raises:
        UserError: it holds anything else; nothing is ever overwritten.
    """
    if not run_dir.exists():
        return False
    if not run_dir.is_dir():
        raise UserError(f"run_dir = {run_dir} is a file; choose a new folder")
    if not any(run_dir.iterdir()):
        return False
    try:
        found = json.loads(_reads(run_dir / "provenance.json") or "{}").get("sha256")
    except ValueError:
        found = None
    if found != sha256 or not (run_dir / "checkpoint" / "model.safetensors").is_file():
        raise UserError(f"{run_dir} holds something else already and is not overwritten; choose another run_dir=")
    return True


def _reads(path: Path) -> str | None:
    return path.read_text() if path.is_file() else None


def _plain(tensor: Tensor) -> Tensor:
    """A copy of its own memory, which safetensors wants, in float32 if it is of real numbers."""
    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to("cpu", dtype, copy=True).contiguous()
