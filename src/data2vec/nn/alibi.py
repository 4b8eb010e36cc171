"""Attention biases that fall with distance (ALiBi, data2vec 2.0): slopes, distances, learned scale.

A bias is computed from the coordinates of the positions that take part, so that kept positions cost only
what they need: index the coordinates with them before, never the full bias after.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from data2vec.errors import UserError

METRICS = ("manhattan", "euclidean")


def alibi_slopes(heads: int) -> Tensor:
    """Positive slope of each head, shape (heads,), float32.

    A power of two gives 2^(-8 i / heads); other counts take the slopes of the next lower power of two, then
    every other slope of the next higher one.
    """
    if heads < 1:
        raise UserError(f"number of attention heads is {heads}; it must be at least 1")
    lower = 1 << (heads.bit_length() - 1)
    exponents = [8 * (i + 1) / lower for i in range(lower)]
    exponents += [8 * (2 * i + 1) / (2 * lower) for i in range(heads - lower)]
    return torch.tensor([2.0**-exponent for exponent in exponents])


def sequence_coordinates(length: int, device: torch.device | None = None) -> Tensor:
    """Coordinates of `length` frames or tokens, shape (length, 1), float32."""
    return torch.arange(length, dtype=torch.float32, device=device)[:, None]


def grid_coordinates(grid: int, device: torch.device | None = None) -> Tensor:
    """(row, column) of the patches of a grid, row-major, shape (grid * grid, 2), float32."""
    cells = torch.arange(grid, dtype=torch.float32, device=device)
    return torch.cartesian_prod(cells, cells).reshape(-1, 2)


def distances(coordinates: Tensor, metric: str = "manhattan") -> Tensor:
    """Distance between all pairs of positions: (..., N, axes) -> (..., N, N), float32."""
    difference = coordinates[..., :, None, :] - coordinates[..., None, :, :]
    if metric == "manhattan":
        return difference.abs().sum(-1)
    if metric == "euclidean":
        return difference.square().sum(-1).sqrt()
    raise UserError(f"unknown distance {metric} (known: {', '.join(METRICS)})")


def alibi_bias(
    coordinates: Tensor,
    slopes: Tensor,
    scale: Tensor | None = None,
    metric: str = "manhattan",
    num_extra_tokens: int = 0,
) -> Tensor:
    """Bias -slope * distance to add to attention logits: (..., N, axes) -> (..., heads, N, N), float32.

    Args:
        coordinates: of the positions that attend; for kept positions `sequence_coordinates(T)[ids_keep]`.
        slopes: one per head, shape (heads,).
        scale: learned factor, any shape of `heads` elements or of one for all; clamped at 0 from below.
        metric: "manhattan" (also for sequences) or "euclidean".
        num_extra_tokens: tokens in front of the others whose bias is 0.
    """
    slopes = slopes.float()
    if scale is not None:
        slopes = slopes * scale.float().clamp(min=0).reshape(-1)
    bias = -slopes[:, None, None] * distances(coordinates.float(), metric)[..., None, :, :]
    return pad(bias, (num_extra_tokens, 0, num_extra_tokens, 0)) if num_extra_tokens else bias


class Alibi(nn.Module):
    """Distance bias with a learned scale, shared by all layers that are handed it, or one for each of `layers`.

    `scale` has the released shape (layers, 1, heads or 1, 1, 1) and starts at 1.
    """

    slopes: Tensor

    def __init__(
        self,
        heads: int,
        kind: Literal["1d", "manhattan", "euclidean"] = "1d",
        scale_per_head: bool = True,
        layers: int = 1,
        learned: bool = True,
    ) -> None:
        """Scales start at 1; the slopes follow from the number of heads."""
        super().__init__()
        self.kind = kind
        self.scale = nn.Parameter(torch.ones(layers, 1, heads if scale_per_head else 1, 1, 1), requires_grad=learned)
        self.register_buffer("slopes", alibi_slopes(heads), persistent=False)

    def forward(self, length: int, visible: Tensor | None = None, extra_tokens: int = 0) -> Tensor:
        """Bias of extra tokens and visible ones of `length` positions: (rows or 1, heads, N, N), float32.

        `visible` (rows, V) holds indices of positions, None = all; the grid kinds take positions as a square.
        With a scale for each layer, the bias has an axis of layers in front.
        """
        if self.kind == "1d":
            coordinates, metric = sequence_coordinates(length, self.slopes.device), "manhattan"
        else:
            coordinates, metric = grid_coordinates(math.isqrt(length), self.slopes.device), self.kind
        coordinates = coordinates[None] if visible is None else coordinates[visible]
        if len(self.scale) == 1:
            return alibi_bias(coordinates, self.slopes, self.scale, metric, extra_tokens)
        return alibi_bias(coordinates, self.slopes, None, metric, extra_tokens) * self.scale.float().clamp(min=0)
