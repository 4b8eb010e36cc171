"""The statistics that golden mask cases list, and the comparison of our sample of masks with the stored one.

Masks are compared as distributions: counts without spread must be equal, and everything else must lie
within what two independent samples differ by (a limit of standard errors that a true match exceeds about
once in a million).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .compare import Case

MEAN_LIMIT = 5.0  # standard errors
SPREAD_LIMIT = 6.0  # standard errors of a standard deviation, whose own estimate is rough
SHARE_LIMIT = 5.5  # for each of hundreds of positions or bins
LEEWAY = 8  # counts by which rare shares may differ, where standard errors mean little
BEYOND = 25  # independent draws that may lie beyond the other sample's extreme: chance 2 ** -25

Values = NDArray[Any]
Masks = NDArray[np.bool_]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Samples:
    """Sizes of the stored and of our sample; `cluster` rows that depend on each other count as one."""

    stored: int
    ours: int
    cluster: int = 1

    def error(self, values: Values, row_of: Rows | None = None) -> float:
        """Standard error of (our mean - stored mean) of `values`, whose rows `row_of` tells (None: one each).

        Values of a row, and of rows that depend on each other, may be correlated: their deviations are
        summed first.
        """
        row_of = np.arange(len(values)) if row_of is None else row_of
        sums = np.bincount(row_of // self.cluster, weights=values - values.mean())
        return float(np.sqrt((sums**2).sum() * (1 + self.ours / self.stored)) / len(values))


def compare_values(
    case: Case,
    name: str,
    values: Values,
    stored: dict[str, float],
    samples: Samples,
    row_of: Rows | None = None,
) -> None:
    """Mean, standard deviation and extremes of a quantity, of which a row may hold several values."""
    mean, std = float(stored["mean"]), float(stored.get("std", 0.0))
    if "std" in stored and std < 1e-9:  # the same in every row
        for key in ("mean", "min", "max"):
            case.check_number(f"{name}.{key}", float(getattr(values, key)()), float(stored[key]), 1e-6)
        return
    case.check_number(f"{name}.mean", float(values.mean()), mean, MEAN_LIMIT * samples.error(values, row_of))
    error_of_variance = samples.error((values - values.mean()) ** 2, row_of)
    case.check_number(f"{name}.std", float(values.std()), std, SPREAD_LIMIT * error_of_variance / (2 * std))
    limit = BEYOND * samples.cluster * max(1.0, samples.ours / samples.stored)
    case.check_number(f"{name}.min", float((values < stored["min"] - 1e-6).sum()), 0.0, limit)
    case.check_number(f"{name}.max", float((values > stored["max"] + 1e-6).sum()), 0.0, limit)


def compare_share(
    case: Case, name: str, is_so: Masks, stored: float, samples: Samples, row_of: Rows | None = None
) -> None:
    """The share of rows (or of things in rows) for which something is so."""
    ours, number = float(is_so.mean()), len(is_so) * min(1.0, samples.stored / samples.ours)
    pooled = (ours + stored) / 2
    # A sample without a single hit knows no spread; the pooled share does.
    least = np.sqrt(
        max(pooled * (1 - pooled), 0.0) * samples.cluster * (1 + samples.ours / samples.stored) / len(is_so)
    )
    error = max(samples.error(is_so.astype(float), row_of), float(least))
    case.check_number(name, ours, stored, SHARE_LIMIT * error + LEEWAY * samples.cluster / number)


def compare_shares(
    case: Case,
    name: str,
    values: Values,
    stored: dict[float, float],
    samples: Samples,
    row_of: Rows | None = None,
) -> None:
    """A distribution given as share by value."""
    for key in sorted(set(np.unique(values).tolist()) | set(stored)):
        compare_share(case, f"{name}[{key:g}]", values == key, stored.get(key, 0.0), samples, row_of)


def runs(masks: Masks) -> tuple[Values, Values, Rows]:
    """Maximal runs of hidden cells: number in each row; length and row of each."""
    padded = np.pad(masks, ((0, 0), (1, 1)))
    change = np.diff(padded.astype(np.int8), axis=1)
    begin, end = np.argwhere(change == 1), np.argwhere(change == -1)
    number = np.bincount(begin[:, 0], minlength=len(masks))
    return number.astype(float), (end[:, 1] - begin[:, 1]).astype(float), begin[:, 0]


def components(cells: Masks) -> tuple[Values, Values, Values, Rows]:
    """4-connected components of (rows, grid, grid): number and largest size by row; size and row of each."""
    links = np.zeros((3, 3, 3), dtype=int)
    links[1] = ndimage.generate_binary_structure(2, 1)  # none between rows
    labels, total = ndimage.label(cells, structure=links)
    sizes = np.bincount(labels.ravel(), minlength=total + 1)[1:]
    row_of = np.zeros(total + 1, dtype=np.int64)
    row_of[labels.ravel()] = np.repeat(np.arange(len(cells)), cells[0].size)
    row_of = row_of[1:]
    number = np.bincount(row_of, minlength=len(cells))
    largest = np.zeros(len(cells))
    np.maximum.at(largest, row_of, sizes)
    return number.astype(float), largest, sizes.astype(float), row_of


def bounding_box_area(cells: Masks) -> Values:
    """Area of the smallest rectangle that holds the set cells of each row."""

    def extent(line: Masks) -> Values:
        size = line.shape[1]
        return (size - line.argmax(axis=1) - line[:, ::-1].argmax(axis=1)).astype(float)

    return extent(cells.any(axis=2)) * extent(cells.any(axis=1))


def mean_neighbours(cells: Masks) -> Values:
    """Set 4-neighbours of a set cell, averaged within each row."""
    pairs = (cells[:, 1:] & cells[:, :-1]).sum(axis=(1, 2)) + (cells[:, :, 1:] & cells[:, :, :-1]).sum(axis=(1, 2))
    return 2 * pairs / cells.sum(axis=(1, 2))
