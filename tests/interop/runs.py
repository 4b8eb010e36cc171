"""Run folders of small models with random weights, so that exporting them needs no training."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from data2vec import config as schema
from data2vec.config import RunConfig, validate
from data2vec.downstream.classifier import Classifier
from data2vec.downstream.ctc import CTCModel
from data2vec.downstream.recordings import RecordingClassifier
from data2vec.downstream.sentence import SentenceClassifier
from data2vec.downstream.words import WordModel
from data2vec.methods.build import build_encoder, build_method
from data2vec.training.checkpoint import save_model

MODEL = {"dim": 24, "depth": 2, "heads": 4, "mlp_ratio": 2.0}
SPEECH: dict[str, Any] = {
    "modality": "speech",
    "method": "data2vec",
    "model": MODEL,
    "speech": {
        "conv_layers": [(16, 10, 5), (16, 3, 2), (16, 2, 2)],
        "pos_conv_width": 21,
        "pos_conv_depth": 3,
        "pos_conv_groups": 4,
        "pos_conv_padding": "released",
    },
    "mask": {"sampler": "span"},
    "target": {"top_k": 2},
    "teacher": {"scope": "context"},
}
TEXT: dict[str, Any] = {
    "modality": "text",
    "method": "data2vec",
    "data": {"vocab_size": 50},
    "model": MODEL | {"absolute_positions": "learned"},
    "text": {"max_positions": 20, "tokens_per_sample": 20},
    "mask": {"sampler": "tokens"},
    "target": {"top_k": 2},
}
VISION: dict[str, Any] = {
    "modality": "vision",
    "method": "data2vec",
    "vision": {"image_size": 24, "patch_size": 4},
    "model": MODEL
    | {
        "norm": "pre",
        "norm_eps": 1e-6,
        "final_norm": True,
        "qkv_bias": "no_key",
        "layer_scale": 0.1,
        "relative_positions": "shared",
        "extra_tokens": 1,
    },
    "target": {"top_k": 2},
}
VISION2: dict[str, Any] = VISION | {
    "method": "data2vec2",
    "model": MODEL | {"prenet_depth": 1, "extra_tokens": 1, "absolute_positions": "sincos"},
    "decoder": {"dim": 16, "groups": 4},
}


def changed(base: dict[str, Any], **sections: dict[str, Any]) -> dict[str, Any]:
    """The values of `base` with some of its sections' values changed."""
    return base | {name: base.get(name, {}) | values for name, values in sections.items()}


def build(values: dict[str, Any], head: str = "none") -> tuple[RunConfig, nn.Module]:
    """A model whose every parameter matters: none is 0, none is 1."""
    config = validate(values)
    torch.manual_seed(3)
    encoder, dim = build_encoder(config), config.model.dim
    model: nn.Module = {
        "none": lambda: build_method(config),
        "ctc": lambda: CTCModel(encoder, dim, 12),
        "ctc-conv": lambda: CTCModel(encoder, dim, 12, reader=True),
        "recording": lambda: RecordingClassifier(config, encoder, 4),
        "sentence": lambda: SentenceClassifier(config, encoder, 3),
        "image": lambda: Classifier(config, encoder, 5),
        "words": lambda: WordModel(encoder, dim, config.data.vocab_size, config.model.norm_eps),
    }[head]()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return config, model.eval()


def save_run(folder: Path, values: dict[str, Any], head: str = "none", **metrics: Any) -> nn.Module:
    """A run folder as training leaves it; the model in it."""
    config, model = build(values, head)
    save_model(folder / "checkpoint" / "model.safetensors", model, {})
    (folder / "config.yaml").write_text(schema.dump(config))
    (folder / "provenance.json").write_text(json.dumps({"commit": "abc1234", "seed": 3, "updates": 7}))
    rows = [{"metric": "loss", "value": 1.25, "unit": "", "dataset": config.data.name}]
    (folder / "metrics.json").write_text(json.dumps({"rows": rows, **metrics}))
    return model
