"""Parameters and memory of a model, from its configuration. Standard library only, as `flops.py`.

Parameters are exact to a per cent (`tests/test_sizes.py`); memory is a rule of thumb, good to about a factor of 1.5.
"""

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

from data2vec.flops import passes, rows_per_pass, sample, visible

if TYPE_CHECKING:
    from data2vec.config import RunConfig

GB = 1e9
STATE_BYTES = 16  # of a trained parameter: itself, its gradient, Adam's two moments, all float32
# Bytes that backward needs of every position and channel, in bf16: of a block; of a convolution with norm and GELU.
BLOCK_BYTES, CONV_BYTES = 56, 16
FEATURE_BYTES = 4  # of a teacher's block, kept until the targets are averaged
BASE_GB = 1.5  # CUDA's context and workspaces


def linear(*widths: int) -> int:
    """Weights and biases of linear layers, one behind the other."""
    return sum(a * b + b for a, b in itertools.pairwise(widths))


def block_parameters(dim: int, depth: int, mlp_ratio: float) -> int:
    """Transformer blocks with their norms."""
    return depth * (linear(dim, 3 * dim) + linear(dim, dim) + linear(dim, int(dim * mlp_ratio), dim) + 4 * dim)


def encoder_parameters(cfg: "RunConfig") -> int:
    """The student's encoder."""
    m = cfg.model
    total = block_parameters(m.dim, m.depth + m.prenet_depth, m.mlp_ratio) + m.extra_tokens * m.dim
    return total + {"vision": _vision, "speech": _speech, "text": _text}[cfg.modality](cfg)


def _vision(cfg: "RunConfig") -> int:
    v = cfg.vision
    return linear(v.channels * v.patch_size**2, cfg.model.dim)


def _speech(cfg: "RunConfig") -> int:
    s, dim, width, total = cfg.speech, cfg.model.dim, 1, 0
    for channels, kernel, _ in s.conv_layers:
        total += kernel * width * channels + 2 * channels
        width = channels
    single = s.pos_conv_depth == 1 and cfg.method != "data2vec2"
    kernel = s.pos_conv_width if single else max(3, s.pos_conv_width // s.pos_conv_depth)
    return total + linear(width, dim) + s.pos_conv_depth * (kernel * dim**2 // s.pos_conv_groups + dim)


def _text(cfg: "RunConfig") -> int:
    return int((cfg.data.vocab_size + cfg.text.tokens_per_sample) * cfg.model.dim)


def head_parameters(cfg: "RunConfig") -> int:
    """What a pre-training adds to the encoder: head, decoder, projectors; the teacher left out."""
    heads: dict[str, Callable[[RunConfig], int]] = {
        "data2vec2": _decoder_of_kind,
        "mae": _pixel_decoder,
        "byol": _byol,
        "dino": lambda c: (
            linear(c.model.dim, *[c.views.hidden_dim] * 2, c.views.output_dim) + c.views.prototypes * c.views.output_dim
        ),
        "wav2vec2": _quantiser,
        "hubert": lambda c: linear(c.model.dim, c.contrast.dim) + c.hubert.clusters * c.contrast.dim,
        "masked_lm": lambda c: linear(c.model.dim, c.model.dim) + c.data.vocab_size,
        "simmim": lambda c: linear(c.model.dim, c.vision.channels * c.vision.patch_size**2),
        "maskfeat": lambda c: linear(c.model.dim, c.vision.channels * c.pixels.hog_cells**2 * c.pixels.hog_bins),
        "data2vec": lambda c: linear(c.model.dim, *[2 * c.model.dim] * (c.model.head_layers - 1), c.model.dim),
    }
    return heads[cfg.method](cfg)


def _decoder_of_kind(cfg: "RunConfig") -> int:
    dim = cfg.model.dim
    if cfg.decoder.kind == "transformer":
        return _blocks_decoder(cfg, dim)
    return linear(dim, dim) if cfg.decoder.kind == "none" else _decoder(cfg)


def _decoder(cfg: "RunConfig") -> int:
    d, dim = cfg.decoder, cfg.model.dim
    taps = d.kernel**2 if cfg.modality == "vision" else d.kernel
    convs = sum(taps * a * b // d.groups + b for a, b in itertools.pairwise([dim, *[d.dim] * d.layers]))
    return convs + linear(d.dim, *[2 * d.dim] * (d.projection_layers - 1), dim)


def _pixel_decoder(cfg: "RunConfig") -> int:
    return _blocks_decoder(cfg, cfg.vision.channels * cfg.vision.patch_size**2)


def _blocks_decoder(cfg: "RunConfig", width: int) -> int:
    """MAE's decoder, which predicts `width` numbers of each position."""
    d = cfg.decoder
    return linear(cfg.model.dim, d.dim) + block_parameters(d.dim, d.layers, cfg.model.mlp_ratio) + linear(d.dim, width)


def _byol(cfg: "RunConfig") -> int:
    v = cfg.views
    project, predict = linear(cfg.model.dim, v.hidden_dim, v.output_dim), linear(v.output_dim, v.hidden_dim)
    return project + predict + linear(v.hidden_dim, v.output_dim) + 4 * v.hidden_dim


def _quantiser(cfg: "RunConfig") -> int:
    q, c = cfg.quantiser, cfg.contrast
    codes = q.entries * q.dim + linear(cfg.speech.conv_layers[-1][0], q.groups * q.entries)
    return codes + linear(q.dim, c.dim) + linear(cfg.model.dim, c.dim)


def has_teacher(cfg: "RunConfig") -> bool:
    """Whether a moving average of the student is kept beside it."""
    return cfg.method in ("data2vec", "data2vec2", "byol", "dino")


def pretrain_gpu_gb(cfg: "RunConfig", gpus: int) -> float:
    """Memory of one card in pre-training."""
    weights, s, m = encoder_parameters(cfg), sample(cfg), cfg.model
    rows = min(rows_per_pass(cfg), max(1.0, rows_per_pass(cfg) * passes(cfg) / gpus))
    views = cfg.mask.clones if cfg.method == "data2vec2" else 2 if cfg.method in ("byol", "dino") else 1
    seen = visible(cfg, s.positions) if cfg.method in ("data2vec2", "mae") else s.positions
    bytes_of_row = float(views * (seen + m.extra_tokens) * m.dim * (m.depth + m.prenet_depth) * BLOCK_BYTES)
    bytes_of_row += _local_bytes(cfg)
    if cfg.modality == "speech":
        bytes_of_row += views * s.positions * m.dim * cfg.speech.pos_conv_depth * CONV_BYTES
    if cfg.method == "mae" or (cfg.method == "data2vec2" and cfg.decoder.kind == "transformer"):
        bytes_of_row += views * s.positions * cfg.decoder.dim * cfg.decoder.layers * BLOCK_BYTES
    elif cfg.method == "data2vec2":
        layers = cfg.decoder.layers if cfg.decoder.kind == "conv" else 0
        bytes_of_row += views * s.positions * (cfg.decoder.dim * layers + m.dim) * CONV_BYTES
    state = STATE_BYTES * (weights + head_parameters(cfg))
    if has_teacher(cfg):
        state += 4 * weights
        bytes_of_row += s.positions * m.dim * m.depth * FEATURE_BYTES
    return BASE_GB + (state + rows * bytes_of_row) / GB


def finetune_gpu_gb(cfg: "RunConfig", rows: float, positions: int) -> float:
    """Memory of one card in fine-tuning, with so many samples of so many positions in a forward pass."""
    m = cfg.model
    row = (positions + m.extra_tokens) * m.dim * (m.depth + m.prenet_depth) * BLOCK_BYTES + _local_bytes(cfg)
    return BASE_GB + (STATE_BYTES * encoder_parameters(cfg) + rows * row) / GB


def _local_bytes(cfg: "RunConfig") -> float:
    """What the waveform's convolutions keep of a recording; of images and text the first layer is small."""
    if cfg.modality != "speech" or cfg.speech.feature_grad_mult == 0:
        return 0.0
    s = sample(cfg)
    frames, total = s.positions, 0.0
    for channels, _, stride in reversed(cfg.speech.conv_layers):
        total += frames * channels * CONV_BYTES
        frames *= stride
    return total
