"""Training targets: the teacher's top-K block features, normalised and averaged, and the regression loss.

data2vec paper section 3.3, algorithms.md 4.5, 5.4, 6.2, 7.7, 7.8.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from data2vec.sections import TargetConfig

EPS = 1e-5  # of every normalisation of targets; no affine parameters, biased variance


def normalise(y: Tensor, kind: str) -> Tensor:
    """Normalise (B, T, D) in one of the ways of the papers.

    `batch`: per channel over rows and positions; `instance`: per row and channel over positions (padding
    included, as released); `layer`: per position over channels.
    """
    if kind == "layer":
        return F.layer_norm(y, y.shape[-1:], eps=EPS)
    dims = (0, 1) if kind == "batch" else (1,)
    # two plain means: torch.var_mean over a middle axis is six times slower on a CPU
    centred = y - y.mean(dims, keepdim=True)
    return centred * torch.rsqrt(centred.square().mean(dims, keepdim=True) + EPS)


def select_layers(config: TargetConfig, depth: int) -> list[int]:
    """Indices of the blocks whose features are averaged: `layers` if given, else the last `top_k`."""
    return list(config.layers) if config.layers else list(range(depth - config.top_k, depth))


def build_targets(features: Sequence[Tensor], config: TargetConfig) -> Tensor:
    """Average the chosen blocks' features, each (B, T, D), into targets (B, T, D), float32."""
    total: Tensor | None = None
    layers = select_layers(config, len(features))
    for i in layers:
        y = features[i].float()
        for kind in config.norm_layer:
            y = normalise(y, kind)
        total = y if total is None else total + y
    assert total is not None
    total = total / len(layers)
    for kind in config.norm_average:
        total = normalise(total, kind)
    return total


def regression_loss(pred: Tensor, target: Tensor, beta: float | Literal["l1"]) -> Tensor:
    """Elementwise loss in float32: squared error for `beta` 0, absolute for "l1", else smooth L1 with that `beta`."""
    pred, target = pred.float(), target.float()
    if beta == "l1":
        return (pred - target).abs()
    if beta == 0:
        return (pred - target).square()
    return F.smooth_l1_loss(pred, target.expand_as(pred), reduction="none", beta=beta)


def loss_scale(scale: str | float, dim: int) -> float:
    """Factor of the summed loss: `inv_sqrt_dim` = 1/sqrt(D), `mean` = 1/D, or a number."""
    named = {"inv_sqrt_dim": dim**-0.5, "mean": 1.0 / dim}
    return named[scale] if isinstance(scale, str) else scale


class Moments(NamedTuple):
    """Sums over hidden positions, float64: their number (), of the values (D,), of their squares (D,).

    Those of several micro-batches or processes add up.
    """

    number: Tensor
    total: Tensor
    squares: Tensor

    def spread(self) -> Tensor:
        """Collapse monitor: mean over channels of the standard deviation over hidden positions, ().

        sqrt(var + 1e-6) with the unbiased variance (algorithms.md 1.7). Near 0 means that every position gets the
        same prediction.
        """
        variance = (self.squares - self.total.square() / self.number).clamp(min=0) / (self.number - 1)
        return (variance + 1e-6).sqrt().mean()


@torch.no_grad()
def masked_moments(y: Tensor, is_masked: Tensor) -> Moments:
    """Of the hidden positions `is_masked` (R, T) of `y` (R, T, D)."""
    hidden = y[is_masked].double()
    return Moments(is_masked.sum().double(), hidden.sum(0), hidden.square().sum(0))


@torch.no_grad()
def position_moments(y: Tensor, padding: Tensor | None = None) -> Moments:
    """Of what each position of `y` (B, T, D) has in common over samples, without chance: what depends on no input.

    Its spread is that of `y` where a teacher ignores its input, and near 0 where nothing depends on the position alone.
    Positions that are not `padding` (B, T) in fewer than two samples do not count.
    """
    there = torch.ones(y.shape[:2], device=y.device) if padding is None else ~padding
    there = there.double().unsqueeze(-1)
    count = there.sum(0)
    mean = (y * there).sum(0) / count.clamp(min=1)
    chance = ((y - mean).square() * there).sum(0) / ((count - 1) * count).clamp(min=1)  # what a mean varies by itself
    shared = count >= 2
    number = shared.sum().double().clamp(min=2)
    return Moments(number, (mean * shared).sum(0), ((mean.square() - chance) * shared).sum(0))
