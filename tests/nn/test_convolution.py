"""Convolutions over sequences and the positions made of them."""

import copy

import pytest
import torch
from torch import nn

from data2vec.nn.convolution import ConvPositions, WeightNormPositions, convolve, convolve_same


@pytest.mark.parametrize(("kernel", "stride", "groups"), [(3, 2, 1), (10, 5, 1), (2, 2, 2), (1, 1, 4)])
def test_channels_last_convolution_is_the_plain_one(kernel: int, stride: int, groups: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv1d(4, 8, kernel, stride, groups=groups)
    x = torch.randn(2, 31, 4)
    assert torch.allclose(convolve(conv, x), conv(x.transpose(1, 2)).transpose(1, 2), atol=1e-6)


@pytest.mark.parametrize("kernel", [1, 2, 3, 6, 19])
@pytest.mark.parametrize("length", [1, 5, 40])
def test_same_length_for_odd_and_even_kernels(kernel: int, length: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv1d(4, 4, kernel, groups=2)
    x = torch.randn(2, length, 4)
    padded = nn.functional.pad(x.transpose(1, 2), (kernel // 2, kernel - 1 - kernel // 2))
    assert torch.allclose(convolve_same(conv, x), conv(padded).transpose(1, 2), atol=1e-6)


def test_positions_see_as_far_as_their_width() -> None:
    torch.manual_seed(0)
    positions = ConvPositions(8, 15, 3, 2)
    x = torch.randn(1, 60, 8)
    other = x.clone()
    other[:, 30] += 1
    moved = (positions(x) != positions(other)).any(-1)[0].nonzero().flatten()
    assert (moved.min(), moved.max()) == (30 - 3 * 2, 30 + 3 * 2)


def test_positions_are_blind_to_padding() -> None:
    torch.manual_seed(0)
    positions = ConvPositions(8, 15, 3, 2, norm_before=True)
    x = torch.randn(1, 40, 8)
    padding = torch.arange(40)[None] >= 25
    assert torch.allclose(positions(x, padding)[:, :25], positions(x[:, :25]), atol=1e-6)


def test_weight_normalised_positions_can_be_copied_and_keep_their_gains() -> None:
    """A teacher is a copy; the reference's own cannot be made under current torch."""
    torch.manual_seed(0)
    positions = WeightNormPositions(8, 16, 2)
    x = torch.randn(2, 20, 8)
    twin = copy.deepcopy(positions)
    assert torch.equal(twin(x), positions(x)) and twin(x).shape == x.shape
    gains = dict(twin.named_parameters())["conv.parametrizations.weight.original0"]
    assert gains.shape == (1, 1, 16)
    with torch.no_grad():
        gains.mul_(2)
    assert torch.allclose(twin.conv.weight, 2 * positions.conv.weight)
    assert not torch.equal(twin(x), positions(x))
