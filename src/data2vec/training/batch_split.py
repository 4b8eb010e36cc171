"""How the published batch of an update is divided into forward passes, whatever the number of processes.

A forward pass holds at most what the configuration says (`train.micro_batch`, `speech.micro_seconds`,
`finetune.micro_seconds`). Where that gives fewer passes than processes, they are made smaller; the batch stays.
"""

import logging
import math

from data2vec.config import RunConfig
from data2vec.errors import UserError

log = logging.getLogger(__name__)


def split_pretraining(config: RunConfig, count: int) -> RunConfig:
    """The configuration with forward passes for each of `count` processes. Raises UserError if there are too few."""
    t, s = config.train, config.speech
    if config.modality == "speech":
        micro = _seconds(s.batch_seconds, s.micro_seconds, count)
        if micro is not None and micro < s.max_seconds:
            raise UserError(
                f"{count} processes are too many for speech.batch_seconds = {s.batch_seconds:g}: each would get "
                f"{micro:g} s, less than a recording of speech.max_seconds = {s.max_seconds:g}; use at most "
                f"{int(s.batch_seconds // s.max_seconds)}"
            )
        return config.model_copy(update={"speech": s.model_copy(update={"micro_seconds": micro})})
    micro_batch = rows_per_pass(t.batch_size, t.micro_batch, count, "train.batch_size")
    return config.model_copy(update={"train": t.model_copy(update={"micro_batch": micro_batch})})


def split_finetuning(config: RunConfig, count: int) -> RunConfig:
    """The same for fine-tuning; mixed images stay in even numbers."""
    ft, t = config.finetune, config.train
    if config.modality == "speech":
        micro = _seconds(ft.batch_seconds, ft.micro_seconds, count)
        return config.model_copy(update={"finetune": ft.model_copy(update={"micro_seconds": micro})})
    most = math.gcd(ft.batch_size, t.micro_batch) if t.micro_batch else None
    step = 2 if config.modality == "vision" and (ft.mixup or ft.cutmix) else 1
    micro_batch = rows_per_pass(ft.batch_size, most, count, "finetune.batch_size", step)
    return config.model_copy(update={"train": t.model_copy(update={"micro_batch": micro_batch})})


def rows_per_pass(batch: int, most: int | None, count: int, key: str, step: int = 1) -> int | None:
    """The largest part of `batch`, up to `most`, that leaves every process one; a multiple of `step`.

    A single process takes what is configured.
    """
    if count == 1:
        return most
    fitting = [m for m in range(step, min(most or batch, batch) + 1, step) if batch % m == 0 and batch // m >= count]
    if not fitting:
        raise UserError(
            f"{count} processes are too many for {key} = {batch}: it cannot be divided into so many parts"
            + (" of even size" if step == 2 else "")
        )
    return fitting[-1]


def say_batch(whole: float, unit: str, passes: int, count: int) -> None:
    """Log how an update's batch comes about."""
    most, rest = -(-passes // count), passes % count
    uneven = f" ({count - rest} of them one less)" if rest else ""
    log.info(
        "batch: %g %s per GPU x %d GPUs x accumulation %d%s = %g %s per update"
        if count > 1
        else "batch: %g %s per forward pass x %d process x accumulation %d%s = %g %s per update",
        *(whole / passes, unit, count, most, uneven, whole, unit),
    )


def _seconds(whole: float, micro: float | None, count: int) -> float | None:
    if count == 1 or round(whole / (micro or whole)) >= count:
        return micro
    return whole / count
