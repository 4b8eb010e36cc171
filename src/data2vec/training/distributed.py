"""The processes that train one model together, as torchrun starts them: one for each card, on one node or several.

They share the micro-batches of an update (`slices`); the sums of their gradients are what one process would have
summed. Words travel by gloo, gradients on cards by nccl. Every exchange has a stage: whoever waits too long, or loses
another process, ends with the names of both.

    python -m torch.distributed.run --standalone --nproc-per-node 8 -m data2vec pretrain ...
"""

import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from data2vec.errors import UserError

log = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1  # linux/prctl.h
BUCKET = 64 * 2**20  # bytes of gradients that travel at a time


@dataclass(frozen=True)
class Processes:
    """This process (`rank`) among `count`; a single one exchanges nothing."""

    rank: int = 0
    count: int = 1
    local: int | None = None  # number on this node, which is that of its card

    @property
    def is_first(self) -> bool:
        """Whether this process writes files, logs and evaluates."""
        return self.rank == 0

    def own(self, numbers: range) -> range:
        """Those of consecutive micro-batches that this process computes: one of `count`."""
        return range(numbers.start + (self.rank - numbers.start) % self.count, numbers.stop, self.count)

    def any(self, here: bool, stage: str) -> bool:
        """Whether it holds in one of the processes."""
        return bool(self.total(torch.tensor([float(here)]), stage)) if self.count > 1 else here

    def total(self, values: Tensor, stage: str) -> Tensor:
        """Sum over all processes of a vector on the CPU."""
        if self.count > 1:
            with self._exchange(stage):
                dist.all_reduce(values)
        return values

    def sum_gradients(self, parameters: list[Tensor], size: Tensor | int, samples: int, stage: str) -> tuple[int, int]:
        """Replace gradients by their sums over all processes; returns the sums of `size` and `samples`.

        A parameter that no process used (layer drop) keeps none, as in a single process.
        """
        used = [float(p.grad is not None) for p in parameters]
        sums = self.total(torch.tensor([float(size), float(samples), *used], dtype=torch.float64), stage).tolist()
        grads = []
        for parameter, count in zip(parameters, sums[2:], strict=True):
            if count:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                grads.append(parameter.grad)
        with self._exchange(stage):
            _sum_in_buckets(grads)
        return round(sums[0]), round(sums[1])

    def sum_tensor(self, values: Tensor, stage: str) -> None:
        """Replace a tensor on the device by its sum over all processes."""
        if self.count > 1:
            with self._exchange(stage):
                dist.all_reduce(values)

    def copy_from_first(self, model: nn.Module, stage: str) -> None:
        """Give every process the first one's parameters and buffers."""
        if self.count > 1:
            with self._exchange(stage):
                for tensor in model.state_dict().values():
                    dist.broadcast(tensor, 0)

    def barrier(self, stage: str) -> None:
        """Wait until all processes are here."""
        self.any(False, stage)

    @contextmanager
    def _exchange(self, stage: str) -> Iterator[None]:
        """Note the stage where the others can read it; a failure ends in one line that names who is missing."""
        store, start = dist.distributed_c10d._get_default_store(), time.monotonic()
        try:
            store.set(f"data2vec/{self.rank}", stage)
            yield
        except RuntimeError as error:
            waited = time.monotonic() - start
            log.debug("%s", error)
            raise UserError(
                f"process {self.rank} of {self.count}, at {stage}: no answer from the others after {waited:.0f} s. "
                f"{self._elsewhere(stage)}. The state saved last stands: run again to go on from it"
            ) from None

    def _elsewhere(self, stage: str) -> str:
        """Which processes were last seen at another stage."""
        store, found = dist.distributed_c10d._get_default_store(), []
        try:
            store.set_timeout(timedelta(seconds=5))
            for rank in range(self.count):
                seen = store.get(f"data2vec/{rank}").decode() if store.check([f"data2vec/{rank}"]) else "start"
                if seen != stage:
                    found.append(f"process {rank} was last seen at {seen}: it has died or hangs")
        except RuntimeError:
            return "the first process has died"
        return "; ".join(found) or "All were seen there: one of them has died, or the network fails"


ALONE = Processes()


@contextmanager
def processes(seconds: float) -> Iterator[Processes]:
    """The processes of this run, as torchrun's variables say; they wait for each other for at most `seconds`.

    Raises:
        UserError: they do not find each other.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield ALONE
        return
    rank, local = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", os.environ["RANK"]))
    if sys.platform == "linux":  # a launcher that is killed leaves nothing behind
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    has_card = torch.cuda.is_available()
    if has_card and local < torch.cuda.device_count():
        torch.cuda.set_device(local)
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if has_card else "gloo", timeout=timedelta(seconds=seconds))
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"process {rank} of {count}, at start: the others were not found ({reason})") from None
    try:
        yield Processes(rank, count, local)
    finally:
        dist.destroy_process_group()


def _sum_in_buckets(grads: list[Tensor]) -> None:
    """Sum over all processes, in place. Buckets, because thousands of small messages take longer than few large."""
    buckets: list[list[Tensor]] = [[]]
    held = 0
    for grad in grads:
        if held and held + grad.nbytes > BUCKET:
            buckets.append([])
            held = 0
        buckets[-1].append(grad)
        held += grad.nbytes
    sent = []
    for bucket in filter(None, buckets):
        flat = torch.cat([grad.flatten() for grad in bucket])
        sent.append((bucket, flat, dist.all_reduce(flat, async_op=True)))
    for bucket, flat, work in sent:
        work.wait()
        parts = flat.split([grad.numel() for grad in bucket])
        torch._foreach_copy_(bucket, [part.view(grad.shape) for part, grad in zip(parts, bucket, strict=True)])
