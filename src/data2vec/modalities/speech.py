"""Speech: waveform encoder, and the encoders of data2vec 1.0 and 2.0 built from the configuration.

algorithms.md 2.1, 2.2, 4, 7.2.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from data2vec.config import RunConfig
from data2vec.masking import sample_frame_masks
from data2vec.modalities import stages
from data2vec.modalities.stages import build_alibi, build_prenet, build_trunk
from data2vec.nn.convolution import ConvPositions, WeightNormPositions
from data2vec.nn.encoder import Encoder, Masks, MaskTokenContext, VisibleContext
from data2vec.nn.waveform import WaveformStack, frames_of


class WaveformEncoder(nn.Module):
    """Waveforms (B, samples) at 16 kHz -> frames of 20 ms (B, T, D): convolutions, layer norm, projection."""

    def __init__(self, stack: WaveformStack, channels: int, dim: int, norm_eps: float = 1e-5) -> None:
        super().__init__()
        self.stack = stack
        self.norm = nn.LayerNorm(channels, eps=norm_eps)
        self.proj = nn.Linear(channels, dim)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Frames of waveforms that are padded with zeros; `frame_padding` tells which are padding."""
        return self.proj(self.norm(self.stack(waveforms)))


def build_positions(config: RunConfig) -> ConvPositions | WeightNormPositions:
    """The convolutional positions: a chain, or for depth 1 wav2vec 2.0's single convolution (not in 2.0)."""
    speech, dim = config.speech, config.model.dim
    if speech.pos_conv_depth == 1 and config.method != "data2vec2":
        return WeightNormPositions(dim, speech.pos_conv_width, speech.pos_conv_groups)
    width, depth, groups = speech.pos_conv_width, speech.pos_conv_depth, speech.pos_conv_groups
    zeroed = speech.pos_conv_padding == "zeroed"
    return ConvPositions(dim, width, depth, groups, speech.pos_conv_norm, zeroed)


def build_encoder(config: RunConfig) -> Encoder:
    """The encoder of the configured method for speech.

    # differs: 1.0 as released appends a hidden frame where their number is odd (P-A7); it changes nothing.
    """
    model, speech = config.model, config.speech
    stack = WaveformStack(speech.conv_layers, speech.conv_norm, speech.conv_bias, speech.feature_grad_mult)
    norm_eps = model.norm_eps if model.norm == "post" else None
    context: nn.Module
    if config.method != "data2vec2":  # wav2vec 2.0 and HuBERT hide frames as 1.0 does
        positions = build_positions(config)
        context = MaskTokenContext(model.dim, 0, model.extra_tokens, positions, norm_eps, model.input_dropout)
        nn.init.uniform_(context.mask_token)
    else:
        context = VisibleContext(
            model.dim,
            None,
            build_alibi(config),
            model.extra_tokens,
            norm_eps,
            model.input_dropout,
            build_prenet(config),
            build_positions(config),
            speech.hidden_std,
            not config.mask.visible_only,
        )
    local = WaveformEncoder(stack, speech.conv_layers[-1][0], model.dim, speech.feature_norm_eps)
    return Encoder(local, context, build_trunk(config), model.extra_tokens)


def build_decoder(config: RunConfig) -> nn.Module:
    """2.0's decoder for speech."""
    return stages.build_decoder(config, dims=1)


def draw_masks(config: RunConfig, samples: int, lengths: NDArray[np.int64], rng: np.random.Generator) -> Masks:
    """Masks of recordings of `lengths` samples that were cropped to `samples`, for every view of them."""
    second = config.method == "data2vec2"
    layers = config.speech.conv_layers
    frames, whole = frames_of(samples, layers), frames_of(lengths, layers)
    drawn = sample_frame_masks(config.mask, frames, whole, config.mask.clones if second else 1, rng)
    return Masks.from_numpy(drawn, first_row_decides=second and config.mask.counts == "free")
