"""Convolutions over sequences (B, T, C), and the positional embeddings made of them.

data2vec 1.0 and 2.0 speech: a chain of grouped convolutions (algorithms.md 2.2); wav2vec 2.0: one wide
weight-normalised convolution.
"""

import math

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm


def convolve(conv: nn.Conv1d, x: Tensor, padding: int = 0) -> Tensor:
    """Apply `conv` to (B, T, in) -> (B, T', out).

    As a picture of height 1 whose channels lie last in memory, so that a norm over channels before or after it
    needs no transposition.
    """
    picture = x.unsqueeze(1).permute(0, 3, 1, 2)
    y = F.conv2d(picture, conv.weight.unsqueeze(2), conv.bias, (1, conv.stride[0]), (0, padding), 1, conv.groups)
    return y.permute(0, 2, 3, 1).squeeze(1)


def convolve_same(conv: nn.Conv1d, x: Tensor) -> Tensor:
    """Apply `conv` with T' = T; an even kernel reaches one position further to the left."""
    kernel = conv.kernel_size[0]
    y = convolve(conv, x, kernel // 2)
    return y[:, :-1] if kernel % 2 == 0 else y


class ConvPositions(nn.Module):
    """Positions from a chain of `depth` blocks: grouped convolution, channel norm without affine, GELU.

    The chain sees about `width` positions. `norm_before` puts a layer norm in front of it. With `zero_padding` it
    sees nothing of padding, so that a sequence has the same positions however far it is padded.
    """

    def __init__(
        self, dim: int, width: int, depth: int, groups: int, norm_before: bool = False, zero_padding: bool = True
    ) -> None:
        super().__init__()
        kernel = max(3, width // depth)
        self.zero_padding = zero_padding
        self.norm = nn.LayerNorm(dim) if norm_before else nn.Identity()
        self.convs = nn.ModuleList(nn.Conv1d(dim, dim, kernel, groups=groups) for _ in range(depth))

    def forward(self, x: Tensor, padding: Tensor | None = None) -> Tensor:
        """(B, T, D) features, (B, T) True at padding -> (B, T, D) positions, to be added to the features."""
        x = self.norm(x)
        for conv in self.convs:
            assert isinstance(conv, nn.Conv1d)
            # differs: as released, what a convolution writes into the padding reaches back through the next one.
            if padding is not None and self.zero_padding:
                x = x.masked_fill(padding.unsqueeze(-1), 0)
            x = F.gelu(F.layer_norm(convolve_same(conv, x), x.shape[-1:]))
        return x


class WeightNormPositions(nn.Module):
    """Positions of wav2vec 2.0: one grouped convolution with a gain per kernel position, then GELU."""

    def __init__(self, dim: int, width: int, groups: int) -> None:
        super().__init__()
        conv = nn.Conv1d(dim, dim, width, groups=groups)
        nn.init.normal_(conv.weight, std=math.sqrt(4 / (width * dim)))
        assert conv.bias is not None
        nn.init.zeros_(conv.bias)
        self.conv = weight_norm(conv, dim=2)

    def forward(self, x: Tensor, padding: Tensor | None = None) -> Tensor:
        """(B, T, D) features, (B, T) True at padding -> (B, T, D) positions, to be added to the features."""
        if padding is not None:
            x = x.masked_fill(padding.unsqueeze(-1), 0)
        return F.gelu(convolve_same(self.conv, x))
