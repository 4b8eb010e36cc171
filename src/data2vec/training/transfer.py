"""A trunk that starts from the blocks of another run, perhaps of another modality (`model.init_trunk`).

A negative control: the method is one, but it learns a model of its own for each modality. Front end, positions and
head start as they would without it.
"""

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data2vec.errors import UserError
from data2vec.methods.build import Method
from data2vec.nn.transformer import Transformer
from data2vec.training.checkpoint import load_model

log = logging.getLogger(__name__)

BLOCKS = "encoder.trunk.blocks."


@torch.no_grad()
def start_trunk(method: Method, run_dir: Path) -> int:
    """Copy the student's blocks of `run_dir` into student and teacher, from the first on; returns how many.

    Of trunks of different depth, the blocks that both have are copied.

    Raises:
        UserError: the run has no weights, or its blocks are built otherwise.
    """
    weights = load_model(run_dir / "checkpoint" / "model.safetensors")
    theirs = {name.removeprefix(BLOCKS): value for name, value in weights.items() if name.startswith(BLOCKS)}
    depth = min(len(method.encoder.trunk.blocks), len({name.split(".")[0] for name in theirs}))
    teacher: Any = getattr(method, "teacher", None)
    for encoder in filter(None, (method.encoder, getattr(teacher, "encoder", None))):
        _copy(encoder.trunk, theirs, depth, run_dir)
    log.info("the first %d of %d blocks start from %s", depth, len(method.encoder.trunk.blocks), run_dir)
    return depth


def _copy(trunk: Transformer, theirs: dict[str, Tensor], depth: int, run_dir: Path) -> None:
    for name, mine in trunk.blocks[:depth].state_dict().items():
        if name not in theirs or theirs[name].shape != mine.shape:
            found = list(theirs[name].shape) if name in theirs else "none"
            raise UserError(
                f"model.init_trunk = {run_dir}: its blocks are built otherwise, {name} is {found} there and "
                f"{list(mine.shape)} here; choose a run of the same method and model size"
            )
        mine.copy_(theirs[name])
