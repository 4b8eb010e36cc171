"""Speech recognition by connectionist temporal classification: model, loss and masks of fine-tuning.

algorithms.md 9.4. The waveform convolutions stay as pre-trained with `speech.feature_grad_mult=0`.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from data2vec.masking import span_masks
from data2vec.methods.targets import EPS, normalise
from data2vec.nn.convolution import convolve_same
from data2vec.nn.encoder import Encoder, Masks

BLANK = 0


class ConvReader(nn.Module):
    """What letters are read from where labels are few: a learned mean of all blocks, then two convolutions.

    The mean weighs what enters the first block and what each block puts out, as SUPERB does with frozen encoders (Yang
    et al. 2021, section 3); each channel is then normalised over the frames of its recording, as targets are. The
    convolutions see 9 frames: on a frozen encoder, 17 did not find which frames belong to which letters of YESNO
    (reports/reference/README.md).
    """

    KERNEL = 5

    def __init__(self, dim: int, states: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(states))
        self.convs = nn.ModuleList(nn.Conv1d(dim, dim, self.KERNEL) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: list[Tensor], padding: Tensor | None) -> Tensor:
        """`states` (B, T, D) each, padding (B, T) -> (B, T, D); padding changes nothing before it."""
        share = self.weights.softmax(0)
        x = torch.stack([w * state.float() for w, state in zip(share, states, strict=True)]).sum(0)
        hidden = None if padding is None else padding.unsqueeze(-1)
        x = _over_frames(x, hidden)
        for conv in self.convs:
            assert isinstance(conv, nn.Conv1d)
            x = x if hidden is None else x.masked_fill(hidden, 0)
            x = self.dropout(F.gelu(convolve_same(conv, x)))
        return x


def _over_frames(x: Tensor, hidden: Tensor | None) -> Tensor:
    """Each channel of (B, T, D) with mean 0 and variance 1 over the frames that are not `hidden` (B, T, 1)."""
    if hidden is None:
        return normalise(x, "instance")
    count = (~hidden).sum(1, keepdim=True)
    centred = (x - x.masked_fill(hidden, 0).sum(1, keepdim=True) / count).masked_fill(hidden, 0)
    return centred * torch.rsqrt(centred.square().sum(1, keepdim=True) / count + EPS)


class CTCModel(nn.Module):
    """Encoder, dropout, and one linear layer over the letters; with `reader` convolutions between them.

    `init_scale` multiplies the linear layer's first weights. With 0 every letter begins equally likely on every frame;
    random weights put some letters on some frames by chance, which with few labels decides what is learned
    (docs/method.md).
    """

    def __init__(
        self,
        encoder: Encoder,
        dim: int,
        letters: int,
        dropout: float = 0.0,
        reader: bool = False,
        init_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.reader = ConvReader(dim, 1 + len(encoder.trunk.blocks), dropout) if reader else None
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(dim, letters)
        nn.init.xavier_uniform_(self.output.weight)
        self.output.weight.data.mul_(init_scale)
        nn.init.zeros_(self.output.bias)

    def forward(
        self, waveforms: Tensor, padding: Tensor | None = None, masks: Masks | None = None, frozen: bool = False
    ) -> Tensor:
        """Waveforms (B, samples) and the padding of their frames (B, T) -> logits (B, T, letters).

        A `frozen` encoder gets no gradient; its masks and dropouts stay (P-C3).
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
            if self.reader is None:
                x = self.encoder(waveforms, padding, masks).x
            else:
                states = self.encoder.states(waveforms, padding, masks)
        return self.output(self.dropout(x) if self.reader is None else self.reader(states, padding))


def log_probabilities(logits: Tensor, padding: Tensor | None) -> Tensor:
    """Log-softmax of (B, T, letters) in float32; frames of padding say blank for certain."""
    logits = logits.float()
    if padding is not None:
        certain = torch.full_like(logits[0, 0], -torch.inf)
        certain[BLANK] = 0.0
        logits = torch.where(padding.unsqueeze(-1), certain, logits)
    return logits.log_softmax(-1)


def ctc_loss(logits: Tensor, padding: Tensor | None, targets: Tensor, target_lengths: Tensor) -> Tensor:
    """Loss summed over the utterances; to be divided by their number. Utterances too short for their text count 0.

    Args:
        logits: (B, T, letters).
        padding: of frames, (B, T), or None.
        targets: letters of each utterance, (B, longest), right-padded with anything.
        target_lengths: letters of each utterance, (B,).
    """
    B, T, _ = logits.shape
    lengths = torch.full((B,), T, device=logits.device) if padding is None else (~padding).sum(1)
    log_probs = log_probabilities(logits, padding).transpose(0, 1)
    # The native kernel on a GPU too: cuDNN's knows no `zero_infinity`, and is used for some shapes only.
    with torch.backends.cudnn.flags(enabled=False):
        return F.ctc_loss(log_probs, targets, lengths, target_lengths, BLANK, "sum", zero_infinity=True)


@dataclass(frozen=True)
class SpecAugment:
    """Share and length of the spans of frames and of channels that are hidden in fine-tuning."""

    time_ratio: float = 0.65
    time_length: int = 10
    channel_ratio: float = 0.5
    channel_length: int = 64


def finetuning_masks(
    options: SpecAugment, frames: NDArray[np.int64], width: int, dim: int, rng: np.random.Generator
) -> Masks:
    """Hidden frames (B, width), never in padding, and hidden channels (B, dim) of utterances with `frames` frames.

    Nothing is removed from the sequence. Rows of a batch hide equally much, as released (pitfall P-A2).
    """
    rows = len(frames)
    is_masked = np.zeros((rows, width), dtype=bool)
    if options.time_ratio > 0:
        ratio, length = options.time_ratio, options.time_length
        is_masked = span_masks(rows, width, ratio, length, rng, valid=frames, min_spans=1)
    channels = None
    if options.channel_ratio > 0:
        ratio, length = options.channel_ratio, options.channel_length
        channels = torch.from_numpy(span_masks(rows, dim, ratio, length, rng))
    return Masks(torch.from_numpy(is_masked), None, channels)
