"""Argument checks and exact-count selection that all mask samplers share.

A sampler draws for many rows at once: instead of a loop over samples, one table of random keys is
partitioned.
"""

import numpy as np
from numpy.typing import NDArray

from data2vec.errors import UserError

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


def check_ratio(ratio: float, name: str = "mask ratio") -> None:
    """Raise UserError unless `ratio` is a share in [0, 1]."""
    if not 0.0 <= ratio <= 1.0:
        raise UserError(f"{name} is {ratio}; it must be between 0 and 1")


def check_at_least(value: int, least: int, name: str) -> None:
    """Raise UserError unless `value` is at least `least`."""
    if value < least:
        raise UserError(f"{name} is {value}; it must be at least {least}")


def smallest(keys: NDArray[np.float32], count: int) -> BoolArray:
    """True at the `count` smallest keys of each row, for keys of shape (rows, size)."""
    rows, size = keys.shape
    if count <= 0 or count >= size:
        return np.full((rows, size), count >= size)
    chosen = np.zeros((rows, size), dtype=bool)
    np.put_along_axis(chosen, np.argpartition(keys, count - 1, axis=1)[:, :count], True, axis=1)
    return chosen


def exact_count(is_set: BoolArray, count: int, rng: np.random.Generator) -> BoolArray:
    """Rows with exactly `count` set cells: surplus ones cleared, missing ones set, uniformly at random."""
    keys = rng.random(is_set.shape, dtype=np.float32)
    keys[~is_set] += 1.0  # set cells come first, in random order; then the others, in random order
    return smallest(keys, count)


def distinct_starts(counts: IntArray, limits: IntArray, rng: np.random.Generator) -> BoolArray:
    """True at counts[i] distinct positions drawn from range(limits[i]); shape (rows, max(limits))."""
    rows, width = len(counts), int(limits.max(initial=0))
    most = int(counts.max(initial=0))
    starts = np.zeros((rows, width), dtype=bool)
    if most == 0:
        return starts
    keys = rng.random((rows, width), dtype=np.float32)
    keys[np.arange(width) >= limits[:, None]] = np.inf
    order = np.argpartition(keys, most - 1, axis=1)[:, :most]
    ranks = np.argsort(np.take_along_axis(keys, order, axis=1), axis=1)
    order = np.take_along_axis(order, ranks, axis=1)
    np.put_along_axis(starts, order, np.arange(most) < counts[:, None], axis=1)
    return starts


def spans_from_starts(starts: BoolArray, span: int) -> BoolArray:
    """True at every cell that a run of `span` cells beginning at one of the starts reaches."""
    begun = np.cumsum(starts, axis=1, dtype=np.int32)
    ended = np.zeros_like(begun)
    ended[:, span:] = begun[:, :-span]
    return begun > ended


def random_counts(expected: NDArray[np.float64], rng: np.random.Generator) -> IntArray:
    """Integers whose mean is `expected`: rounded up with the probability of the fraction."""
    return (expected + rng.random(expected.shape)).astype(np.int64)


def refuse_all_hidden(hidden: int, size: int, ratio: float, unit: str) -> None:
    """Raise UserError if all of `size` cells would be hidden."""
    if hidden >= size:
        raise UserError(f"mask ratio {ratio:g} would hide all {size} {unit}; lower it: at least one must stay")
