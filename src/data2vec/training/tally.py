"""What the log shows of one update: sums over its micro-batches, in all processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from data2vec.methods.targets import Moments
from data2vec.training.distributed import Processes

if TYPE_CHECKING:
    from data2vec.training.loop import StepLoss


@dataclass
class Tally:
    """Means weighted by sample size, and spreads over all hidden positions of an update."""

    sums: dict[str, Tensor] = field(default_factory=dict)
    moments: dict[str, Tensor] = field(default_factory=dict)

    def add(self, part: StepLoss) -> None:
        """Count one micro-batch."""
        total = part.total.detach().double()
        size = torch.as_tensor(part.sample_size, dtype=torch.float64, device=total.device)
        self._add(self.sums, "size", size)
        self._add(self.sums, "loss", total)
        for name, value in part.log.items():
            if isinstance(value, Moments):
                self._add(self.moments, name, torch.cat([value.number[None], value.total, value.squares]))
            else:
                self._add(self.sums, name, torch.as_tensor(value, dtype=torch.float64, device=total.device) * size)

    def values(self, processes: Processes, stage: str) -> dict[str, float]:
        """The loss per unit of sample size, and what else was counted."""
        parts = [*(value[None] for value in self.sums.values()), *self.moments.values()]
        whole = processes.total(torch.cat(parts).detach().cpu(), stage)
        found = whole[: len(self.sums)]
        size = max(1.0, float(found[0]))
        values = {name: float(value) / size for name, value in zip(self.sums, found, strict=True) if name != "size"}
        lengths = [len(value) for value in self.moments.values()]
        for name, moments in zip(self.moments, whole[len(self.sums) :].split(lengths), strict=True):
            squares = (len(moments) - 1) // 2
            spread = Moments(moments[0], moments[1 : 1 + squares], moments[1 + squares :]).spread()
            values[name] = float(spread)
        return values

    @staticmethod
    def _add(sums: dict[str, Tensor], name: str, value: Tensor) -> None:
        sums[name] = sums[name] + value if name in sums else value.detach()
