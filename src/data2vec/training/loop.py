"""The training loop, the same for pre-training and fine-tuning.

It reads straight down: save, draw the batch, forward and backward, clip, step, follow, log. A run that was
killed continues with the same bits: batches, masks and dropout depend on (seed, update) only.
"""

import logging
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from data2vec.errors import UserError
from data2vec.training.checkpoint import load_state, save_state
from data2vec.training.device import Device
from data2vec.training.optim import Adam, set_learning_rate
from data2vec.training.run_folder import RunFolder
from data2vec.training.schedules import LearningRate

log = logging.getLogger(__name__)


@dataclass
class StepLoss:
    """Loss of one micro-batch: a sum, what to divide it by, and values for the log."""

    total: Tensor
    sample_size: Tensor | int
    samples: int
    log: dict[str, Tensor | float] = field(default_factory=dict)


@dataclass
class Plan:
    """What the loop is told: length, pace and the four things that differ between tasks."""

    updates: int
    accumulation: int
    seed: int
    clip_norm: float
    log_every: int
    checkpoint_seconds: float
    max_bad_steps: int
    schedule: LearningRate
    batches: Callable[[int, int], Iterator[Any]]  # (first, last) micro-batch numbers -> batches
    loss: Callable[[Any, bool], StepLoss]  # (batch, log this step?) -> loss
    after_step: Callable[[int], dict[str, float]] = lambda update: {}  # e.g. the teacher follows
    at_log: Callable[[int, dict[str, Any]], dict[str, Any]] = lambda update, record: {}  # evaluate, stop


@dataclass
class Progress:
    """How far a run is."""

    update: int = 0
    samples: int = 0
    seconds: float = 0.0
    skipped: int = 0
    bad_in_a_row: int = 0


class Interrupted(Exception):
    """The run was asked to stop; its state is saved."""


def train(plan: Plan, model: nn.Module, optimizer: Adam, device: Device, folder: RunFolder, identity: str) -> Progress:
    """Train to `plan.updates`, resuming a saved state of the same `identity`. Returns the final progress.

    Raises:
        Interrupted: on SIGTERM, SIGINT or SIGUSR1, with the state saved.
        UserError: if gradients stay non-finite, with the reason.
    """
    with _stop_requests() as stop, closing(_tensorboard(folder.path)) as writer:
        return _train(plan, model, optimizer, device, folder, identity, stop, writer)


def _train(
    plan: Plan,
    model: nn.Module,
    optimizer: Adam,
    device: Device,
    folder: RunFolder,
    identity: str,
    stop: list[str],
    writer: Any,
) -> Progress:
    scaler = torch.amp.GradScaler(device.torch.type, enabled=device.precision == "fp16")
    progress = _resume(folder, model, optimizer, scaler, device, identity)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    bar = tqdm(total=plan.updates, initial=progress.update, disable=not sys.stderr.isatty(), unit="update")
    batches = plan.batches(progress.update * plan.accumulation, plan.updates * plan.accumulation)
    saved = clock = logged_at = time.monotonic()
    logged = progress.samples
    model.train()

    while progress.update < plan.updates:
        # ---- save: now and then, and when asked to leave
        if stop or time.monotonic() - saved > plan.checkpoint_seconds:
            progress.seconds += time.monotonic() - clock
            _save(folder, model, optimizer, scaler, progress, identity)
            saved = clock = time.monotonic()
            if stop:
                raise Interrupted(f"stopped by signal {stop[0]} after update {progress.update}; run again to go on")
        # ---- forward and backward, over the micro-batches of one update
        update = progress.update
        torch.manual_seed(plan.seed + update)  # dropout and noise of an update depend on its number only
        lr = set_learning_rate(optimizer, plan.schedule, update)
        is_logged = (update + 1) % plan.log_every == 0 or update + 1 == plan.updates or update == 0
        optimizer.zero_grad(set_to_none=True)
        size: Tensor | int = 0
        for _ in range(plan.accumulation):
            with device.autocast():
                part = plan.loss(next(batches), is_logged)
            scaler.scale(part.total).backward()
            size = size + part.sample_size
            progress.samples += part.samples
        # ---- clip and step; a non-finite gradient skips the step
        scaler.unscale_(optimizer)
        grad_norm = _normalise_and_clip(parameters, size, plan.clip_norm)
        finite = math.isfinite(grad_norm)
        if finite:
            optimizer.step()
        scaler.update()
        progress.update = update + 1
        progress.bad_in_a_row = 0 if finite else progress.bad_in_a_row + 1
        progress.skipped += not finite
        if progress.bad_in_a_row > plan.max_bad_steps:
            raise UserError(
                f"stopped after update {progress.update}: {progress.bad_in_a_row} non-finite gradients in a row "
                f"(loss {float(part.total.detach())}); lower optim.lr, or use train.precision=fp32"
            )
        # differs: once for each update. Released 1.0 code moves its teacher with every micro-batch and again after a
        # skipped step (pitfall P-3); released 2.0 code loses one move after a resume (P-4).
        followed = plan.after_step(progress.update) if finite else {}
        # ---- log
        if is_logged:
            now = time.monotonic()
            record = {
                "update": progress.update,
                "samples": progress.samples,
                "seconds": round(progress.seconds + now - clock, 3),
                "loss": float(part.total.detach()) / max(1, int(part.sample_size)),
                **{k: float(torch.as_tensor(v).detach()) for k, v in part.log.items()},
                "lr": lr,
                "grad_norm": grad_norm,
                **followed,
                "examples_per_second": round((progress.samples - logged) / max(now - logged_at, 1e-9), 2),
                "skipped_steps": progress.skipped,
            }
            before = time.monotonic()
            record |= plan.at_log(progress.update, record)
            clock += time.monotonic() - before  # evaluation is not training time
            _report(folder, writer, bar, record, plan.updates)
            logged, logged_at = progress.samples, time.monotonic()
        bar.update(progress.update - bar.n)

    bar.close()
    progress.seconds += time.monotonic() - clock
    return progress


def _normalise_and_clip(parameters: list[Tensor], size: Tensor | int, clip_norm: float) -> float:
    """Divide summed gradients by the sample size, limit their norm; returns the norm before clipping."""
    grads = [p.grad for p in parameters if p.grad is not None]
    norm = torch.stack(torch._foreach_norm(grads)).norm() / size
    factor = 1.0 / size
    if clip_norm > 0:
        factor = factor * torch.clamp(clip_norm / (norm + 1e-6), max=1.0)
    torch._foreach_mul_(grads, factor)
    return float(norm)


def _resume(
    folder: RunFolder, model: nn.Module, optimizer: Adam, scaler: Any, device: Device, identity: str
) -> Progress:
    folder.clear_leftovers()
    state = load_state(folder.state, identity)
    progress = Progress()
    if state is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        scaler.load_state_dict(state["scaler"])
        progress = Progress(**state["progress"])
        log.info("resuming after update %d", progress.update)
    folder.truncate_log(progress.update)
    return progress


def _save(folder: RunFolder, model: nn.Module, optimizer: Adam, scaler: Any, progress: Progress, identity: str) -> None:
    save_state(
        folder.state,
        {
            "identity": identity,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scaler": scaler.state_dict(),
            "progress": vars(progress).copy(),
        },
    )


@contextmanager
def _stop_requests() -> Iterator[list[str]]:
    """A list that a SIGTERM, SIGINT or SIGUSR1 (preemption) fills with its name."""
    received: list[str] = []
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    before = {n: signal.signal(n, lambda number, frame: received.append(signal.Signals(number).name)) for n in numbers}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tensorboard(path: Path) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(path / "tensorboard")


def _report(folder: RunFolder, writer: Any, bar: Any, record: dict[str, Any], total: int) -> None:
    folder.append_log(record)
    for key, value in record.items():
        if isinstance(value, int | float) and key != "update":
            writer.add_scalar(key, value, record["update"])
    bar.set_postfix(loss=f"{record['loss']:.4f}")
    if bar.disable:
        done = record["update"]
        left = record["seconds"] / done * (total - done)
        log.info(
            "update %d/%d  loss %.4f  lr %.2e  grad norm %.2f  %.0f examples/s  %.0f s left",
            *(done, total, record["loss"], record["lr"], record["grad_norm"]),
            *(record["examples_per_second"], left),
        )
