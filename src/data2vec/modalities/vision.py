"""Images: patch embedding, and the encoders of data2vec 1.0 and 2.0 built from the configuration.

algorithms.md 2.4, 6.1, 7.2.
"""

import torch
from torch import Tensor, nn

from data2vec.config import RunConfig
from data2vec.nn.alibi import Alibi
from data2vec.nn.decoder import ConvDecoder
from data2vec.nn.encoder import Encoder, MaskTokenContext, VisibleContext
from data2vec.nn.positions import RelativePositionBias, sincos_positions_2d
from data2vec.nn.transformer import Block, Transformer


class PatchEmbedding(nn.Module):
    """Images (B, C, H, W) -> patches (B, T, D), row-major; also the pixel targets of those patches."""

    def __init__(self, channels: int, patch_size: int, dim: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv2d(channels, dim, patch_size, patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """Project every patch with one linear map."""
        # a matrix product over unfolded patches: the same arithmetic as the strided convolution, faster
        return nn.functional.linear(self.patches(images), self.proj.weight.flatten(1), self.proj.bias)

    def patches(self, images: Tensor) -> Tensor:
        """Pixels of every patch, (B, T, C * p * p)."""
        B, C, H, W = images.shape
        p = self.patch_size
        x = images.view(B, C, H // p, p, W // p, p).permute(0, 2, 4, 1, 3, 5)
        return x.reshape(B, (H // p) * (W // p), C * p * p)

    def reconstruction_targets(self, images: Tensor) -> Tensor:
        """Pixels of every patch, standardised per patch, (B, T, p * p * C) in (row, column, channel) order."""
        B, C, H, W = images.shape
        p = self.patch_size
        x = images.view(B, C, H // p, p, W // p, p).permute(0, 2, 4, 3, 5, 1)
        x = x.reshape(B, (H // p) * (W // p), C * p * p).float()
        variance, mean = torch.var_mean(x, -1, keepdim=True)
        return (x - mean) / (variance + 1e-6).sqrt()


def _blocks(config: RunConfig, drop_rates: list[float]) -> list[Block]:
    model, grid = config.model, config.vision.grid
    return [
        Block(
            model.dim,
            model.heads,
            model.mlp_ratio,
            model.norm,
            model.norm_eps,
            model.qkv_bias,
            model.dropout,
            model.attention_dropout,
            model.activation_dropout,
            model.post_mlp_dropout,
            rate,
            model.layer_scale,
            RelativePositionBias(grid, model.heads) if model.relative_positions == "per_block" else None,
        )
        for rate in drop_rates
    ]


def drop_path_rates(rate: float, prenet_depth: int, depth: int) -> tuple[list[float], list[float]]:
    """Stochastic depth of the prenet and of the trunk.

    Without prenet: linear from 0 to `rate`. With prenet the trunk starts at its `prenet_depth`-th value of a
    range over the trunk's depth, as released (algorithms.md 9.1, pitfall P-I18).
    """
    ramp = torch.linspace(0, rate, depth).tolist()
    if prenet_depth == 0:
        return [], ramp
    prenet = torch.linspace(ramp[0], ramp[prenet_depth - 1], prenet_depth).tolist()
    return prenet, torch.linspace(ramp[min(prenet_depth, depth - 1)], ramp[-1], depth).tolist()


def build_encoder(config: RunConfig) -> Encoder:
    """The encoder of the configured method for images."""
    model, vision = config.model, config.vision
    patches = vision.grid**2
    prenet_rates, rates = drop_path_rates(model.drop_path, model.prenet_depth, model.depth)
    shared_bias = model.relative_positions == "shared"
    trunk = Transformer(
        _blocks(config, rates),
        nn.LayerNorm(model.dim, eps=model.norm_eps) if model.final_norm else None,
        RelativePositionBias(vision.grid, model.heads) if shared_bias else None,
        model.layer_drop,
    )
    context: nn.Module
    if config.method == "data2vec":
        learned = patches if model.absolute_positions == "learned" else 0
        context = MaskTokenContext(model.dim, learned, model.extra_tokens)
    else:
        sincos = model.absolute_positions == "sincos"
        context = VisibleContext(
            model.dim,
            sincos_positions_2d(vision.grid, model.dim)[None] if sincos else None,
            None if model.alibi == "none" else Alibi(model.heads, model.alibi, model.alibi_scale_per_head),
            model.extra_tokens,
            model.norm_eps if model.norm == "post" else None,
            model.input_dropout,
            Transformer(_blocks(config, prenet_rates)) if model.prenet_depth else None,
        )
    local = PatchEmbedding(vision.channels, vision.patch_size, model.dim)
    return Encoder(local, context, trunk, model.extra_tokens)


def build_decoder(config: RunConfig) -> ConvDecoder:
    """2.0's decoder for images."""
    d, dim = config.decoder, config.model.dim
    return ConvDecoder(
        dim,
        dim,
        d.dim,
        d.layers,
        d.kernel,
        d.groups,
        dims=2,
        residual=d.residual,
        projection_layers=d.projection_layers,
        input_dropout=d.input_dropout,
    )
