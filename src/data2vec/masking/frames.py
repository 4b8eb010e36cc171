"""Masks of a batch of speech: spans (data2vec 1.0) or blocks (2.0) over its frames, True = hidden."""

from typing import Protocol

import numpy as np

from data2vec.errors import UserError
from data2vec.masking.counts import BoolArray, IntArray, check_at_least
from data2vec.masking.sequences import block_masks_1d, span_masks


class FrameMaskConfig(Protocol):
    """What `sample_frame_masks` reads from a configuration."""

    @property
    def sampler(self) -> str:
        """The sampler, span or block_1d."""
        ...

    @property
    def ratio(self) -> float:
        """Share of frames to hide; for spans the share before overlaps."""
        ...

    @property
    def length(self) -> int:
        """Frames of a span or block."""
        ...

    @property
    def min_spans(self) -> int:
        """Least number of spans of an utterance."""
        ...

    @property
    def adjust(self) -> float:
        """Added to the share that decides how many blocks are drawn."""
        ...

    @property
    def counts(self) -> str:
        """Whether all rows hide equally many frames: equalised or free."""
        ...

    @property
    def expand_adjacent(self) -> bool:
        """Grow blocks instead of adding single frames."""
        ...

    @property
    def non_overlapping(self) -> bool:
        """Blocks from a lattice."""
        ...


def sample_frame_masks(
    config: FrameMaskConfig, frames: int, whole: IntArray, clones: int, rng: np.random.Generator
) -> BoolArray:
    """Masks of utterances cropped to `frames` frames; (utterances * clones, frames), clones in consecutive rows.

    `whole` (utterances,) counts the frames of each utterance before it was cropped. With `counts` free, blocks are
    drawn for the whole utterance and cropped at a place of their own, so that rows differ by some frames
    (as released, pitfalls P-I2 and P-I3).

    Raises:
        UserError: for settings that leave nothing visible or nothing hidden.
    """
    check_at_least(frames, 1, "sequence length")
    equal = config.counts == "equalised"
    if config.sampler == "span":
        rows, least = len(whole) * clones, config.min_spans
        masks = span_masks(rows, frames, config.ratio, config.length, rng, min_spans=least, equal_counts=equal)
    elif equal:
        masks = _blocks(config, len(whole) * clones, frames, rng)
    else:
        parts = []
        for length in whole.tolist():
            start = int(rng.integers(length - frames + 1))
            parts.append(_blocks(config, clones, length, rng)[:, start : start + frames])
        masks = np.concatenate(parts)
    if not masks.any():
        raise UserError(
            f"mask sampler {config.sampler} with ratio {config.ratio:g} hides none of {frames} frames; "
            "raise mask.ratio or use longer recordings"
        )
    if masks[0].all():
        raise UserError(f"mask ratio {config.ratio:g} hid all {frames} frames of a row; lower mask.ratio")
    return masks


def _blocks(config: FrameMaskConfig, rows: int, frames: int, rng: np.random.Generator) -> BoolArray:
    return block_masks_1d(
        rows,
        frames,
        config.ratio,
        config.length,
        rng,
        adjust=config.adjust,
        expand_adjacent=config.expand_adjacent,
        non_overlapping=config.non_overlapping,
    )
