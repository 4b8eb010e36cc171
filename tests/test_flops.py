"""Counted operations are those that torch counts while the step runs."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from data2vec.config import RunConfig, validate
from data2vec.flops import forward_flops, update_flops
from data2vec.methods.build import build_encoder, build_method
from data2vec.training.benchmark import random_batches

MODEL = {"dim": 48, "heads": 3, "depth": 3}
IMAGES = {
    "modality": "vision",
    "vision": {"image_size": 32, "patch_size": 4},
    "model": MODEL | {"extra_tokens": 1, "absolute_positions": "sincos", "norm": "pre"},
    "mask": {"sampler": "random", "ratio": 0.6, "clones": 3},
    "target": {"top_k": 2},
    "decoder": {"dim": 48, "layers": 2, "kernel": 3, "groups": 1, "heads": 2},
    "views": {"hidden_dim": 64, "output_dim": 32, "prototypes": 100, "local": 2, "local_patches": 4},
    "train": {"batch_size": 4},
}
SPEECH = {
    "modality": "speech",
    "data": {"name": "other"},
    "speech": {
        "conv_layers": [(32, 10, 5), (32, 3, 2), (32, 3, 2), (32, 2, 4)],
        "pos_conv_width": 9,
        "pos_conv_depth": 3,
        "pos_conv_groups": 1,
        "max_seconds": 1.0,
        "min_seconds": 0.1,
        "batch_seconds": 4.0,
    },
    "model": MODEL,
    "mask": {"sampler": "span", "ratio": 0.5, "length": 5, "clones": 3, "counts": "equalised"},
    "target": {"top_k": 2},
    "teacher": {"scope": "context"},
    "decoder": {"dim": 32, "layers": 2, "kernel": 7, "groups": 1},
    "contrast": {"dim": 24, "negatives": 5},
    "quantiser": {"dim": 24, "entries": 20},
    "hubert": {"clusters": 12},
}
TEXT = {
    "modality": "text",
    "data": {"vocab_size": 300},
    "text": {"tokens_per_sample": 48},
    "model": MODEL | {"absolute_positions": "learned", "head_layers": 2},
    "mask": {"sampler": "tokens", "ratio": 0.3, "length": 1, "clones": 3},
    "target": {"top_k": 2},
    "decoder": {"dim": 32, "layers": 2, "kernel": 5, "groups": 1, "projection_layers": 2},
    "train": {"batch_size": 4},
}
CASES = [(IMAGES, m) for m in ("data2vec", "data2vec2", "mae", "simmim", "maskfeat", "byol", "dino")]
CASES += [(SPEECH, m) for m in ("data2vec", "data2vec2", "wav2vec2", "hubert")]
CASES += [(TEXT, m) for m in ("data2vec", "data2vec2", "masked_lm")]


def config_of(values: dict, method: str, **sections: dict) -> RunConfig:
    second = {}
    if method == "data2vec2":
        sampler = {"vision": "random", "speech": "block_1d", "text": "random"}[values["modality"]]
        second = {"mask": values["mask"] | {"sampler": sampler}, "model": values["model"] | {"prenet_depth": 1}}
    return validate(values | second | {"method": method} | sections)


def counted(config: RunConfig) -> float:
    torch.manual_seed(0)
    method = build_method(config).train()
    batch = random_batches(config, np.random.default_rng(0))()
    with FlopCounterMode(display=False) as counter:
        method(batch).loss.backward()
    return counter.get_total_flops()


@pytest.mark.parametrize(("values", "method"), CASES, ids=[f"{v['modality']}-{m}" for v, m in CASES])
def test_an_update_is_counted_as_torch_counts_it(values: dict, method: str) -> None:
    config = config_of(values, method)
    assert update_flops(config) == pytest.approx(counted(config), rel=0.03)


@pytest.mark.parametrize(
    ("mask", "decoder"),
    [({"visible_only": False}, {}), ({"visible_only": False}, {"kind": "none"}), ({}, {"kind": "transformer"})],
)
def test_an_ablated_update_of_2_0_is_counted_as_torch_counts_it(mask: dict, decoder: dict) -> None:
    decoder = IMAGES["decoder"] | decoder | {"heads": 4}
    config = config_of(IMAGES | {"mask": IMAGES["mask"] | mask, "decoder": decoder}, "data2vec2")
    assert update_flops(config) == pytest.approx(counted(config), rel=0.03)


def test_micro_batches_do_not_change_an_update() -> None:
    whole, parts = (config_of(IMAGES, "data2vec2", train={"batch_size": 8, "micro_batch": n}) for n in (8, 2))
    assert update_flops(whole) == update_flops(parts)


@pytest.mark.parametrize("values", [IMAGES, SPEECH, TEXT], ids=lambda v: v["modality"])
def test_a_forward_pass_is_counted_as_torch_counts_it(values: dict) -> None:
    config = config_of(values, "data2vec")
    batch = random_batches(config, np.random.default_rng(0))()
    encoder = build_encoder(config).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        encoder(batch.inputs)
    assert forward_flops(config) * len(batch.inputs) == pytest.approx(counter.get_total_flops(), rel=0.01)
