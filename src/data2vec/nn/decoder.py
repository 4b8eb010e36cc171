"""The convolutional decoder of data2vec 2.0 (paper section 3.3; algorithms.md 7.5)."""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Conv = nn.Conv1d | nn.Conv2d


class ConvDecoder(nn.Module):
    """Grouped convolutions over the full-length sequence, then a projection to the target's width.

    `dims` is 1 for sequences and 2 for square grids of patches. Each layer is convolution, channel norm
    without affine, GELU, plus the layer's input where the widths agree.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        dim: int,
        layers: int,
        kernel: int,
        groups: int,
        dims: int,
        residual: bool = True,
        projection_layers: int = 1,
        projection_ratio: float = 2.0,
        input_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dims, self.kernel, self.residual = dims, kernel, residual
        convolution = nn.Conv1d if dims == 1 else nn.Conv2d
        widths = [input_dim] + [dim] * layers
        self.convs = nn.ModuleList(
            convolution(i, o, kernel, padding=kernel // 2, groups=groups) for i, o in itertools.pairwise(widths)
        )
        widths = [dim] + [int(dim * projection_ratio)] * (projection_layers - 1) + [output_dim]
        self.proj = nn.ModuleList(nn.Linear(i, o) for i, o in itertools.pairwise(widths))
        self.input_dropout = nn.Dropout(input_dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, input_dim) -> (B, T, output_dim); T must be a square number for `dims` 2."""
        B, T, _ = x.shape
        side = round(T**0.5) if self.dims == 2 else 1
        # One path for both: a sequence is a grid of height 1. With channels last in memory, norm and
        # convolution need no transposition.
        x = x.view(B, side, T // side, -1)
        for conv in self.convs:
            assert isinstance(conv, Conv)
            y = self.layer(conv, x)
            x = x + y if self.residual and y.shape == x.shape else y
        x = x.reshape(B, T, -1)
        for i, linear in enumerate(self.proj):
            x = linear(x if i == 0 else F.gelu(x))
        return x

    def layer(self, conv: Conv, x: Tensor) -> Tensor:
        """One convolution with norm and GELU, before the residual; (B, H, W, in) -> (B, H, W, dim)."""
        y = self._convolve(conv, x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return F.gelu(F.layer_norm(y, y.shape[-1:]))

    def _convolve(self, conv: Conv, x: Tensor) -> Tensor:
        weight = conv.weight if self.dims == 2 else conv.weight.unsqueeze(2)
        pad = self.kernel // 2
        y = F.conv2d(x, weight, conv.bias, padding=(pad if self.dims == 2 else 0, pad), groups=conv.groups)
        if self.kernel % 2 == 0:  # an even kernel yields one position too many
            y = y[..., :-1] if self.dims == 1 else y[..., :-1, :-1]
        return y


def scatter_visible(visible: Tensor, ids: Tensor, full: Tensor) -> Tensor:
    """Put encoded visible positions back into a full-length sequence.

    `visible` (R, V, D), `ids` (R, V) int64 their positions, `full` (R, T, D) what stands elsewhere (noise).
    """
    R, T, D = full.shape
    flat = (torch.arange(R, device=ids.device).unsqueeze(1) * T + ids).flatten()
    base = full.to(visible.dtype).reshape(R * T, D)
    return base.index_copy(0, flat, visible.reshape(-1, D)).view(R, T, D)


def masked_noise(shape: tuple[int, ...], std: float, device: torch.device) -> Tensor:
    """N(0, std) filling for hidden decoder inputs (2.0 has no mask token), zeros for std 0; float32."""
    noise = torch.empty(shape, device=device)  # drawn in float32: six times faster than bfloat16 on a CPU
    return noise.normal_(0, std) if std > 0 else noise.zero_()
