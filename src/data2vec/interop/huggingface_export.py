"""A model of ours as Hugging Face's: config.json and tensors by its names; the inverse of `huggingface`.

What transformers has no counterpart for is refused; 2.0 as a whole is such a thing.
"""

import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from data2vec.config import RunConfig
from data2vec.data.vocabulary import BOS, EOS, PAD
from data2vec.errors import UserError
from data2vec.interop.huggingface import SEGMENTS
from data2vec.interop.huggingface_names import HEADS, PREFIXES, encoder_pairs, exporting
from data2vec.interop.names import part, rename
from data2vec.interop.pretrained import Task, task_of
from data2vec.nn.positions import sincos_positions_2d

CLASSES = {
    "data2vec-audio": {"none": "Data2VecAudioModel", "ctc": "Data2VecAudioForCTC"},
    "wav2vec2": {"none": "Wav2Vec2Model", "ctc": "Wav2Vec2ForCTC"},
    "data2vec-text": {
        "none": "Data2VecTextModel",
        "sentence": "Data2VecTextForSequenceClassification",
        "words": "Data2VecTextForMaskedLM",
    },
    "data2vec-vision": {"none": "Data2VecVisionModel", "image": "Data2VecVisionForImageClassification"},
    "vit_mae": {"none": "ViTMAEModel"},
}
_PLAIN = {"model.prenet_depth": (0,), "model.alibi": ("none",)}
_SEQUENCE = _PLAIN | {"model.qkv_bias": ("full",), "model.extra_tokens": (0,), "model.layer_scale": (None,)}


def model_type(config: RunConfig) -> str:
    """The type in transformers that computes the same. UserError if there is none."""
    if config.method not in ("data2vec", "masked_lm", "wav2vec2", "mae"):
        name = {"data2vec2": "data2vec 2.0"}.get(config.method, config.method)
        raise UserError(f"transformers has no model of {name}; use format=data2vec")
    if config.modality == "text":
        return "data2vec-text"
    if config.modality == "speech":
        return "wav2vec2" if config.speech.pos_conv_depth == 1 else "data2vec-audio"
    return "data2vec-vision" if config.model.qkv_bias == "no_key" else "vit_mae"


def to_huggingface(
    config: RunConfig, tensors: Mapping[str, Tensor], labels: list[str]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """config.json and the tensors under their names in transformers.

    Raises:
        UserError: transformers has nothing that computes the same.
    """
    kind, task = model_type(config), task_of(tensors, config)
    if task not in CLASSES[kind]:
        raise UserError(f"transformers has no {kind} with a head for {task}; use format=data2vec")
    if "reader.weights" in tensors:
        raise UserError(f"transformers has no {kind} that reads letters by finetune.head=conv; use format=data2vec")
    values = {"data2vec-text": _text, "data2vec-vision": _image, "vit_mae": _mae}.get(kind, _speech)(config, task)
    content = {"model_type": kind, "architectures": [CLASSES[kind][task]], "dtype": "float32", **values}
    if task in ("sentence", "image"):
        names = labels or [f"LABEL_{i}" for i in range(_outputs(tensors))]
        content["id2label"] = {str(i): name for i, name in enumerate(names)}
        content["label2id"] = {name: i for i, name in enumerate(names)}
    if task == "ctc":
        content["vocab_size"] = _outputs(tensors)
    return content, _renamed(config, tensors, kind, task)


def _outputs(tensors: Mapping[str, Tensor]) -> int:
    return len(next(tensors[n] for n in ("output.weight", "out_proj.weight", "classifier.weight") if n in tensors))


def _renamed(config: RunConfig, tensors: Mapping[str, Tensor], kind: str, task: Task) -> dict[str, Tensor]:
    rules = exporting(encoder_pairs(kind, config.model.norm == "pre"))
    # a model without head has no prefix
    prefix = PREFIXES[kind] if task != "none" else ""
    found = {}
    for name in tensors:
        if not name.startswith("encoder.") or (kind == "vit_mae" and name.endswith(".mask_token")):
            continue
        thirds = [f"{name}#{x}" for x in "qkv"] if ".attn.qkv." in name else [name]
        for third in thirds:
            found[f"{prefix}{rename(third, rules)}"] = part(tensors, third)
    for name, tensor in tensors.items():
        try:
            found[str(rename(name, exporting(HEADS[task])))] = tensor
        except KeyError:
            continue  # teacher, decoder, prediction head: not in transformers
    for name in ("embeddings.cls_token", "embeddings.mask_token"):
        if prefix + name in found:
            found[prefix + name] = found[prefix + name].reshape(1, 1, -1)
    if kind == "vit_mae" and config.model.absolute_positions == "sincos":
        patches = sincos_positions_2d(config.vision.grid, config.model.dim)
        found["embeddings.position_embeddings"] = torch.nn.functional.pad(patches, (0, 0, 1, 0))[None]
    if kind == "data2vec-text":
        found[prefix + SEGMENTS] = torch.zeros(1, config.model.dim)
    if task == "image":  # transformers keeps the head's norm in its encoder
        found = {(prefix + n if n.startswith("pooler.") else n): t for n, t in found.items()}
    return {name: tensor.detach().clone().float().contiguous() for name, tensor in found.items()}


def _check(config: RunConfig, kind: str, allowed: Mapping[str, tuple[Any, ...]]) -> None:
    for key, values in allowed.items():
        value = operator.attrgetter(key)(config)
        if value not in values:
            words = " or ".join(map(str, values))
            raise UserError(
                f"{key} = {value} does not exist in transformers' {kind}, only {words}; use format=data2vec"
            )


def _sizes(config: RunConfig) -> dict[str, Any]:
    model = config.model
    return {
        "hidden_size": model.dim,
        "num_hidden_layers": model.depth,
        "num_attention_heads": model.heads,
        "intermediate_size": int(model.dim * model.mlp_ratio),
        "hidden_act": "gelu",
        "layer_norm_eps": model.norm_eps,
    }


def _speech(config: RunConfig, task: Task) -> dict[str, Any]:
    speech, model = config.speech, config.model
    kind, pre_norm = model_type(config), model.norm == "pre"
    single = kind == "wav2vec2"
    allowed = _SEQUENCE | {
        "model.norm": ("post", "pre") if single else ("post",),
        "model.final_norm": (pre_norm,),
        "model.relative_positions": ("none",),
        "model.absolute_positions": ("none",),
        "speech.feature_norm_eps": (model.norm_eps,),
        "speech.pos_conv_norm": (False,),
        "speech.conv_norm": ("layer", "group") if single else ("layer",),
    }
    _check(config, kind, allowed)
    channels, kernels, strides = (list(numbers) for numbers in zip(*speech.conv_layers, strict=True))
    values = _sizes(config) | {
        "conv_dim": channels,
        "conv_kernel": kernels,
        "conv_stride": strides,
        "num_feat_extract_layers": len(channels),
        "conv_bias": speech.conv_bias,
        "feat_extract_activation": "gelu",
        "num_conv_pos_embedding_groups": speech.pos_conv_groups,
        "hidden_dropout": model.dropout,
        "attention_dropout": model.attention_dropout,
        "activation_dropout": model.activation_dropout,
        "feat_proj_dropout": 0.0,
        "final_dropout": 0.0,
        "layerdrop": model.layer_drop,
        "pad_token_id": 0,  # CTC's blank
    }
    if single:
        positions = {"num_conv_pos_embeddings": speech.pos_conv_width}
        norms = {"do_stable_layer_norm": pre_norm, "feat_extract_norm": speech.conv_norm}
        return values | positions | norms
    kernel = max(3, speech.pos_conv_width // speech.pos_conv_depth)
    return values | {"num_conv_pos_embeddings": speech.pos_conv_depth, "conv_pos_kernel_size": kernel}


def _text(config: RunConfig, task: Task) -> dict[str, Any]:
    text, model = config.text, config.model
    allowed = _SEQUENCE | {
        "model.norm": ("post",),
        "model.final_norm": (False,),
        "model.absolute_positions": ("learned",),
        "text.embedding_norm": (True,),
        "text.embedding_norm_eps": (model.norm_eps,),
        "text.embedding_scale": (False,),
    }
    _check(config, "data2vec-text", allowed)
    return _sizes(config) | {
        "vocab_size": config.data.vocab_size,
        "max_position_embeddings": text.max_positions + PAD + 1,
        "type_vocab_size": 1,
        "bos_token_id": BOS,
        "pad_token_id": PAD,
        "eos_token_id": EOS,
        "hidden_dropout_prob": model.dropout,
        "attention_probs_dropout_prob": model.attention_dropout,
        "tie_word_embeddings": True,
    }


def _vit(config: RunConfig) -> dict[str, Any]:
    vision, model = config.vision, config.model
    return _sizes(config) | {
        "image_size": vision.image_size,
        "patch_size": vision.patch_size,
        "num_channels": vision.channels,
        "hidden_dropout_prob": model.dropout,
        "attention_probs_dropout_prob": model.attention_dropout,
    }


def _image(config: RunConfig, task: Task) -> dict[str, Any]:
    model, head = config.model, config.finetune
    mean = task == "image" and head.pooling == "mean"
    allowed = _PLAIN | {
        "model.norm": ("pre",),
        "model.extra_tokens": (1,),
        "model.absolute_positions": ("none", "learned"),
    }
    if task == "image":
        allowed |= {"finetune.head_norm": (mean,)}
        allowed |= {"finetune.head_norm_eps": (model.norm_eps,)} if mean else {"model.final_norm": (True,)}
    _check(config, "data2vec-vision", allowed)
    return _vit(config) | {
        # with mean pooling the head's norm stands in the place of the encoder's
        "use_mean_pooling": mean if task == "image" else not model.final_norm,
        "use_mask_token": True,
        "use_absolute_position_embeddings": model.absolute_positions == "learned",
        "use_relative_position_bias": model.relative_positions == "per_block",
        "use_shared_relative_position_bias": model.relative_positions == "shared",
        "layer_scale_init_value": model.layer_scale or 0.0,
        "drop_path_rate": model.drop_path,
    }


def _mae(config: RunConfig, task: Task) -> dict[str, Any]:
    allowed = _PLAIN | {
        "model.norm": ("pre",),
        "model.final_norm": (True,),
        "model.extra_tokens": (1,),
        # only MAE's own encoder adds fixed ones
        "model.absolute_positions": ("learned", "sincos") if config.method == "mae" else ("learned",),
        "model.relative_positions": ("none",),
        "model.layer_scale": (None,),
    }
    _check(config, "vit_mae", allowed)
    return _vit(config) | {"qkv_bias": True, "mask_ratio": config.mask.ratio}
