"""What student and teacher see of a batch of sentences: token ids, masks, padding.

1.0 hides tokens by their ids, as BERT does (paper section 3.3, table 4; algorithms.md 3.2, 5); 2.0 draws random
positions for each view of a sentence (algorithms.md 3.6).
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from data2vec.config import RunConfig
from data2vec.data.vocabulary import PAD, WORDS
from data2vec.errors import UserError
from data2vec.masking import corrupt_tokens, random_masks, token_masks

Ids = NDArray[np.int64]
Bools = NDArray[np.bool_]


def text_views(
    tokens: Ids, lengths: NDArray[np.int64], rng: np.random.Generator, config: RunConfig
) -> Mapping[str, NDArray[np.generic]]:
    """What the method sees of right-padded sentences (B, T): inputs, masks, padding, by the fields of `Batch`.

    Padding is left out where there is none.

    Raises:
        UserError: nothing would be hidden, or everything would be.
    """
    if config.mask.ratio == 0:
        raise UserError("mask.ratio = 0 hides nothing, so there is nothing to learn; take one above 0")
    padding = np.arange(tokens.shape[1]) >= lengths[:, None]
    given: dict[str, NDArray[np.generic]] = {"padding": padding} if padding.any() else {}
    if config.method != "data2vec2":
        return given | _token_views(tokens, padding, config, rng)
    return given | {"inputs": tokens, "is_masked": visible_masks(padding, config.mask.clones, config.mask.ratio, rng)}


def _token_views(
    tokens: Ids, padding: Bools, config: RunConfig, rng: np.random.Generator
) -> dict[str, NDArray[np.generic]]:
    """1.0 and masked_lm: the student's ids with <mask>, the true ones (the teacher's), and where the loss is taken.

    That is literally at <mask> in 1.0, where kept and random tokens are not predicted (pitfall P-T2), and at every
    selected token in a masked language model (algorithms.md 8.3).
    """
    mask, mask_id = config.mask, config.data.vocab_size - 1
    lengths = (~padding).sum(1)
    drawn = token_masks(
        lengths, tokens.shape[1], mask.ratio, rng, span=mask.length, keep=mask.keep, randomise=mask.randomise
    )
    corrupted = corrupt_tokens(tokens, drawn, mask_id, (WORDS, mask_id), rng)
    found: dict[str, NDArray[np.generic]] = {
        "inputs": corrupted,
        "is_masked": drawn.is_selected if config.method == "masked_lm" else drawn.is_masked,
        "teacher_inputs": tokens,
    }
    if config.text.teacher_input == "masked_only":
        # as released (pitfall P-T1); a sentence without a selected token keeps its first: attention needs a key
        shown = drawn.is_selected.copy()
        shown[~shown.any(1), 0] = True
        return found | {"teacher_inputs": np.where(shown, tokens, PAD), "teacher_padding": ~shown}
    return found | ({"teacher_padding": padding} if padding.any() else {})


def visible_masks(padding: Bools, clones: int, ratio: float, rng: np.random.Generator) -> Bools:
    """2.0: `clones` random masks for each row of `padding` (B, T), equally many hidden in each; (B * clones, T).

    As released, padding may be hidden like any other position (pitfall P-I6).
    # differs: every view keeps a token that is not padding, since attention needs a key.
    """
    rows = padding.repeat(clones, axis=0)
    is_masked = random_masks(len(rows), padding.shape[1], ratio, rng)
    for row in np.flatnonzero((is_masked | rows).all(1)):
        is_masked[row, np.flatnonzero(~is_masked[row])[0]] = True
        is_masked[row, 0] = False
    return is_masked
