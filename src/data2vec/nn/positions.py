"""Positional information: fixed sine-cosine tables, and learned relative biases for grids of patches.

Reference: algorithms.md 6.1 (relative position bias of 1.0 vision) and 7.2 (fixed positions of 2.0).
"""

import math

import torch
from torch import Tensor, nn


def sincos_positions_2d(grid: int, dim: int) -> Tensor:
    """Fixed 2-d positions, (grid * grid, dim) float32; first half of the channels = column, second = row."""
    frequencies = 10000.0 ** (-torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    row, column = torch.meshgrid(torch.arange(grid), torch.arange(grid), indexing="ij")
    halves = []
    for position in (column, row):
        angle = position.reshape(-1, 1).double() * frequencies
        halves.append(torch.cat([angle.sin(), angle.cos()], dim=1))
    return torch.cat(halves, dim=1).float()


def resize_positions(table: Tensor, length: int) -> Tensor:
    """Positions (1, length, D) of a smaller or larger square grid from a table (1, T, D) of one, bicubic."""
    if table.shape[1] == length:
        return table
    old, new = math.isqrt(table.shape[1]), math.isqrt(length)
    grid = table.view(1, old, old, -1).permute(0, 3, 1, 2)
    resized = torch.nn.functional.interpolate(grid, size=(new, new), mode="bicubic")
    return resized.permute(0, 2, 3, 1).reshape(1, length, -1)


def sinusoidal_positions(rows: int, dim: int) -> Tensor:
    """Fixed positions of a sequence, (rows, dim) float32: all sines, then all cosines, of frequencies 1 to 1e-4."""
    half = dim // 2
    frequencies = torch.exp(-torch.arange(half) * (math.log(10000.0) / max(1, half - 1)))
    angle = torch.arange(rows)[:, None] * frequencies
    table = torch.cat([angle.sin(), angle.cos()], dim=1)
    return torch.nn.functional.pad(table, (0, dim - 2 * half))


def relative_position_index(grid: int) -> Tensor:
    """Row of the bias table for each (query, key) pair of a class token and grid * grid patches, int64.

    Shape (1 + grid**2, 1 + grid**2). The last three rows of the table serve class-to-any, any-to-class and
    class-to-class.
    """
    row, column = torch.meshgrid(torch.arange(grid), torch.arange(grid), indexing="ij")
    row, column = row.flatten(), column.flatten()
    span = 2 * grid - 1
    index = torch.empty(grid * grid + 1, grid * grid + 1, dtype=torch.long)
    index[1:, 1:] = (row[:, None] - row + grid - 1) * span + (column[:, None] - column + grid - 1)
    index[0, :], index[:, 0], index[0, 0] = span * span, span * span + 1, span * span + 2
    return index


class RelativePositionBias(nn.Module):
    """Learned bias for the scores between patches of a grid, class token first."""

    index: Tensor

    def __init__(self, grid: int, heads: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros((2 * grid - 1) ** 2 + 3, heads))
        # differs: the index is not part of the state, so that averaging cannot corrupt it (pitfall P-V1)
        self.register_buffer("index", relative_position_index(grid), persistent=False)

    def forward(self) -> Tensor:
        """Return the bias, (heads, 1 + grid**2, 1 + grid**2)."""
        return self.table[self.index].permute(2, 0, 1)
