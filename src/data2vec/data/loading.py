"""Which samples make up a batch, and batches made by other processes: what all modalities share."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from data2vec.errors import UserError

Batch = dict[str, Tensor]

# The order of samples has a random stream of its own, beside those of augmentation and masks.
ORDER_STREAM = 0


def loader(batches: Dataset[Batch], start: int, end: int, workers: int = 0, every: int = 1) -> Iterator[Batch]:
    """`batches[start]` to `batches[end - 1]`, each or one of `every`, made in this process or in `workers` others.

    Batches are pinned when CUDA is there. Torch's global random state is left alone.

    Raises:
        UserError: as raised for an image, in one line, also when it comes from a worker.
    """
    made = DataLoader(
        batches,
        batch_size=None,
        sampler=range(start, end, every),
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        # Without a generator of its own the loader draws its workers' seed from the global one.
        generator=torch.Generator(),
        worker_init_fn=_outlive_stop_requests,
    )
    try:
        yield from made
        return
    except (ConnectionError, EOFError):  # killed while it handed a batch over, before torch noticed
        raise UserError(
            "DataLoader worker was lost. A process that loads batches was killed, often because memory ran out; the "
            "same command continues from the last saved state (fewer: train.workers)"
        ) from None
    except UserError as error:
        # Torch wraps a worker's exception into its traceback; the last line is what we said.
        message = str(error).strip().splitlines()[-1].removeprefix("data2vec.errors.UserError: ")
        # The traceback is in a cycle with the error and keeps the workers; the garbage collector would need
        # 5 seconds to end them.
        error.__traceback__ = None
    raise UserError(message)


def _outlive_stop_requests(worker: int) -> None:
    """Let the training process save its state first: Slurm and Ctrl-C signal every process of a job.

    A SIGTERM of the training process itself is how torch ends a worker.
    """
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # of all threads that this process starts, too
        threading.Thread(target=_end_when_parent_asks, daemon=True).start()


def _end_when_parent_asks() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


def shuffled_indices(count: int, batch_size: int, seed: int, step: int) -> NDArray[np.int64]:
    """Which of `count` samples make up batch `step`, int64 (batch_size,): permuted epochs laid end to end."""
    epoch, place = np.divmod(np.arange(step * batch_size, (step + 1) * batch_size), count)
    orders = {int(number): _permutation(seed, int(number), count) for number in np.unique(epoch)}
    return np.array([orders[e][p] for e, p in zip(epoch.tolist(), place.tolist(), strict=True)], dtype=np.int64)


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, ORDER_STREAM, epoch)).permutation(count)
