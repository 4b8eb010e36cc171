"""The training loop, the same for pre-training and fine-tuning.

It reads straight down: save, draw the batch, forward and backward, clip, step, follow, log. A run that was
killed continues with the same bits: batches, masks and dropout depend on (seed, number of the micro-batch) only. For
the same reason several processes, which share the micro-batches of an update, train as one would.
"""

import logging
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from data2vec.errors import UserError
from data2vec.methods.targets import Moments
from data2vec.training.checkpoint import load_state, save_state
from data2vec.training.device import Device
from data2vec.training.distributed import ALONE, Processes
from data2vec.training.optim import Adam, set_learning_rate
from data2vec.training.run_folder import RunFolder
from data2vec.training.schedules import LearningRate
from data2vec.training.snapshots import drop_snapshots
from data2vec.training.tally import Tally

log = logging.getLogger(__name__)


@dataclass
class StepLoss:
    """Loss of one micro-batch: a sum, what to divide it by, and values for the log."""

    total: Tensor
    sample_size: Tensor | int
    samples: int
    log: dict[str, Tensor | Moments | float] = field(default_factory=dict)


class NumberedBatches(Protocol):
    """Micro-batches by number: `first` to `last` - 1, each or one of `every`."""

    def __call__(self, first: int, last: int, every: int = 1) -> Iterator[Any]:
        """Of these numbers."""
        ...


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
    batches: NumberedBatches
    loss: Callable[[Any, bool], StepLoss]  # (batch, log this step?) -> loss
    after_step: Callable[[int], dict[str, float]] = lambda update: {}  # e.g. the teacher follows
    at_log: Callable[[int, dict[str, Any]], dict[str, Any]] = lambda update, record: {}  # evaluate, stop
    processes: Processes = ALONE
    snapshots: frozenset[int] = frozenset()  # updates after which `keep` is called
    keep: Callable[["Progress"], None] = lambda progress: None


@dataclass
class Progress:
    """How far a run is; `flops` of its first update, as torch counts them, 0 where they are not counted."""

    update: int = 0
    samples: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    flops: float = 0.0
    skipped: int = 0
    bad_in_a_row: int = 0


class Clock:
    """Training time, on the wall and of the processor (this process, all threads), added to a progress."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.start()

    def start(self) -> None:
        """Count from here on."""
        self.wall, self.cpu = time.monotonic(), time.process_time()

    def stop(self) -> None:
        """Add what has passed; what happens until `start` is not training time."""
        self.progress.seconds += time.monotonic() - self.wall
        self.progress.cpu_seconds += time.process_time() - self.cpu


class Interrupted(Exception):
    """The run was asked to stop; its state is saved."""


def train(plan: Plan, model: nn.Module, optimizer: Adam, device: Device, folder: RunFolder, identity: str) -> Progress:
    """Train to `plan.updates`, resuming a saved state of the same `identity`. Returns the final progress.

    Raises:
        Interrupted: on SIGTERM, SIGINT or SIGUSR1, with the state saved.
        UserError: if gradients stay non-finite, with the reason.
    """
    with _stop_requests() as stop, _tensorboard(folder.path, plan.processes) as writer:
        try:
            return _train(plan, model, optimizer, device, folder, identity, stop, writer)
        except torch.cuda.OutOfMemoryError as error:
            raise UserError(out_of_memory(str(error))) from None


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
    processes = plan.processes
    progress = _resume(folder, model, optimizer, scaler, identity, processes)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    bar = tqdm(total=plan.updates, initial=progress.update, disable=not _is_shown(processes), unit="update")
    numbers = processes.own(range(progress.update * plan.accumulation, plan.updates * plan.accumulation))
    batches = plan.batches(numbers.start, numbers.stop, numbers.step)
    saved = logged_at = time.monotonic()
    logged = progress.samples
    model.train()
    clock = Clock(progress)
    if progress.update == 0:
        _keep(plan, progress, clock)

    while progress.update < plan.updates:
        # ---- save: now and then, and when one of the processes was asked to leave
        must_leave = processes.any(bool(stop), f"the start of update {progress.update + 1}")
        if must_leave or time.monotonic() - saved > plan.checkpoint_seconds:
            clock.stop()
            if processes.is_first:
                _save(folder, model, optimizer, scaler, progress, identity)
            clock.start()
            saved = time.monotonic()
            if must_leave:
                processes.barrier("the last save")  # torchrun ends all when one leaves
                name = stop[0] if stop else "to another process"
                raise Interrupted(f"stopped by signal {name} after update {progress.update}; run again to go on")
        # ---- forward and backward, over the micro-batches of one update
        update = progress.update
        lr = set_learning_rate(optimizer, plan.schedule, update)
        is_logged = (update + 1) % plan.log_every == 0 or update + 1 == plan.updates or update == 0
        optimizer.zero_grad(set_to_none=True)
        size: Tensor | int = 0
        samples, tally = 0, Tally()
        own = processes.own(range(update * plan.accumulation, (update + 1) * plan.accumulation))
        for number in own:
            torch.manual_seed(plan.seed + number)  # dropout and noise of a micro-batch depend on its number only
            with _flop_counter(progress, plan.accumulation / len(own) if plan.snapshots and not update else 0.0):
                with device.autocast():
                    part = plan.loss(next(batches), is_logged)
                scaler.scale(part.total).backward()
            size = size + part.sample_size
            samples += part.samples
            if is_logged:
                tally.add(part)
        if processes.count > 1:
            size, samples = processes.sum_gradients(parameters, size, samples, f"the gradients of update {update + 1}")
        progress.samples += samples
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
        _keep(plan, progress, clock)
        # ---- log
        if is_logged:
            clock.stop()
            now = time.monotonic()
            record = {
                "update": progress.update,
                "samples": progress.samples,
                "seconds": round(progress.seconds, 3),
                **tally.values(processes, f"the log of update {progress.update}"),
                "lr": lr,
                "grad_norm": grad_norm,
                **followed,
                "examples_per_second": round((progress.samples - logged) / max(now - logged_at, 1e-9), 2),
                "skipped_steps": progress.skipped,
            }
            if processes.is_first:
                record |= plan.at_log(progress.update, record)  # evaluation is not training time
                _report(folder, writer, bar, record, plan.updates)
            clock.start()
            logged, logged_at = progress.samples, time.monotonic()
        bar.update(progress.update - bar.n)

    bar.close()
    clock.stop()
    return progress


def _keep(plan: Plan, progress: Progress, clock: Clock) -> None:
    """Keep the encoder of this moment where the plan says so; the time this takes is not training time."""
    if progress.update in plan.snapshots and plan.processes.is_first:
        clock.stop()
        plan.keep(progress)
        clock.start()


@contextmanager
def _flop_counter(progress: Progress, share: float) -> Iterator[None]:
    """Add what torch counts inside to `progress.flops`, for all processes: this one does 1/`share` of the update."""
    if not share:
        yield
        return
    with FlopCounterMode(display=False) as counter:
        yield
    progress.flops += counter.get_total_flops() * share


def _normalise_and_clip(parameters: list[Tensor], size: Tensor | int, clip_norm: float) -> float:
    """Divide summed gradients by the sample size, limit their norm; returns the norm before clipping."""
    grads = [p.grad for p in parameters if p.grad is not None]
    norm = torch.stack(torch._foreach_norm(grads)).norm() / size
    factor = 1.0 / size
    if clip_norm > 0:
        factor = factor * torch.clamp(clip_norm / (norm + 1e-6), max=1.0)
    torch._foreach_mul_(grads, factor)
    return float(norm)


def out_of_memory(message: str) -> str:
    """What to do when a card's memory is full, in one line."""
    return (
        f"the card's memory is full ({message.split('. ')[0]}). Lower train.micro_batch (speech: speech.micro_seconds, "
        "finetune.micro_seconds), which keeps the batch of an update; or train.checkpointing=true, which keeps one "
        "tensor for each block and takes about a third more time; or train.precision=bf16"
    )


def _resume(
    folder: RunFolder, model: nn.Module, optimizer: Adam, scaler: Any, identity: str, processes: Processes
) -> Progress:
    if processes.is_first:
        folder.clear_leftovers()
        state = load_state(folder.state, identity)
    processes.barrier("the saved state")  # the first one may have put it aside
    if not processes.is_first:
        state = load_state(folder.state, identity)
    progress = Progress()
    if state is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        scaler.load_state_dict(state["scaler"])
        progress = Progress(**state["progress"])
        log.info("resuming after update %d", progress.update)
    if processes.is_first:
        folder.truncate_log(progress.update)
        drop_snapshots(folder, progress.update if progress.update else -1)
    processes.copy_from_first(model, "the first weights")
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


def _is_shown(processes: Processes) -> bool:
    return processes.is_first and sys.stderr.isatty()


def _tensorboard(path: Path, processes: Processes) -> Any:
    if not processes.is_first:
        return nullcontext()
    from torch.utils.tensorboard import SummaryWriter

    return closing(SummaryWriter(path / "tensorboard"))


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
