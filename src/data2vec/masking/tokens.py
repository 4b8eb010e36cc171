"""Token masks of BERT and of data2vec 1.0 on text: selected tokens become <mask>, a random token, or stay.

Special tokens are maskable, as in the released code; padding is not.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data2vec.errors import UserError
from data2vec.masking.counts import (
    BoolArray,
    IntArray,
    check_at_least,
    check_ratio,
    distinct_starts,
    random_counts,
    spans_from_starts,
)


@dataclass(frozen=True)
class TokenMasks:
    """What happens to each token of a batch; all arrays (rows, width)."""

    is_selected: BoolArray  # to be predicted by a masked language model: masked, randomised or kept
    is_masked: BoolArray  # becomes <mask>
    is_random: BoolArray  # becomes a random token


def token_masks(
    lengths: IntArray,
    width: int,
    ratio: float,
    rng: np.random.Generator,
    *,
    span: int = 1,
    keep: float = 0.0,
    randomise: float = 0.0,
) -> TokenMasks:
    """Selected tokens of right-padded sentences, split into masked, random and kept (BERT, section 3.1).

    Args:
        lengths: tokens of each sentence, special ones included, shape (rows,).
        width: tokens of the padded batch.
        ratio: int(ratio * length / span + U[0, 1)) distinct starts are drawn per sentence.
        rng: source of randomness.
        span: tokens from each start on; what leaves the sentence is dropped.
        keep: share of the selected tokens that stay as they are.
        randomise: share of the selected tokens that become a random token.

    Raises:
        UserError: for a ratio or share outside [0, 1], or shares that sum to more than 1.
    """
    check_ratio(ratio)
    check_ratio(keep, "share of kept tokens")
    check_ratio(randomise, "share of random tokens")
    check_at_least(span, 1, "mask span")
    if keep + randomise > 1:
        raise UserError(f"kept ({keep}) and random ({randomise}) shares sum to more than 1")
    lengths = np.asarray(lengths, dtype=np.int64)
    if lengths.max(initial=0) > width:
        raise UserError(f"a sentence of {lengths.max()} tokens does not fit a batch of width {width}")
    counts = random_counts(ratio * lengths / span, rng)
    is_selected = np.zeros((len(lengths), width), dtype=bool)
    starts = distinct_starts(counts, lengths, rng)
    is_selected[:, : starts.shape[1]] = starts
    is_selected = spans_from_starts(is_selected, span) & (np.arange(width) < lengths[:, None])
    fate = rng.random(is_selected.shape)
    is_random = is_selected & (fate < randomise)
    is_masked = is_selected & (fate >= randomise + keep)
    return TokenMasks(is_selected, is_masked, is_random)


def corrupt_tokens(
    tokens: NDArray[np.int64],
    masks: TokenMasks,
    mask_id: int,
    words: tuple[int, int],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """A copy of `tokens` (rows, width) with the masks applied; random ids come from range(*words)."""
    drawn = rng.integers(*words, size=tokens.shape)
    return np.where(masks.is_masked, mask_id, np.where(masks.is_random, drawn, tokens))
