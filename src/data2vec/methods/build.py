"""From a configuration to a freshly initialised method (algorithms.md 1.8, 6.2, 7.1)."""

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from data2vec.config import RunConfig, load
from data2vec.errors import UserError
from data2vec.methods.byol import BYOL
from data2vec.methods.data2vec import Data2Vec
from data2vec.methods.data2vec2 import Data2Vec2
from data2vec.methods.dino import DINO
from data2vec.methods.hubert import Hubert
from data2vec.methods.mae import MAE
from data2vec.methods.masked_lm import MaskedLM
from data2vec.methods.maskfeat import MaskFeat
from data2vec.methods.simmim import SimMIM
from data2vec.methods.wav2vec2 import Wav2Vec2
from data2vec.modalities import speech, text, vision
from data2vec.modalities.mfcc import MFCC_SIZE, FrameMFCC
from data2vec.nn.encoder import Encoder
from data2vec.nn.transformer import Block

Method = Data2Vec | Data2Vec2 | MAE | SimMIM | MaskFeat | BYOL | DINO | Wav2Vec2 | Hubert | MaskedLM
MODALITIES = {"vision": vision, "speech": speech, "text": text}


def build_encoder(config: RunConfig) -> Encoder:
    """An initialised encoder without teacher or prediction head, as used downstream."""
    encoder = MODALITIES[config.modality].build_encoder(config)
    _initialise(encoder, config)
    return encoder


def build_method(config: RunConfig) -> Method:
    """Student, head or decoder, and a teacher equal to the student. Draws from torch's global generator."""
    encoder = build_encoder(config)
    if config.method in RIVALS:
        method = RIVALS[config.method](config, encoder)
        for name, part in method.named_children():
            if name in ("head", "decoder"):  # these start like the encoder
                _initialise(part, config)
        return method
    if config.method == "data2vec":
        head = build_head(config.model.dim, config.model.head_layers)
        if config.modality != "speech":  # there torch's default, as released
            _initialise(head, config)
        return Data2Vec(config, encoder, head)
    if config.method == "wav2vec2":
        return Wav2Vec2(config, encoder)
    if config.method == "hubert":
        return _build_hubert(config, encoder)
    decoder = MODALITIES[config.modality].build_decoder(config)
    return Data2Vec2(config, encoder, decoder)  # decoder: as its modality starts it


def _build_hubert(config: RunConfig, encoder: Encoder) -> Hubert:
    """HuBERT with its source of units; `training.units` sets an earlier run's weights and the centroids."""
    source = config.hubert.units_from
    if source is None:
        return Hubert(config, encoder, FrameMFCC(config.speech.conv_layers), MFCC_SIZE)
    earlier = load(Path(source) / "config.yaml")
    frames = [(kernel, stride) for _, kernel, stride in config.speech.conv_layers]
    checks = [
        (earlier.modality == "speech", f"on {earlier.modality}; it must be on speech"),
        (
            frames == [layer[1:] for layer in earlier.speech.conv_layers],
            "one with other frames; set the same speech.conv_layers here",
        ),
        (
            earlier.speech.normalise == config.speech.normalise,
            f"trained with speech.normalise={earlier.speech.normalise}; set the same here",
        ),
        (
            config.hubert.layer <= earlier.model.depth,
            f"of {earlier.model.depth} blocks; hubert.layer = {config.hubert.layer} must be one of them",
        ),
    ]
    for holds, what in checks:
        if not holds:
            raise UserError(f"hubert.units_from = {source}: the run is {what}")
    return Hubert(config, encoder, build_encoder(earlier), earlier.model.dim)


RIVALS: dict[str, Callable[[RunConfig, Encoder], Method]] = {
    "mae": lambda config, encoder: MAE(config, encoder, vision.build_pixel_decoder(config)),
    "simmim": SimMIM,
    "maskfeat": MaskFeat,
    "byol": BYOL,
    "dino": DINO,
    "masked_lm": MaskedLM,
}


def build_head(dim: int, layers: int) -> nn.Module:
    """1.0's prediction head: `layers` linear layers with GELU between them, of twice the width inside."""
    widths = [dim, *[2 * dim] * (layers - 1), dim]
    linear = [nn.Linear(i, o) for i, o in itertools.pairwise(widths)]
    return linear[0] if layers == 1 else nn.Sequential(linear[0], *(m for x in linear[1:] for m in (nn.GELU(), x)))


def _initialise(module: nn.Module, config: RunConfig) -> None:
    linear: Callable[[torch.Tensor], torch.Tensor]
    if config.model.init == "beit":
        # the truncation is at one standard deviation, as released
        def linear(w: torch.Tensor) -> torch.Tensor:
            return nn.init.trunc_normal_(w, std=0.02, a=-0.02, b=0.02)
    elif config.model.init == "xavier":
        linear = nn.init.xavier_uniform_
    else:

        def linear(w: torch.Tensor) -> torch.Tensor:
            return nn.init.normal_(w, std=0.02)

    # the waveform encoder keeps torch's default in its projection, as released
    kept: set[nn.Module] = set()
    if config.modality == "speech" and isinstance(module, Encoder) and module.local is not None:
        kept = set(module.local.modules())
    for layer in module.modules():
        if isinstance(layer, nn.Linear) and layer not in kept:
            linear(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    if isinstance(module, Encoder):
        _initialise_tokens(module, config, linear)


def _initialise_tokens(encoder: Encoder, config: RunConfig, linear: Callable[[torch.Tensor], torch.Tensor]) -> None:
    patch = encoder.local.proj if isinstance(encoder.local, vision.PatchEmbedding) else None
    if config.model.init in ("bert", "xavier"):
        if patch is not None:
            nn.init.xavier_uniform_(patch.weight.data.view(patch.weight.shape[0], -1))
        extra = getattr(encoder.context, "extra_tokens", None)
        if extra is not None:
            nn.init.normal_(extra, std=1.0 if config.model.init == "bert" else 0.02)
        return
    for name, parameter in encoder.named_parameters():
        if name.startswith("context."):
            linear(parameter.data)
    if patch is not None:
        linear(patch.weight.data)
        assert patch.bias is not None
        nn.init.zeros_(patch.bias)
    for i, block in enumerate(encoder.trunk.blocks, start=1):
        assert isinstance(block, Block)
        for weight in (block.attn.proj.weight, block.mlp.fc2.weight):
            weight.data.div_(math.sqrt(2.0 * i))
