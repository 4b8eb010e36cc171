"""Learning rates, teacher decay and layer-wise rates as pure functions of the update number.

An update number counts completed optimiser updates: update 1 uses the rate at number 0. Sources: fairseq's
schedulers and its ema_module (data2vec 1.0 and 2.0), data2vec_vision's utils (BEiT-based 1.0 vision), MAE's
lr_sched.
"""

import difflib
import math
from dataclasses import dataclass

from data2vec.errors import UserError

SCHEDULES = ("cosine", "tri_stage", "polynomial", "beit_cosine", "beit_tri_phase", "mae_cosine", "constant")


def cosine(
    update: float,
    *,
    peak: float,
    warmup: int,
    total: int,
    floor: float = 0.0,
    start: float | None = None,
    restart_scale: float = 0.1,
) -> float:
    """Linear from `start` (None = `floor`) to `peak` in `warmup` updates, then half a cosine to `floor`.

    As released, the curve begins again at `restart_scale` times its height when `total` is reached or passed.
    """
    start = floor if start is None else start
    if update < warmup:
        return start + update * ((peak - start) / warmup)
    period = max(1, total - warmup)
    cycle, position = divmod(update - warmup, period)
    low, high = floor * restart_scale**cycle, peak * restart_scale**cycle
    return low + 0.5 * (high - low) * (1 + math.cos(math.pi * position / period))


def tri_stage(
    update: float,
    *,
    peak: float,
    stages: tuple[int, int, int],
    start_scale: float = 0.01,
    final_scale: float = 0.01,
) -> float:
    """Linear rise, constant, exponential decay over `stages` = (rise, hold, decay) updates, then constant.

    # differs: the papers call the last stage linear; the released schedule is exponential, and so is this
    one.
    """
    rise, hold, decay = stages
    if update < rise:
        return peak * (start_scale + update * (1 - start_scale) / rise)
    if update < rise + hold:
        return peak
    if decay and update <= rise + hold + decay:
        return peak * math.exp(math.log(final_scale) * (update - rise - hold) / decay)
    return peak * final_scale


def polynomial(update: float, *, peak: float, warmup: int, total: int, end: float = 0.0, power: float = 1.0) -> float:
    """Linear from 0 to `peak` in `warmup` updates, then (remaining share) ** `power` down to `end`."""
    if warmup and update <= warmup:
        return peak * update / warmup
    if update >= total:
        return end
    return end + (peak - end) * (1 - (update - warmup) / (total - warmup)) ** power


def beit_cosine(
    iteration: int, *, peak: float, warmup: int, total: int, floor: float = 0.0, start: float = 0.0
) -> float:
    """BEiT's table: `warmup` values from `start` to `peak`, both included, then half a cosine to `floor`."""
    if iteration < warmup:
        return start + (peak - start) * iteration / (warmup - 1) if warmup > 1 else start
    return floor + 0.5 * (peak - floor) * (1 + math.cos(math.pi * (iteration - warmup) / (total - warmup)))


def beit_tri_phase(
    iteration: int,
    *,
    peak: float,
    warmup: int,
    decay: int,
    total: int,
    floor: float = 0.0,
    start: float = 0.0,
) -> float:
    """BEiT's other table: linear rise, constant, linear fall to `floor`; both ramps include their ends."""
    if iteration < warmup:
        return start + (peak - start) * iteration / (warmup - 1) if warmup > 1 else start
    fallen = iteration - (total - decay)
    if fallen < 0:
        return peak
    return peak + (floor - peak) * fallen / (decay - 1) if decay > 1 else peak


def mae_cosine(epoch: float, *, peak: float, warmup: float, total: float, floor: float = 0.0) -> float:
    """MAE's rate at a fractional epoch; `warmup` and `total` in epochs, and the rise begins at 0."""
    if epoch < warmup:
        return peak * epoch / warmup
    return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * (epoch - warmup) / (total - warmup)))


@dataclass(frozen=True)
class LearningRate:
    """One run's learning rate: a schedule's name and what it needs, all in updates.

    `floor` is the released `min_lr`. `stages` belongs to tri_stage (updates), `decay` to beit_tri_phase,
    `power` to polynomial.
    """

    schedule: str
    peak: float
    total: int
    warmup: int = 0
    floor: float = 0.0
    start: float | None = None
    stages: tuple[int, int, int] = (0, 0, 0)
    start_scale: float = 0.01
    final_scale: float = 0.01
    power: float = 1.0
    decay: int = 0

    def __post_init__(self) -> None:
        """Refuse what no run can have."""
        if self.schedule not in SCHEDULES:
            near = difflib.get_close_matches(self.schedule, SCHEDULES, n=1)
            hint = f", did you mean {near[0]}?" if near else ""
            raise UserError(f"unknown schedule {self.schedule}{hint} (known: {', '.join(SCHEDULES)})")
        if self.total < 1:
            raise UserError(f"the schedule's number of updates is {self.total}; it must be at least 1")
        if not 0 <= self.warmup <= self.total:
            raise UserError(f"warm-up of {self.warmup} updates does not fit into a run of {self.total}")

    def at(self, update: float, scale: float = 1.0) -> float:
        """The rate after `update` updates for a parameter group with rate factor `scale`.

        In fairseq's schedules a group's floor is absolute: only the peak is scaled, and the floor is
        lowered where the scaled peak lies below it. BEiT and MAE scale the whole curve.
        """
        if self.schedule in ("beit_cosine", "beit_tri_phase", "mae_cosine", "constant"):
            return scale * self._curve(update, self.peak, self.floor)
        peak = self.peak * scale
        return self._curve(update, peak, min(self.floor, peak))

    def _curve(self, update: float, peak: float, floor: float) -> float:
        warmup, total = self.warmup, self.total
        match self.schedule:
            case "cosine":
                return cosine(update, peak=peak, warmup=warmup, total=total, floor=floor, start=self.start)
            case "tri_stage":
                scales = {"start_scale": self.start_scale, "final_scale": self.final_scale}
                return tri_stage(update, peak=peak, stages=self.stages, **scales)
            case "polynomial":
                return polynomial(update, peak=peak, warmup=warmup, total=total, end=floor, power=self.power)
            case "beit_cosine":
                start = self.start or 0.0
                return beit_cosine(int(update), peak=peak, warmup=warmup, total=total, floor=floor, start=start)
            case "beit_tri_phase":
                start = self.start or 0.0
                return beit_tri_phase(
                    int(update),
                    peak=peak,
                    warmup=warmup,
                    decay=self.decay,
                    total=total,
                    floor=floor,
                    start=start,
                )
            case "mae_cosine":
                return mae_cosine(update, peak=peak, warmup=warmup, total=total, floor=floor)
            case _:
                return peak


def stage_lengths(shares: tuple[float, float, float], total: int) -> tuple[int, int, int]:
    """Updates of tri_stage's three stages from their shares of `total` (fairseq's phase_ratio)."""
    rise, hold, decay = (int(share * total) for share in shares)
    return rise, hold, decay


def ema_decay(update: int, start: float, end: float, anneal_updates: int) -> float:
    """EMA decay (tau) of the teacher's move after `update` updates: linear from `start` to `end`."""
    if update >= anneal_updates:
        return end
    return end - (end - start) * (1 - update / anneal_updates)


def beit_ema_decay(iteration: int, epoch_start: int, start: float, end: float, anneal_iterations: int) -> float:
    """EMA decay after `iteration` (from 0) in the BEiT-based code, in an epoch that began at `epoch_start`.

    As released, an epoch in which the anneal ends keeps the last annealed value; `end` comes with the next
    epoch.
    """
    if epoch_start >= anneal_iterations:
        return end
    return start + min(iteration, anneal_iterations - 1) * (end - start) / anneal_iterations
