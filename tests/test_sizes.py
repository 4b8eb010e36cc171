"""Parameters told from a configuration are those of the model that it builds."""

import pytest
import torch

from data2vec.compose import compose
from data2vec.config import RunConfig
from data2vec.methods.build import build_method
from data2vec.sizes import encoder_parameters, head_parameters, pretrain_gpu_gb

CASES = [
    *[("vision", m) for m in ("data2vec", "data2vec2", "mae", "simmim", "maskfeat", "byol", "dino")],
    *[("speech", m) for m in ("data2vec", "data2vec2", "wav2vec2", "hubert")],
    *[("text", m) for m in ("data2vec", "data2vec2", "masked_lm")],
]


def recipe(modality: str, method: str, **keys: str) -> RunConfig:
    data = {"vision": "imagenet", "speech": "librispeech", "text": "books-wikipedia"}[modality]
    return compose({"modality": modality, "method": method, "data": data, **keys})


@pytest.mark.parametrize(("modality", "method"), CASES)
def test_published_sizes_are_told_to_a_per_cent(modality: str, method: str) -> None:
    # HuBERT's MFCC cannot be built without memory
    config = recipe(modality, method, **{"model": "tiny"} if method == "hubert" else {})
    with torch.device("cpu" if method == "hubert" else "meta"):
        model = build_method(config)
    built = sum(p.numel() for name, p in model.named_parameters() if not name.startswith("teacher."))
    assert encoder_parameters(config) + head_parameters(config) == pytest.approx(built, rel=0.01)


@pytest.mark.parametrize(("kind", "visible"), [("transformer", "true"), ("none", "false")])
def test_the_decoder_of_an_ablation_is_counted(kind: str, visible: str) -> None:
    keys = {"decoder.kind": kind, "mask.visible_only": visible, "decoder.heads": "4"}
    config = recipe("vision", "data2vec2", **keys)
    with torch.device("meta"):
        model = build_method(config)
    built = sum(p.numel() for name, p in model.named_parameters() if not name.startswith("teacher."))
    assert encoder_parameters(config) + head_parameters(config) == pytest.approx(built, rel=0.01)
    convolutions = pretrain_gpu_gb(recipe("vision", "data2vec2", **{"mask.visible_only": visible}), 8)
    assert (pretrain_gpu_gb(config, 8) > convolutions) == (kind == "transformer")


def test_a_larger_share_of_the_batch_takes_more_memory() -> None:
    config = recipe("vision", "data2vec2")
    assert pretrain_gpu_gb(config, 1) > pretrain_gpu_gb(config, 4) > pretrain_gpu_gb(config, 16) > 2
