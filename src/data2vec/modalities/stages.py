"""Stages that every modality builds alike from the configuration: trunk, context blocks, ALiBi, decoder.

What differs between modalities is handed in: position biases of patches, the decoder's dimensions.
"""

from collections.abc import Callable

import torch
from torch import nn

from data2vec.config import RunConfig
from data2vec.nn.alibi import Alibi
from data2vec.nn.decoder import ConvDecoder
from data2vec.nn.positions import RelativePositionBias
from data2vec.nn.transformer import Block, Transformer

Bias = Callable[[], RelativePositionBias]


def drop_path_rates(rate: float, prenet_depth: int, depth: int) -> tuple[list[float], list[float]]:
    """Stochastic depth of the prenet and of the trunk.

    Without prenet: linear from 0 to `rate`. With prenet the trunk starts at its `prenet_depth`-th value of a
    range over the trunk's depth, as released (algorithms.md 9.1, pitfall P-I18).
    """
    ramp = _ramp(0, rate, depth)
    if prenet_depth == 0:
        return [], ramp
    prenet = _ramp(ramp[0], ramp[min(prenet_depth, depth) - 1], prenet_depth)
    return prenet, _ramp(ramp[min(prenet_depth, depth - 1)], ramp[-1], depth)


def _ramp(start: float, end: float, steps: int) -> list[float]:
    return torch.linspace(start, end, steps, device="cpu").tolist()  # also where a model is built without memory


def _blocks(config: RunConfig, drop_rates: list[float], bias: Bias | None) -> list[Block]:
    model = config.model
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
            None if bias is None else bias(),
        )
        for rate in drop_rates
    ]


def build_trunk(config: RunConfig, shared_bias: Bias | None = None, block_bias: Bias | None = None) -> Transformer:
    """The blocks whose features can be targets; relative position biases shared by all or per block."""
    model = config.model
    _, rates = drop_path_rates(model.drop_path, model.prenet_depth, model.depth)
    norm = nn.LayerNorm(model.dim, eps=model.norm_eps) if model.final_norm else None
    shared = None if shared_bias is None else shared_bias()
    return Transformer(_blocks(config, rates, block_bias), norm, shared, model.layer_drop)


def build_prenet(config: RunConfig, block_bias: Bias | None = None) -> Transformer | None:
    """The further blocks in front, in 2.0's context encoder; None without any."""
    model = config.model
    rates, _ = drop_path_rates(model.drop_path, model.prenet_depth, model.depth)
    return Transformer(_blocks(config, rates, block_bias), layer_drop=model.layer_drop) if rates else None


def build_alibi(config: RunConfig) -> Alibi | None:
    """2.0's distance bias with its learned scale, where the configuration has one."""
    model = config.model
    if model.alibi == "none":
        return None
    layers = model.prenet_depth + model.depth if model.alibi_scale_per_layer else 1
    return Alibi(model.heads, model.alibi, model.alibi_scale_per_head, layers, model.alibi_scale_learned)


def build_decoder(config: RunConfig, dims: int) -> nn.Module:
    """2.0's decoder over sequences (`dims` 1) or grids of patches (2); a linear layer for `decoder.kind` none."""
    d, dim = config.decoder, config.model.dim
    if d.kind == "none":
        return nn.Linear(dim, dim)
    return ConvDecoder(
        dim,
        dim,
        d.dim,
        d.layers,
        d.kernel,
        d.groups,
        dims=dims,
        residual=d.residual,
        projection_layers=d.projection_layers,
        input_dropout=d.input_dropout,
    )
