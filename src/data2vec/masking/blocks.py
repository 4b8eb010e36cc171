"""Block masks of data2vec 2.0 on a line of frames or a grid of patches (paper v2, section on masking).

Blocks are set around random centres (or on a coarse lattice), then single cells are set or cleared until
every row has exactly the wanted number; "inverse" means that the blocks are what stays visible.
"""

import math

import numpy as np

from data2vec.errors import UserError
from data2vec.masking.counts import (
    BoolArray,
    check_at_least,
    check_ratio,
    exact_count,
    refuse_all_hidden,
    smallest,
)


def block_masks(
    rows: int,
    shape: tuple[int, ...],
    ratio: float,
    length: int,
    rng: np.random.Generator,
    *,
    adjust: float = 0.0,
    inverse: bool = False,
    expand_adjacent: bool = False,
    non_overlapping: bool = False,
    equal_counts: bool = True,
) -> BoolArray:
    """Block masks of shape (rows, product of `shape`), True = hidden.

    Args:
        rows: number of independent masks.
        shape: (frames,) or (grid, grid).
        ratio: share of cells to hide.
        length: edge of a block in cells.
        rng: source of randomness.
        adjust: share added to the share that decides how many blocks are drawn; the final count ignores it.
        inverse: blocks stay visible and the rest is hidden, instead of the other way round.
        expand_adjacent: grow blocks from their borders, instead of adding single cells anywhere.
        non_overlapping: take blocks from a lattice of step `length`, instead of around random centres.
        equal_counts: bring every row to exactly the same count.

    Raises:
        UserError: for a ratio outside [0, 1] or one that hides every cell.
    """
    check_ratio(ratio)
    check_at_least(rows, 0, "number of masks")
    check_at_least(min(shape), 1, "mask size")
    check_at_least(length, 1, "mask block length")
    size = math.prod(shape)
    share = 1 - ratio if inverse else ratio
    target = int(size * share)
    if equal_counts:
        refuse_all_hidden(size - target if inverse else target, size, ratio, "positions")
    draw = _lattice_blocks if non_overlapping else _scattered_blocks
    is_set = draw(rows, shape, share + adjust, length, rng)
    if equal_counts:
        if expand_adjacent:
            is_set = _grow(is_set, shape, target, rng)
        is_set = exact_count(is_set, target, rng)
    is_hidden = ~is_set if inverse else is_set
    if rows and is_hidden.all(axis=1).any():
        raise UserError(f"mask ratio {ratio} with blocks of {length} hid all {size} positions of a row; lower it")
    return is_hidden


def _scattered_blocks(
    rows: int, shape: tuple[int, ...], share: float, length: int, rng: np.random.Generator
) -> BoolArray:
    """Blocks around centres drawn with replacement; what would leave the grid goes onto its border."""
    size, dims = math.prod(shape), len(shape)
    is_set = np.zeros((rows, size), dtype=bool)
    centres = max(0, int(size * (share / length**dims)))
    if centres == 0 or rows == 0:
        return is_set
    offsets = np.arange(length) - length // 2
    cells = np.zeros((rows, centres) + (1,) * dims, dtype=np.int64)
    for axis, extent in enumerate(shape):
        centre = rng.integers(extent, size=(rows, centres, 1))
        reach = np.clip(centre + offsets, 0, extent - 1)
        spread = [1] * dims
        spread[axis] = length
        cells = cells * extent + reach.reshape(rows, centres, *spread)
    np.put_along_axis(is_set, cells.reshape(rows, -1), True, axis=1)
    return is_set


def _lattice_blocks(
    rows: int, shape: tuple[int, ...], share: float, length: int, rng: np.random.Generator
) -> BoolArray:
    """Distinct tiles of a lattice of step `length`; tiles at the far border are cut off."""
    coarse = tuple(math.ceil(extent / length) for extent in shape)
    tiles = math.prod(coarse)
    is_set = smallest(rng.random((rows, tiles), dtype=np.float32), int(tiles * share))
    blocks = is_set.reshape(rows, *coarse)
    for axis, extent in enumerate(shape, start=1):
        blocks = np.take(blocks.repeat(length, axis=axis), np.arange(extent), axis=axis)
    return blocks.reshape(rows, -1)


def _grow(is_set: BoolArray, shape: tuple[int, ...], target: int, rng: np.random.Generator) -> BoolArray:
    """Set cells next to set cells, a ring at a time, until each row has at least `target` of them.

    # differs: a row without any block has nothing to grow from and is left to the exact count step, where the
    # released code stops with an assertion (fairseq, compute_block_mask_2d).
    """
    is_set = is_set.copy()
    while True:
        count = is_set.sum(axis=1)
        short = np.flatnonzero((count < target) & (count > 0))
        if short.size == 0:
            return is_set
        ring = _neighbours(is_set[short], shape) & ~is_set[short]
        keys = rng.random(ring.shape, dtype=np.float32)
        keys[~ring] += 1.0
        keys[is_set[short]] = -1.0
        grown = smallest(keys, target)  # all that is set, then cells of the ring, then (too many) others
        is_set[short] |= grown & ring


def _neighbours(is_set: BoolArray, shape: tuple[int, ...]) -> BoolArray:
    """True where a cell one step away along an axis is set."""
    cells = is_set.reshape(-1, *shape)
    near = np.zeros_like(cells)
    for axis in range(1, cells.ndim):
        to, source = np.moveaxis(near, axis, 0), np.moveaxis(cells, axis, 0)
        to[1:] |= source[:-1]
        to[:-1] |= source[1:]
    return near.reshape(is_set.shape)
