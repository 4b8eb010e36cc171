"""From a waveform to frames: the strided convolution stack of wav2vec 2.0 and data2vec (algorithms.md 2.1)."""

from collections.abc import Sequence
from typing import Literal, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from data2vec.nn.convolution import convolve

Layers = Sequence[tuple[int, int, int]]  # (channels, kernel, stride) of each convolution
Length = TypeVar("Length", int, Tensor, NDArray[np.int64])


def frames_of(samples: Length, layers: Layers) -> Length:
    """Frames that the stack makes of so many samples, 0 if too few: 49 of 16,000 for the published stack."""
    for _, kernel, stride in layers:
        samples = (samples - kernel) // stride + 1
    return samples * (samples > 0)


def samples_of(frames: int, layers: Layers) -> int:
    """Fewest samples that give so many frames: 400 for one frame of the published stack."""
    for _, kernel, stride in reversed(layers):
        frames = (frames - 1) * stride + kernel
    return frames


def frame_padding(lengths: Tensor, samples: int, layers: Layers) -> Tensor | None:
    """Which frames are padding, (B, T) bool, for waveforms of `lengths` (B,) padded to `samples`.

    None if none is, which spares the attention a mask.
    """
    if bool((lengths >= samples).all()):
        return None
    frames = torch.arange(frames_of(samples, layers), device=lengths.device)
    return frames >= frames_of(lengths, layers).unsqueeze(1)


class WaveformStack(nn.Module):
    """Convolutions without padding, each with norm and GELU.

    `norm` "layer": layer norm over channels after every convolution (data2vec, wav2vec 2.0 large); "group": each
    channel normalised over time after the first convolution only (wav2vec 2.0 base), padding included. The
    gradient that enters the stack is multiplied by `grad_scale`; 0 runs it without one.
    """

    def __init__(
        self, layers: Layers, norm: Literal["layer", "group"] = "layer", bias: bool = False, grad_scale: float = 1.0
    ) -> None:
        super().__init__()
        self.grad_scale = grad_scale
        widths = [1, *(channels for channels, _, _ in layers)]
        self.convs = nn.ModuleList(
            nn.Conv1d(width, channels, kernel, stride, bias=bias)
            for width, (channels, kernel, stride) in zip(widths[:-1], layers, strict=True)
        )
        for conv in self.convs:
            assert isinstance(conv, nn.Conv1d)
            nn.init.kaiming_normal_(conv.weight)
        if norm == "layer":
            self.norms = nn.ModuleList(nn.LayerNorm(channels) for channels in widths[1:])
        else:
            self.norms = nn.ModuleList([nn.GroupNorm(widths[1], widths[1])])

    def forward(self, waveforms: Tensor) -> Tensor:
        """(B, samples) -> (B, T, C)."""
        if self.grad_scale == 0:
            with torch.no_grad():
                return self._layers(waveforms)
        x = self._layers(waveforms)
        if self.grad_scale != 1 and x.requires_grad:
            x.register_hook(lambda gradient: gradient * self.grad_scale)
        return x

    def layer(self, i: int, x: Tensor) -> Tensor:
        """Convolution `i` with norm and GELU, (B, T, in) -> (B, T', out)."""
        conv = self.convs[i]
        assert isinstance(conv, nn.Conv1d)
        y = convolve(conv, x)
        if i < len(self.norms):
            norm = self.norms[i]
            y = norm(y) if isinstance(norm, nn.LayerNorm) else norm(y.transpose(1, 2)).transpose(1, 2)
        return F.gelu(y)

    def _layers(self, waveforms: Tensor) -> Tensor:
        x = waveforms.unsqueeze(-1)
        for i in range(len(self.convs)):
            x = self.layer(i, x)
        return x
