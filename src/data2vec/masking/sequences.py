"""Mask samplers for sequences: exact random masks, wav2vec 2.0 spans, 1-D blocks. True = hidden.

Random: data2vec 2.0 text and MAE. Spans: data2vec 1.0 speech, wav2vec 2.0, CTC fine-tuning. Blocks:
data2vec 2.0 speech.
"""

import numpy as np
from numpy.typing import NDArray

from data2vec.errors import UserError
from data2vec.masking.blocks import block_masks
from data2vec.masking.counts import (
    BoolArray,
    check_at_least,
    check_ratio,
    distinct_starts,
    exact_count,
    random_counts,
    refuse_all_hidden,
    smallest,
    spans_from_starts,
)


def random_masks(rows: int, length: int, ratio: float, rng: np.random.Generator) -> BoolArray:
    """Masks (rows, length) that keep exactly int(length * (1 - ratio)) uniformly drawn positions visible.

    Raises:
        UserError: for a ratio outside [0, 1] or one that hides every position.
    """
    check_ratio(ratio)
    check_at_least(length, 1, "sequence length")
    kept = int(length * (1 - ratio))
    refuse_all_hidden(length - kept, length, ratio, "positions")
    return ~smallest(rng.random((rows, length), dtype=np.float32), kept)


def block_masks_1d(
    rows: int,
    length: int,
    ratio: float,
    block: int,
    rng: np.random.Generator,
    *,
    adjust: float = 0.0,
    inverse: bool = False,
    expand_adjacent: bool = False,
    non_overlapping: bool = False,
    equal_counts: bool = True,
) -> BoolArray:
    """Masks (rows, length) of blocks of `block` frames; see `block_masks` for the options.

    Raises:
        UserError: for a ratio outside [0, 1] or one that hides every frame.
    """
    return block_masks(
        rows,
        (length,),
        ratio,
        block,
        rng,
        adjust=adjust,
        inverse=inverse,
        expand_adjacent=expand_adjacent,
        non_overlapping=non_overlapping,
        equal_counts=equal_counts,
    )


def span_masks(
    rows: int,
    length: int,
    ratio: float,
    span: int,
    rng: np.random.Generator,
    *,
    valid: NDArray[np.int64] | None = None,
    min_spans: int = 0,
    equal_counts: bool = True,
    add_masks: bool = False,
) -> BoolArray:
    """Masks (rows, length) of overlapping spans for a batch (wav2vec 2.0, section 3.1; data2vec 1.0 speech).

    Args:
        rows: sequences in the batch.
        length: frames of the padded batch.
        ratio: ratio / span is the probability of a frame to begin a span; overlaps lower the hidden share.
        span: frames of a span.
        rng: source of randomness.
        valid: frames of each sequence that are not padding, shape (rows,); None = all.
        min_spans: least number of spans of a sequence.
        equal_counts: bring all rows to the smallest count by unmasking single random frames.
        add_masks: with equal_counts, bring all rows to the largest count instead, by masking single random
            frames; as released, these may be padding.

    Raises:
        UserError: for a ratio outside [0, 1], or if a sequence would be hidden completely.
    """
    check_ratio(ratio)
    check_at_least(span, 1, "mask span")
    check_at_least(length, 1, "sequence length")
    frames = np.full(rows, length) if valid is None else np.asarray(valid, dtype=np.int64)
    counts = np.maximum(min_spans, random_counts(ratio * frames / span, rng))
    # As released: the last start is span + 1 before the end, so that the last frame is never hidden; where
    # that leaves too few starts, there is one more than needed.
    limits = np.where(frames - span <= counts, counts + 1, frames - span)
    is_hidden = np.zeros((rows, length), dtype=bool)
    starts = distinct_starts(counts, limits, rng)[:, :length]
    is_hidden[:, : starts.shape[1]] = starts
    is_hidden = spans_from_starts(is_hidden, span) & (np.arange(length) < frames[:, None])
    hidden = is_hidden.sum(axis=1)
    if (hidden >= frames).any():
        short = int(frames[hidden >= frames].min())
        raise UserError(
            f"spans of {span} frames would hide all of a sequence of {short} frames; use shorter spans or a "
            "smaller minimum, or drop sequences that short"
        )
    if equal_counts and rows:
        is_hidden = _equalise(is_hidden, int(hidden.max() if add_masks else hidden.min()), rng)
    return is_hidden


def _equalise(is_hidden: BoolArray, count: int, rng: np.random.Generator) -> BoolArray:
    uneven = is_hidden.sum(axis=1) != count
    is_hidden[uneven] = exact_count(is_hidden[uneven], count, rng)
    return is_hidden
