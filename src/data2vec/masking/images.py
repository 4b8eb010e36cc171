"""Mask samplers for grids of image patches: BEiT blocks (data2vec 1.0) and inverse blocks (data2vec 2.0).

All return booleans of shape (rows, grid * grid), patches row-major, True = hidden.
"""

import difflib
import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from data2vec.errors import UserError
from data2vec.masking.blocks import block_masks
from data2vec.masking.counts import BoolArray, check_at_least, check_ratio, refuse_all_hidden
from data2vec.masking.sequences import random_masks

IMAGE_SAMPLERS = ("beit_block", "inverse_block", "block", "random")

_ATTEMPTS = 10  # tries to place one BEiT block before a mask is taken as finished
_LOG_ASPECT = math.log(1 / 0.3)  # block height : width between 0.3 and 1 / 0.3


class ImageMaskConfig(Protocol):
    """What `sample_image_masks` reads from a configuration; each sampler uses the part that concerns it."""

    @property
    def sampler(self) -> str:
        """One of IMAGE_SAMPLERS."""
        ...

    @property
    def ratio(self) -> float:
        """Share of patches to hide."""
        ...

    @property
    def length(self) -> int:
        """Edge of a block (block, inverse_block)."""
        ...

    @property
    def adjust(self) -> float:
        """Added to the share that decides how many blocks are drawn."""
        ...

    @property
    def num_patches(self) -> int | None:
        """Hidden at most by beit_block; None = by ratio."""
        ...

    @property
    def min_block(self) -> int:
        """Smallest beit_block, in patches."""
        ...

    @property
    def max_block(self) -> int | None:
        """Most that one beit_block adds; None = num_patches."""
        ...

    @property
    def expand_adjacent(self) -> bool:
        """Grow blocks instead of adding single patches."""
        ...

    @property
    def non_overlapping(self) -> bool:
        """Blocks from a lattice."""
        ...


def sample_image_masks(config: ImageMaskConfig, rows: int, grid: int, rng: np.random.Generator) -> BoolArray:
    """Masks for `rows` images (or clones) of grid x grid patches, as configured; shape (rows, grid * grid).

    Only "beit_block" gives rows with different counts.

    Raises:
        UserError: for an unknown sampler, and for settings that leave nothing visible or nothing hidden.
    """
    check_at_least(grid, 1, "patch grid")
    check_ratio(config.ratio)
    if config.sampler == "beit_block":
        num_patches = config.num_patches
        if num_patches is None:
            num_patches = round(config.ratio * grid**2)
        masks = beit_block_masks(rows, grid, num_patches, rng, min_block=config.min_block, max_block=config.max_block)
    elif config.sampler in ("inverse_block", "block"):
        masks = block_masks_2d(
            rows,
            grid,
            config.ratio,
            config.length,
            rng,
            adjust=config.adjust,
            inverse=config.sampler == "inverse_block",
            expand_adjacent=config.expand_adjacent,
            non_overlapping=config.non_overlapping,
        )
    elif config.sampler == "random":
        masks = random_masks(rows, grid**2, config.ratio, rng)
    else:
        near = difflib.get_close_matches(config.sampler, IMAGE_SAMPLERS, n=1)
        hint = f", did you mean {near[0]}?" if near else ""
        raise UserError(f"unknown mask sampler {config.sampler}{hint} (known: {', '.join(IMAGE_SAMPLERS)})")
    if rows and not masks.any():
        raise UserError(
            f"mask sampler {config.sampler} with ratio {config.ratio} hides none of the {grid**2} patches; "
            "raise the ratio or, for beit_block, lower min_block"
        )
    return masks


def block_masks_2d(
    rows: int,
    grid: int,
    ratio: float,
    length: int,
    rng: np.random.Generator,
    *,
    adjust: float = 0.0,
    inverse: bool = True,
    expand_adjacent: bool = False,
    non_overlapping: bool = False,
    equal_counts: bool = True,
) -> BoolArray:
    """Square blocks of `length` x `length` patches; see `block_masks` for the options.

    Raises:
        UserError: for a block larger than the grid, a ratio outside [0, 1] or one that hides every patch.
    """
    if length > grid:
        raise UserError(f"mask block of {length}x{length} patches does not fit the {grid}x{grid} grid")
    return block_masks(
        rows,
        (grid, grid),
        ratio,
        length,
        rng,
        adjust=adjust,
        inverse=inverse,
        expand_adjacent=expand_adjacent,
        non_overlapping=non_overlapping,
        equal_counts=equal_counts,
    )


def beit_block_masks(
    rows: int,
    grid: int,
    num_patches: int,
    rng: np.random.Generator,
    *,
    min_block: int = 16,
    max_block: int | None = None,
) -> BoolArray:
    """At most `num_patches` hidden patches per row, in overlapping rectangles (BEiT; data2vec 1.0 on images).

    Rectangles are added while the budget lasts; ten failed tries end a mask, so counts differ between rows.
    `max_block` limits what one rectangle may add (None = num_patches).

    Raises:
        UserError: if `num_patches` would leave nothing visible or a limit is below 1.
    """
    check_at_least(grid, 1, "patch grid")
    check_at_least(num_patches, 0, "num_patches")
    check_at_least(min_block, 1, "min_block")
    max_block = max(num_patches, 1) if max_block is None else max_block
    check_at_least(max_block, 1, "max_block")
    refuse_all_hidden(num_patches, grid**2, num_patches / grid**2, "patches")
    is_hidden = np.zeros((rows, grid, grid), dtype=bool)
    count = np.zeros(rows, dtype=np.int64)
    active = np.arange(rows if num_patches else 0)
    while active.size:
        budget = np.minimum(num_patches - count[active], max_block)
        box, new = _rectangles(budget, grid, min_block, is_hidden[active], rng)
        is_accepted = (new > 0) & (new <= budget[:, None])
        first, placed = is_accepted.argmax(axis=1), is_accepted.any(axis=1)
        active, first = active[placed], first[placed]
        top, left, bottom, right = (edge[placed, first, None] for edge in box)
        cells = np.arange(grid)
        in_rows, in_cols = (cells >= top) & (cells < bottom), (cells >= left) & (cells < right)
        is_hidden[active] |= in_rows[:, :, None] & in_cols[:, None, :]
        count[active] += new[placed, first]
        active = active[count[active] < num_patches]
    return is_hidden.reshape(rows, grid**2)


def _rectangles(
    budget: NDArray[np.int64], grid: int, min_block: int, is_hidden: BoolArray, rng: np.random.Generator
) -> tuple[tuple[NDArray[np.int64], ...], NDArray[np.int64]]:
    """Attempts at one more block: edges (top, left, bottom, right) and newly hidden patches, by mask.

    Attempts do not depend on each other, so they can be drawn together and the first acceptable one taken.
    """
    draws = rng.random((4, len(budget), _ATTEMPTS))
    area = min_block + (budget[:, None] - min_block) * draws[0]  # the budget may be the lower end
    aspect = np.exp(_LOG_ASPECT * (2 * draws[1] - 1))
    height = np.rint(np.sqrt(area * aspect)).astype(np.int64)
    width = np.rint(np.sqrt(area / aspect)).astype(np.int64)
    fits = (height < grid) & (width < grid)
    height, width = np.where(fits, height, 0), np.where(fits, width, 0)  # an empty box is never accepted
    top = (draws[2] * (grid - height + 1)).astype(np.int64)
    left = (draws[3] * (grid - width + 1)).astype(np.int64)
    bottom, right = top + height, left + width
    sums = np.zeros((len(budget), grid + 1, grid + 1), dtype=np.int32)  # hidden above and left of a corner
    np.cumsum(is_hidden, axis=1, out=sums[:, 1:, 1:])
    np.cumsum(sums[:, 1:, 1:], axis=2, out=sums[:, 1:, 1:])
    row = np.arange(len(budget))[:, None]
    hidden = sums[row, bottom, right] - sums[row, top, right] - sums[row, bottom, left] + sums[row, top, left]
    return (top, left, bottom, right), height * width - hidden
