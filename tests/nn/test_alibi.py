"""ALiBi: published slopes, and a gathered bias that equals gathering from the full one."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data2vec.errors import UserError
from data2vec.nn.alibi import (
    Alibi,
    alibi_bias,
    alibi_slopes,
    distances,
    grid_coordinates,
    sequence_coordinates,
)


def test_slopes_of_twelve_and_sixteen_heads() -> None:
    twelve = [2.0**-i for i in range(1, 9)] + [2.0**-i for i in (0.5, 1.5, 2.5, 3.5)]
    assert alibi_slopes(12).tolist() == pytest.approx(twelve)
    assert alibi_slopes(16).tolist() == pytest.approx([2 ** -(i / 2) for i in range(1, 17)])
    assert alibi_slopes(1).tolist() == [2.0**-8]


@settings(max_examples=30, derandomize=True, deadline=None)
@given(st.integers(1, 40))
def test_slopes_are_distinct_positive_and_at_most_one(heads: int) -> None:
    slopes = alibi_slopes(heads)
    assert slopes.shape == (heads,) and len(set(slopes.tolist())) == heads
    assert (slopes > 0).all() and (slopes < 1).all()


def test_grid_distances_are_those_between_row_major_patches() -> None:
    grid = grid_coordinates(3)
    assert grid[5].tolist() == [1.0, 2.0]
    assert distances(grid, "manhattan")[0, 5] == 3.0
    assert distances(grid, "euclidean")[0, 5] == pytest.approx(5**0.5)


@settings(max_examples=20, derandomize=True, deadline=None)
@given(
    st.sampled_from(["1d", "manhattan", "euclidean"]),
    st.sampled_from([2, 3, 8]),
    st.integers(1, 16),
    st.integers(0, 2),
    st.integers(0, 9),
)
def test_bias_of_visible_positions_is_the_gathered_full_bias(
    kind: str, heads: int, kept: int, extra: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    alibi = Alibi(heads, kind)
    alibi.scale.data.normal_(generator=generator)  # some are negative: clamped to 0
    visible = torch.stack([torch.randperm(16, generator=generator)[:kept] for _ in range(3)])
    full, part = alibi(16)[0], alibi(16, visible, extra)
    assert part.shape == (3, heads, kept + extra, kept + extra) and part.dtype == torch.float32
    for row, ids in zip(part, visible, strict=True):
        torch.testing.assert_close(row[:, extra:, extra:], full[:, ids][:, :, ids])
        assert not row[:, :extra].any() and not row[:, :, :extra].any()
    assert (full <= 0).all() and torch.equal(full, full.transpose(1, 2))
    assert not full[alibi.scale.flatten() < 0].any()


def test_gradient_reaches_positive_scales_only() -> None:
    alibi = Alibi(2)
    alibi.scale.data.copy_(torch.tensor([0.5, -0.5]).view(1, 1, 2, 1, 1))
    alibi(4).sum().backward()
    assert alibi.scale.grad is not None
    assert alibi.scale.grad.flatten().tolist() == [pytest.approx(-20 * alibi.slopes[0].item()), 0.0]


def test_one_scale_may_serve_all_heads() -> None:
    alibi = Alibi(4, scale_per_head=False)
    alibi.scale.data.fill_(2.0)
    expected = 2 * alibi_bias(sequence_coordinates(5), alibi_slopes(4))
    assert alibi.scale.numel() == 1 and torch.equal(alibi(5)[0], expected)


def test_mistakes_are_named() -> None:
    with pytest.raises(UserError, match="unknown distance chebyshev"):
        distances(grid_coordinates(2), "chebyshev")
    with pytest.raises(UserError, match="at least 1"):
        alibi_slopes(0)
