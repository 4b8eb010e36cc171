"""Floating-point operations of a model's passes, counted from its configuration: 2 for each multiply-add of a product.

Only matrix products and convolutions count; norms, activations and the optimiser are a few per cent of a step's
arithmetic. `tests/test_flops.py` holds the counts beside those of `torch.utils.flop_counter`. Standard library only:
the workflow derives the time of its jobs from here, before anything is installed.
"""

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from data2vec.config import RunConfig

SAMPLE_RATE = 16_000
MFCC_SIZE = 39
# Mean seconds of a recording, which the cost of attention depends on; else the longest that a batch may hold.
MEAN_SECONDS = {
    **dict.fromkeys(("librispeech", "librilight-10min", "librilight-1h", "librilight-10h"), 12.3),
    **{"an4": 2.9, "espeak": 2.4, "yesno": 6.0, "fsdd": 0.5, "esc10": 5.0, "esc50": 5.0, "speechcommands": 1.0},
}
SENTENCE_TOKENS = 64  # of a sentence or pair of GLUE with the padding of its batch: an assumption


class Input(NamedTuple):
    """One sample as an encoder sees it."""

    positions: int
    local: float  # FLOPs of its local features
    first: float  # of these, the first product, whose input needs no gradient


def update_flops(cfg: "RunConfig") -> float:
    """FLOPs of one pre-training update over all devices: teacher, student forward and backward, head or decoder."""
    rows = rows_per_pass(cfg)
    return METHODS[cfg.method](cfg, sample(cfg), rows) * rows * passes(cfg)


def finetune_flops(cfg: "RunConfig") -> float:
    """FLOPs of one update of fine-tuning, the mean over a run; its small head is left out."""
    ft, s = cfg.finetune, labelled_sample(cfg)
    body = encoder(cfg, s.positions)
    whole = _local(cfg, s) + _trained(body * (1 - ft.layer_drop))
    frozen = min(1.0, ft.freeze_updates / ft.updates) if cfg.task.kind in ("ctc", "recordings") else 0.0
    return labelled_rows(cfg) * (frozen * (s.local + body) + (1 - frozen) * whole)


def labelled_sample(cfg: "RunConfig") -> Input:
    """One sample of a fine-tuning."""
    if cfg.modality == "text":
        return sample(cfg, SENTENCE_TOKENS)
    return sample(cfg, _labelled_seconds(cfg) if cfg.modality == "speech" else None)


def labelled_rows(cfg: "RunConfig") -> float:
    """Samples of one update of fine-tuning."""
    ft = cfg.finetune
    return float(ft.batch_seconds / _labelled_seconds(cfg) if cfg.modality == "speech" else ft.batch_size)


def _labelled_seconds(cfg: "RunConfig") -> float:
    return MEAN_SECONDS.get(cfg.task.data or cfg.data.name, 10.0)


def forward_flops(cfg: "RunConfig", positions: int | None = None) -> float:
    """FLOPs of the encoder's forward pass over one whole sample: nothing hidden, no head."""
    s = sample(cfg)
    return s.local + encoder(cfg, positions or s.positions)


def rows_per_pass(cfg: "RunConfig") -> float:
    """Samples in one forward pass; a mean on speech, whose batches count seconds."""
    if cfg.modality == "speech":
        return max(1.0, (cfg.speech.micro_seconds or cfg.speech.batch_seconds) / seconds(cfg))
    return float(min(cfg.train.micro_batch or cfg.train.batch_size, cfg.train.batch_size))


def passes(cfg: "RunConfig") -> float:
    """Forward passes of an update."""
    if cfg.modality == "speech":
        return float(cfg.speech.batch_seconds / (cfg.speech.micro_seconds or cfg.speech.batch_seconds))
    return cfg.train.batch_size / rows_per_pass(cfg)


def seconds(cfg: "RunConfig") -> float:
    """Mean length of a recording in a pre-training batch."""
    return float(min(MEAN_SECONDS.get(cfg.data.name, cfg.speech.max_seconds), cfg.speech.max_seconds))


# ---- parts of a network: FLOPs of one row's forward pass


def sample(cfg: "RunConfig", length: float | None = None) -> Input:
    """One sample of the pre-training data; `length` (seconds or tokens) for another."""
    if cfg.modality == "vision":
        v = cfg.vision
        patches = (v.image_size // v.patch_size) ** 2
        local = 2.0 * patches * v.channels * v.patch_size**2 * cfg.model.dim
        return Input(patches, local, local)
    if cfg.modality == "text":
        return Input(int(length or cfg.text.tokens_per_sample), 0.0, 0.0)
    frames, width, parts = round((length or seconds(cfg)) * SAMPLE_RATE), 1, []
    for channels, kernel, stride in cfg.speech.conv_layers:
        frames = max(0, (frames - kernel) // stride + 1)
        parts.append(2.0 * frames * kernel * width * channels)
        width = channels
    return Input(frames, sum(parts) + 2.0 * frames * width * cfg.model.dim, parts[0])


def blocks(rows: float, dim: int, depth: float, mlp_ratio: float) -> float:
    """Transformer blocks over a sequence of `rows` positions."""
    return depth * rows * (8.0 * dim**2 + 4.0 * dim * int(dim * mlp_ratio) + 4.0 * rows * dim)


def trunk(cfg: "RunConfig", positions: float, prenet: bool = True) -> float:
    """All blocks over the positions and the extra tokens."""
    m = cfg.model
    return blocks(positions + m.extra_tokens, m.dim, m.depth + (m.prenet_depth if prenet else 0), m.mlp_ratio)


def conv_positions(cfg: "RunConfig", positions: int) -> float:
    """Convolutional positions of speech."""
    if cfg.modality != "speech":
        return 0.0
    s, dim = cfg.speech, cfg.model.dim
    single = s.pos_conv_depth == 1 and cfg.method != "data2vec2"
    kernel = s.pos_conv_width if single else max(3, s.pos_conv_width // s.pos_conv_depth)
    return s.pos_conv_depth * 2.0 * (positions + (kernel % 2 == 0)) * kernel * dim**2 / s.pos_conv_groups


def encoder(cfg: "RunConfig", positions: int) -> float:
    """Everything behind the local features, with all positions visible."""
    has_prenet = cfg.method in ("data2vec2", "mae", "byol", "dino")
    return conv_positions(cfg, positions) + trunk(cfg, positions, has_prenet)


def chain(rows: float, *widths: float) -> float:
    """Linear layers of these widths, one behind the other."""
    return sum(2.0 * rows * a * b for a, b in itertools.pairwise(widths))


def visible(cfg: "RunConfig", positions: int) -> int:
    """Positions that a view of 2.0 or MAE keeps."""
    mask = cfg.mask
    if not mask.visible_only:
        return positions
    if mask.sampler == "span":  # spans overlap
        return round(positions * (1 - mask.ratio / mask.length) ** mask.length)
    if mask.sampler in ("block", "block_1d"):
        return positions - int(positions * mask.ratio)
    return int(positions * (1 - mask.ratio))


def conv_decoder(cfg: "RunConfig", positions: int) -> float:
    """2.0's decoder of one view."""
    d, dim = cfg.decoder, cfg.model.dim
    taps = d.kernel**2 if cfg.modality == "vision" else d.kernel
    width = dim, *[d.dim] * d.layers
    convs = sum(2.0 * positions * taps * a * b / d.groups for a, b in itertools.pairwise(width))
    return convs + chain(positions, d.dim, *[2 * d.dim] * (d.projection_layers - 1), dim)


def transformer_decoder(cfg: "RunConfig", positions: int, width: int) -> float:
    """MAE's decoder of one view."""
    d, extra = cfg.decoder, cfg.model.extra_tokens
    ends = chain(visible(cfg, positions) + extra, cfg.model.dim, d.dim) + chain(positions, d.dim, width)
    return ends + blocks(positions + extra, d.dim, d.layers, cfg.model.mlp_ratio)


def decoder(cfg: "RunConfig", positions: int) -> float:
    """What 2.0 decodes one view with."""
    if cfg.decoder.kind == "transformer":
        return transformer_decoder(cfg, positions, cfg.model.dim)
    return (
        chain(positions, cfg.model.dim, cfg.model.dim) if cfg.decoder.kind == "none" else conv_decoder(cfg, positions)
    )


# ---- one sample of a pre-training step


def _trained(forward: float, first: float = 0.0) -> float:
    """Forward and backward, which is twice the forward but for the input of the first product."""
    return 3 * forward - first


def _kept(cfg: "RunConfig") -> float:
    """Share of the student's blocks that run."""
    return float(1 - cfg.model.layer_drop)


def _local(cfg: "RunConfig", s: Input) -> float:
    """The student's local features, forward and backward."""
    if cfg.modality == "speech" and cfg.speech.feature_grad_mult == 0:
        return s.local + 2.0 * s.positions * cfg.speech.conv_layers[-1][0] * cfg.model.dim  # the projection's weights
    return _trained(s.local, s.first)


def _teacher(cfg: "RunConfig", s: Input) -> float:
    own = s.local if cfg.teacher.scope == "encoder" else 0.0
    return own + encoder(cfg, s.positions)


def _data2vec(cfg: "RunConfig", s: Input, rows: float) -> float:
    dim, layers = cfg.model.dim, cfg.model.head_layers
    student = conv_positions(cfg, s.positions) + trunk(cfg, s.positions, prenet=False) * _kept(cfg)
    head = chain(s.positions, dim, *[2 * dim] * (layers - 1), dim)
    return _teacher(cfg, s) + _local(cfg, s) + _trained(student + head)


def _data2vec2(cfg: "RunConfig", s: Input, rows: float) -> float:
    view = conv_positions(cfg, s.positions) + trunk(cfg, visible(cfg, s.positions)) * _kept(cfg)
    view += decoder(cfg, s.positions)
    if cfg.loss.reconstruction:
        view += chain(s.positions, cfg.model.dim, cfg.model.dim)
    return _teacher(cfg, s) + _local(cfg, s) + _trained(view) * cfg.mask.clones


def _mae(cfg: "RunConfig", s: Input, rows: float) -> float:
    view = trunk(cfg, visible(cfg, s.positions)) * _kept(cfg)
    return _local(cfg, s) + _trained(view + transformer_decoder(cfg, s.positions, _pixels(cfg)))


def _pixels(cfg: "RunConfig") -> int:
    return int(cfg.vision.channels * cfg.vision.patch_size**2)


def _pixel_head(cfg: "RunConfig", s: Input, rows: float) -> float:
    histograms = cfg.vision.channels * cfg.pixels.hog_cells**2 * cfg.pixels.hog_bins
    head = chain(s.positions, cfg.model.dim, histograms if cfg.method == "maskfeat" else _pixels(cfg))
    return _local(cfg, s) + _trained(trunk(cfg, s.positions, prenet=False) * _kept(cfg) + head)


def _byol(cfg: "RunConfig", s: Input, rows: float) -> float:
    v = cfg.views
    project, predict = (
        chain(1, cfg.model.dim, v.hidden_dim, v.output_dim),
        chain(1, v.output_dim, v.hidden_dim, v.output_dim),
    )
    student = encoder(cfg, s.positions) * _kept(cfg) + project + predict
    return 2 * (s.local + encoder(cfg, s.positions) + project + _local(cfg, s) + _trained(student))


def _dino(cfg: "RunConfig", s: Input, rows: float) -> float:
    v = cfg.views
    head = chain(1, cfg.model.dim, v.hidden_dim, v.hidden_dim, v.output_dim, v.prototypes)
    large = _local(cfg, s) + _trained(encoder(cfg, s.positions) * _kept(cfg) + head)
    patches = v.local_patches**2
    crop = Input(patches, s.local * patches / s.positions, s.first * patches / s.positions)
    small = _local(cfg, crop) + _trained(encoder(cfg, patches) * _kept(cfg) + head)
    pairs = _trained(2.0 * v.prototypes) * 2 * (2 + v.local)
    return 2 * (s.local + encoder(cfg, s.positions) + head + large) + v.local * small + pairs


def _hidden(cfg: "RunConfig", s: Input) -> int:
    """Frames that 1.0's spans hide."""
    return s.positions - visible(cfg, s.positions)


def _wav2vec2(cfg: "RunConfig", s: Input, rows: float) -> float:
    q, c, hidden = cfg.quantiser, cfg.contrast, _hidden(cfg, s)
    student = conv_positions(cfg, s.positions) + trunk(cfg, s.positions, prenet=False) * _kept(cfg)
    quantiser = chain(hidden, cfg.speech.conv_layers[-1][0], q.groups * q.entries)
    quantiser += 2.0 * hidden * q.entries * q.dim + chain(hidden, q.dim, c.dim)
    scores = 2.0 * hidden * (hidden * rows) * c.dim  # of all pairs of a forward pass
    head = chain(s.positions, cfg.model.dim, c.dim)
    return _local(cfg, s) + _trained(student + head + quantiser + scores)


def _hubert(cfg: "RunConfig", s: Input, rows: float) -> float:
    h, c = cfg.hubert, cfg.contrast
    earlier = s.local + encoder(cfg, s.positions) if h.units_from else 0.0  # as large as this one
    units = earlier + 2.0 * s.positions * h.clusters * (cfg.model.dim if h.units_from else MFCC_SIZE)
    student = conv_positions(cfg, s.positions) + trunk(cfg, s.positions, prenet=False) * _kept(cfg)
    head = chain(s.positions, cfg.model.dim, c.dim) + 2.0 * _hidden(cfg, s) * h.clusters * c.dim
    return units + _local(cfg, s) + _trained(student + head)


def _masked_lm(cfg: "RunConfig", s: Input, rows: float) -> float:
    dim, selected = cfg.model.dim, s.positions * cfg.mask.ratio
    head = chain(selected, dim, dim, cfg.data.vocab_size)
    return _local(cfg, s) + _trained(trunk(cfg, s.positions, prenet=False) * _kept(cfg) + head)


METHODS: dict[str, Callable[["RunConfig", Input, float], float]] = {
    "data2vec": _data2vec,
    "data2vec2": _data2vec2,
    "mae": _mae,
    "simmim": _pixel_head,
    "maskfeat": _pixel_head,
    "byol": _byol,
    "dino": _dino,
    "wav2vec2": _wav2vec2,
    "hubert": _hubert,
    "masked_lm": _masked_lm,
}
