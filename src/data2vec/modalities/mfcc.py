"""Mel-frequency cepstral coefficients of the frames that the waveform encoder sees: HuBERT's first units."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data2vec.data.audio import SAMPLE_RATE
from data2vec.nn.waveform import Layers, samples_of

COEFFICIENTS = 13
MFCC_SIZE = 3 * COEFFICIENTS
MEL_BANDS = 23


class FrameMFCC(nn.Module):
    """13 coefficients with their first and second differences (HuBERT, section IV-B), one vector a frame.

    The window is what a frame sees (25 ms for the published stack). Coefficients are computed at twice the rate of
    frames (every 10 ms), differences are taken of these, and every second vector is kept.
    """

    def __init__(self, layers: Layers) -> None:
        from torchaudio.transforms import MFCC  # type: ignore[import-untyped]  # no other method needs it

        super().__init__()
        window = samples_of(1, layers)
        hop = math.prod(stride for _, _, stride in layers)
        self.every = 2 - hop % 2
        size = max(512, 2 ** math.ceil(math.log2(window)))
        self.padding = ((size - window) // 2, size - window - (size - window) // 2)
        settings = {"n_fft": size, "win_length": window, "hop_length": hop // self.every, "n_mels": MEL_BANDS}
        self.mfcc = MFCC(SAMPLE_RATE, COEFFICIENTS, log_mels=True, melkwargs=settings | {"center": False})

    def forward(self, waveforms: Tensor) -> Tensor:
        """(B, samples) -> (B, T, 39), with as many frames as the waveform encoder makes."""
        from torchaudio.functional import compute_deltas  # type: ignore[import-untyped]

        static = self.mfcc(F.pad(waveforms, self.padding))
        first = compute_deltas(static)
        return torch.cat([static, first, compute_deltas(first)], 1).transpose(1, 2)[:, :: self.every]
