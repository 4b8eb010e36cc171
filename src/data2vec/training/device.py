"""Where a run computes, and in which precision."""

import fcntl
import logging
import os
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from data2vec.errors import UserError
from data2vec.machine import has_gpu_driver, visible_gpus
from data2vec.nn.transformer import Block, Transformer
from data2vec.sections import TrainConfig

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Device:
    """A device, its precision, and the lock that keeps other runs of this project off the card."""

    torch: torch.device
    precision: str
    name: str
    lock: Any = None

    def autocast(self) -> Any:
        """Context in which forward passes run."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.torch.type, torch.bfloat16 if self.precision == "bf16" else torch.float16)


def choose_device(config: TrainConfig, local: int | None = None) -> Device:
    """Choose and state the device: of several processes, the card with the `local` number of this one.

    Raises:
        UserError: CUDA is asked for and not there, or there is no card for this process.
    """
    if config.device == "cuda" and not torch.cuda.is_available():
        build = "has no CUDA support" if torch.version.cuda is None else "sees no card"
        raise UserError(f"train.device = cuda, but torch {torch.__version__} {build}; use train.device=cpu")
    if config.threads:
        torch.set_num_threads(config.threads)
    cuda = config.device != "cpu" and torch.cuda.is_available()
    if config.device == "auto" and not cuda:
        refuse_idle_cards()
    if cuda:
        index, lock = _free_card() if local is None else (_own_card(local), None)
        device, name = torch.device("cuda", index), torch.cuda.get_device_name(index)
        torch.cuda.set_device(index)
    else:
        device, name, lock = torch.device("cpu"), cpu_name(), None
    chosen = Device(device, _precision(config.precision, device), name, lock)
    threads = "" if cuda else f", {torch.get_num_threads()} threads"
    log.info("device %s (%s%s), precision %s", device, name, threads, chosen.precision)
    return chosen


def refuse_idle_cards() -> None:
    """Raises UserError if there are NVIDIA cards that this torch cannot use: a run would take weeks unnoticed."""
    cards = visible_gpus() if has_gpu_driver() else []
    if cards:
        why = f"is built for CUDA {torch.version.cuda}, which this driver cannot run (see nvidia-smi): update either"
        if torch.version.cuda is None:
            why = "is built without CUDA: install the build of requirements.txt (docs/containers.md)"
        raise UserError(
            f"{len(cards)} GPU(s) are here, but torch {torch.__version__} {why}; train.device=cpu computes without them"
        )


def cpu_name() -> str:
    """The processor's model name, or the machine's architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return os.uname().machine


def _precision(asked: str, device: torch.device) -> str:
    if asked != "auto":
        if asked == "fp16" and device.type == "cpu":
            raise UserError("train.precision = fp16 needs a CUDA device; on a CPU use bf16 or fp32")
        return asked
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else "fp32"


def prepare_trunks(model: nn.Module, config: TrainConfig) -> None:
    """Set activation checkpointing and compilation of all blocks, as configured."""
    for module in model.modules():
        if isinstance(module, Transformer):
            module.checkpointing = config.checkpointing
        if isinstance(module, Block) and config.compile:
            module.compile()


def _own_card(local: int) -> int:
    """The card of one of several processes. Slurm or the workflow gave these cards to this run alone."""
    if local >= torch.cuda.device_count():
        raise UserError(
            f"process {local} of this node has no card, only {torch.cuda.device_count()} are visible: start as many "
            "processes as there are cards (--nproc-per-node)"
        )
    return local


def _free_card() -> tuple[int, Any]:
    """The first visible card that no other run of this project holds; a file lock per card."""
    for index in range(torch.cuda.device_count()):
        uuid = torch.cuda.get_device_properties(index).uuid
        handle = Path(tempfile.gettempdir(), f"data2vec-card-{uuid}-{os.getuid()}.lock").open("w")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.close()
            continue
        return index, handle
    raise UserError(
        f"all {torch.cuda.device_count()} visible cards are in use by other runs of this project; wait, or set "
        "CUDA_VISIBLE_DEVICES"
    )
