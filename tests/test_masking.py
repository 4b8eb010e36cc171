"""Mask samplers: every setting gives a valid mask or a clear error, and each mask hides what it says."""

import time
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data2vec.errors import UserError
from data2vec.masking import (
    IMAGE_SAMPLERS,
    beit_block_masks,
    block_masks_1d,
    block_masks_2d,
    corrupt_tokens,
    random_masks,
    sample_image_masks,
    span_masks,
    token_masks,
)

shares = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1.0, 0.5, 0.8]))
fast = settings(max_examples=60, derandomize=True, deadline=None)


@dataclass
class Config:
    """Mask settings as a run's configuration has them."""

    sampler: str = "inverse_block"
    ratio: float = 0.8
    length: int = 3
    adjust: float = 0.07
    num_patches: int | None = None
    min_block: int = 4
    max_block: int | None = None
    expand_adjacent: bool = False
    non_overlapping: bool = False


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def kept_count(size: int, ratio: float) -> int:
    return int(size * (1 - ratio))


@fast
@given(
    st.sampled_from(IMAGE_SAMPLERS),
    shares,
    st.integers(1, 12),
    st.integers(1, 6),
    st.floats(0, 1),
    st.booleans(),
    st.booleans(),
    st.integers(0, 9),
)
def test_any_image_setting_gives_a_mask_or_a_clear_error(
    sampler: str, ratio: float, grid: int, length: int, adjust: float, expand: bool, lattice: bool, seed: int
) -> None:
    config = Config(sampler, ratio, length, adjust, expand_adjacent=expand, non_overlapping=lattice)
    try:
        masks = sample_image_masks(config, 5, grid, rng(seed))
    except UserError as error:
        assert "\n" not in str(error)
        return
    size = grid**2
    hidden = masks.sum(axis=1)
    assert masks.shape == (5, size) and masks.dtype == bool
    assert (hidden < size).all() and hidden.any()
    if sampler == "beit_block":
        assert (hidden <= round(ratio * size)).all()
    else:
        assert (hidden == (int(size * ratio) if sampler == "block" else size - kept_count(size, ratio))).all()


@fast
@given(
    shares,
    st.integers(1, 40),
    st.integers(1, 12),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(0, 9),
)
def test_any_line_of_blocks_has_the_exact_count_or_a_clear_error(
    ratio: float, length: int, block: int, inverse: bool, expand: bool, lattice: bool, seed: int
) -> None:
    options = {"inverse": inverse, "expand_adjacent": expand, "non_overlapping": lattice, "adjust": 0.05}
    hidden = length - kept_count(length, ratio) if inverse else int(length * ratio)
    if hidden == length:
        with pytest.raises(UserError, match="would hide all"):
            block_masks_1d(4, length, ratio, block, rng(seed), **options)
        return
    assert (block_masks_1d(4, length, ratio, block, rng(seed), **options).sum(axis=1) == hidden).all()


@fast
@given(
    shares,
    st.lists(st.integers(1, 60), min_size=1, max_size=6),
    st.integers(1, 15),
    st.integers(0, 3),
    st.booleans(),
    st.booleans(),
    st.integers(0, 9),
)
def test_any_span_setting_gives_a_mask_or_a_clear_error(
    ratio: float, lengths: list[int], span: int, min_spans: int, equal: bool, add: bool, seed: int
) -> None:
    valid, width = np.array(lengths), max(lengths)
    options = {"valid": valid, "min_spans": min_spans, "equal_counts": equal, "add_masks": add}
    try:
        masks = span_masks(len(lengths), width, ratio, span, rng(seed), **options)
    except UserError as error:
        assert "would hide all" in str(error)
        return
    hidden = masks.sum(axis=1)
    if equal:
        assert len(set(hidden)) == 1
    if not (equal and add):  # as released, masks added to reach the largest count may fall on padding
        assert not masks[np.arange(width) >= valid[:, None]].any()
        assert (hidden < valid).all()


@fast
@given(
    shares,
    st.lists(st.integers(0, 60), min_size=1, max_size=6),
    st.integers(1, 5),
    st.floats(0, 0.5),
    st.floats(0, 0.5),
    st.integers(0, 9),
)
def test_any_token_setting_selects_within_the_sentence_and_splits_what_it_selects(
    ratio: float, lengths: list[int], span: int, keep: float, randomise: float, seed: int
) -> None:
    lengths_array, width = np.array(lengths), 64
    masks = token_masks(lengths_array, width, ratio, rng(seed), span=span, keep=keep, randomise=randomise)
    assert not masks.is_selected[np.arange(width) >= lengths_array[:, None]].any()
    assert not (masks.is_masked & masks.is_random).any()
    assert (masks.is_selected >= (masks.is_masked | masks.is_random)).all()
    if span == 1:
        expected = ratio * lengths_array
        assert (np.abs(masks.is_selected.sum(axis=1) - expected) <= 1).all()
    if keep == 0:
        assert (masks.is_selected == (masks.is_masked | masks.is_random)).all()


def test_random_masks_hide_what_the_published_recipes_hide() -> None:
    assert (random_masks(8, 196, 0.75, rng()).sum(axis=1) == 147).all()  # MAE
    assert ((~random_masks(8, 512, 0.48, rng())).sum(axis=1) == 266).all()  # data2vec 2.0 text base


@pytest.mark.parametrize(
    ("grid", "ratio", "adjust", "visible"),
    [(14, 0.8, 0.07, 39), (14, 0.75, 0.1, 49), (16, 0.75, 0.1, 64)],
    ids=["base", "large", "huge"],
)
def test_inverse_blocks_keep_what_the_published_recipes_keep(
    grid: int, ratio: float, adjust: float, visible: int
) -> None:
    masks = block_masks_2d(16, grid, ratio, 3, rng(), adjust=adjust)
    assert ((~masks).sum(axis=1) == visible).all()


def test_blocks_without_the_count_step_are_whole_squares_pushed_onto_the_border() -> None:
    masks = block_masks_2d(4000, 6, 0.25, 3, rng(), inverse=False, equal_counts=False)  # one block each
    counts = set(masks.sum(axis=1).tolist())
    assert counts == {4, 6, 9}  # corner, edge, inside
    first = masks[masks.sum(axis=1) == 9][0].reshape(6, 6)
    assert first.any(axis=0).sum() == 3 and first.any(axis=1).sum() == 3


def test_blocks_are_drawn_uniformly_in_large_batches() -> None:
    """np.unravel_index of (rows, 1) repeats one block beyond NumPy's buffer of 8192 (seen with 2.4.6)."""
    masks = block_masks_2d(20_000, 8, 0.8, 3, rng(), adjust=0.07)
    kept = 1 - masks[8192:].mean(axis=0).reshape(8, 8)[1:-1, 1:-1]
    assert abs(kept - 0.21).max() < 0.02


def test_even_blocks_reach_further_to_the_left() -> None:
    masks = block_masks_1d(20_000, 20, 0.2, 4, rng(), equal_counts=False)  # one block each, offsets -2 to 1
    assert masks[:, 0].mean() == pytest.approx(3 / 20, abs=0.01)  # centres 0, 1 and 2
    assert masks[:, -1].mean() == pytest.approx(2 / 20, abs=0.01)  # centres 18 and 19


def test_lattice_blocks_do_not_overlap() -> None:
    masks = block_masks_2d(200, 9, 4 / 9, 3, rng(), inverse=False, non_overlapping=True, equal_counts=False)
    tiles = masks.reshape(200, 3, 3, 3, 3).sum(axis=(2, 4))
    assert set(np.unique(tiles)) == {0, 9}
    assert ((tiles == 9).sum(axis=(1, 2)) == 4).all()


def test_expanded_blocks_have_no_isolated_cells() -> None:
    masks = block_masks_1d(500, 100, 0.5, 5, rng(), expand_adjacent=True)
    padded = np.pad(masks, ((0, 0), (1, 1)))
    isolated = padded[:, 1:-1] & ~padded[:, :-2] & ~padded[:, 2:]
    short_of_count = block_masks_1d(500, 100, 0.5, 5, rng(), equal_counts=False).sum(axis=1) <= 50
    assert not isolated[short_of_count].any()


def test_beit_blocks_stay_below_their_number_and_reach_it_mostly() -> None:
    counts = beit_block_masks(500, 14, 120, rng(), min_block=16).sum(axis=1)
    assert counts.max() == 120 and counts.min() >= 100 and (counts == 120).mean() > 0.6


def test_span_masks_never_hide_the_last_frame() -> None:
    masks = span_masks(400, 100, 0.65, 10, rng(), equal_counts=False)
    assert not masks[:, -1].any() and masks[:, -2].any() and masks[:, 0].any()
    assert masks.mean() == pytest.approx(0.49, abs=0.01)


def test_span_masks_keep_whole_spans_when_counts_may_differ() -> None:
    masks = np.pad(span_masks(100, 80, 0.5, 6, rng(), equal_counts=False), ((0, 0), (1, 1)))
    change = np.diff(masks.astype(int), axis=1)
    assert (np.argwhere(change == -1)[:, 1] - np.argwhere(change == 1)[:, 1]).min() >= 6


def test_corrupted_tokens_differ_only_where_selected() -> None:
    tokens = rng(1).integers(4, 50, size=(200, 40))
    masks = token_masks(np.full(200, 40), 40, 0.3, rng(), keep=0.1, randomise=0.1)
    out = corrupt_tokens(tokens, masks, 50, (4, 51), rng())
    assert (out[~masks.is_selected] == tokens[~masks.is_selected]).all()
    assert (out[masks.is_masked] == 50).all() and out[masks.is_random].min() >= 4
    kept = masks.is_selected & ~masks.is_masked & ~masks.is_random
    assert (out[kept] == tokens[kept]).all() and kept.sum() / masks.is_selected.sum() == pytest.approx(0.1, abs=0.03)


def test_the_generator_decides() -> None:
    config = Config()
    first, again = sample_image_masks(config, 8, 8, rng(3)), sample_image_masks(config, 8, 8, rng(3))
    assert (first == again).all() and (first != sample_image_masks(config, 8, 8, rng(4))).any()


@pytest.mark.parametrize(
    ("config", "grid", "message"),
    [
        (Config(ratio=1.2), 8, "between 0 and 1"),
        (Config(ratio=float("nan")), 8, "between 0 and 1"),
        (Config(ratio=1.0), 8, "would hide all 64"),
        (Config(ratio=0.0), 8, "hides none of the 64"),
        (Config(length=9), 8, "does not fit the 8x8 grid"),
        (Config(length=0), 8, "at least 1"),
        (Config(sampler="inverse_blok"), 8, "did you mean inverse_block"),
        (Config(sampler="beit_block", num_patches=64), 8, "would hide all 64"),
        (Config(sampler="beit_block", min_block=0), 8, "min_block is 0"),
        (Config(sampler="beit_block", min_block=200, num_patches=40), 8, "lower min_block"),
        (Config(sampler="random"), 0, "patch grid is 0"),
    ],
)
def test_impossible_settings_are_named(config: Config, grid: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        sample_image_masks(config, 4, grid, rng())


def test_masks_for_a_batch_cost_little() -> None:
    """Ten times the measured cost on one slow core: this catches a loop over samples, not noise."""
    for config in (Config(), Config(sampler="beit_block", ratio=0.6)):
        sample_image_masks(config, 512, 8, rng())
        best = min(_seconds(config) for _ in range(5))
        assert best < 0.05


def _seconds(config: Config) -> float:
    start = time.perf_counter()
    sample_image_masks(config, 512, 8, rng())
    return time.perf_counter() - start
