"""Effective rank: the number of directions that features use."""

import pytest
import torch

from data2vec.training.collapse import effective_rank


@pytest.mark.parametrize("directions", [1, 3, 8])
def test_equally_used_directions_are_counted(directions: int) -> None:
    basis = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(0))).Q[:directions]
    features = torch.cat([basis, -basis])  # centred, with equal singular values
    assert effective_rank(features + 5.0) == pytest.approx(directions, rel=1e-3)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_features_that_are_all_alike_have_rank_one(value: float) -> None:
    assert effective_rank(torch.full((10, 4), value)) == 1.0
