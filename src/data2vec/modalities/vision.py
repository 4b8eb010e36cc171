"""Images: patch embedding, and the encoders of every method built from the configuration.

algorithms.md 2.4, 6.1, 7.2, 8.1.
"""

import torch
from torch import Tensor, nn

from data2vec.config import RunConfig
from data2vec.modalities import stages
from data2vec.modalities.stages import build_alibi, build_prenet, build_trunk
from data2vec.nn.encoder import Encoder, MaskTokenContext, VisibleContext
from data2vec.nn.positions import RelativePositionBias, sincos_positions_2d
from data2vec.nn.transformer_decoder import TransformerDecoder


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
        """Standardised pixels of every patch, for 2.0's optional reconstruction."""
        return self.pixels(images, True)

    def pixels(self, images: Tensor, norm: bool) -> Tensor:
        """Pixels of every patch, (B, T, p * p * C) float32 in (row, column, channel) order; `norm`: standardised."""
        B, C, H, W = images.shape
        p = self.patch_size
        x = images.view(B, C, H // p, p, W // p, p).permute(0, 2, 4, 3, 5, 1)
        x = x.reshape(B, (H // p) * (W // p), C * p * p).float()
        if not norm:
            return x
        variance, mean = torch.var_mean(x, -1, keepdim=True)
        return (x - mean) / (variance + 1e-6).sqrt()


def build_encoder(config: RunConfig) -> Encoder:
    """The encoder of the configured method for images."""
    model, vision = config.model, config.vision
    biases = {model.relative_positions: lambda: RelativePositionBias(vision.grid, model.heads)}
    trunk = build_trunk(config, biases.get("shared"), biases.get("per_block"))
    context: nn.Module
    if config.method in ("data2vec", "simmim", "maskfeat"):
        learned = vision.grid**2 if model.absolute_positions == "learned" else 0
        context = MaskTokenContext(model.dim, learned, model.extra_tokens)
    else:
        sincos = model.absolute_positions == "sincos"
        context = VisibleContext(
            model.dim,
            sincos_positions_2d(vision.grid, model.dim)[None] if sincos else None,
            build_alibi(config),
            model.extra_tokens,
            model.norm_eps if model.norm == "post" else None,
            model.input_dropout,
            build_prenet(config, biases.get("per_block")),
            mask_token=not config.mask.visible_only,
        )
    local = PatchEmbedding(vision.channels, vision.patch_size, model.dim)
    return Encoder(local, context, trunk, model.extra_tokens)


def build_decoder(config: RunConfig) -> nn.Module:
    """2.0's decoder for images; the Transformer decoder instead is an ablation."""
    if config.decoder.kind == "transformer":
        return _transformer_decoder(config, config.model.dim)
    return stages.build_decoder(config, dims=2)


def build_pixel_decoder(config: RunConfig) -> TransformerDecoder:
    """MAE's decoder, from encoded patches to pixels."""
    return _transformer_decoder(config, config.vision.channels * config.vision.patch_size**2)


def _transformer_decoder(config: RunConfig, width: int) -> TransformerDecoder:
    d, ratio, eps = config.decoder, config.model.mlp_ratio, config.model.norm_eps
    positions = sincos_positions_2d(config.vision.grid, d.dim)[None]
    return TransformerDecoder(config.model.dim, width, d.dim, d.layers, d.heads, positions, ratio, eps)
