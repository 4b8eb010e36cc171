"""Targets and loss against formulas written out in numpy, in every variant that an ablation chooses."""

import numpy as np
import pytest
import torch

from data2vec.methods.targets import EPS, build_targets, regression_loss
from data2vec.sections import TargetConfig


def features(count: int = 3) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 5, 4, generator=generator) * (i + 1) + i for i in range(count)]


@pytest.mark.parametrize("kind, axes", [("none", None), ("instance", (1,)), ("layer", (2,)), ("batch", (0, 1))])
def test_targets_are_the_mean_of_the_normalised_last_blocks(kind: str, axes: tuple[int, ...] | None) -> None:
    config = TargetConfig(top_k=2, norm_layer=[] if kind == "none" else [kind], norm_average=[])
    expected = np.zeros((2, 5, 4))
    for y in (f.double().numpy() for f in features()[-2:]):
        if axes is not None:
            y = (y - y.mean(axes, keepdims=True)) / np.sqrt(y.var(axes, keepdims=True) + EPS)
        expected += y / 2
    found = build_targets(features(), config)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("beta", [0.0, "l1", 0.25, 1.0, 4.0])
def test_losses_follow_their_formulas(beta: float | str) -> None:
    pred, target = features(2)
    error = np.abs((pred - target).double().numpy())
    if beta == "l1":
        expected = error
    elif beta == 0:
        expected = error**2
    else:
        expected = np.where(error < beta, error**2 / (2 * beta), error - beta / 2)
    found = regression_loss(pred, target, beta)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-5)
