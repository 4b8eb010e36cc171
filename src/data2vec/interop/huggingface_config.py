"""config.json of Hugging Face models as a run configuration (state_dict_layouts.md section 3).

Everything that changes outputs is taken over or refused; what a file leaves out has transformers' default.
"""

import math
from pathlib import Path
from typing import Any

from data2vec.compose import compose
from data2vec.config import RunConfig, validate
from data2vec.data.vocabulary import PAD
from data2vec.errors import UserError

Sections = dict[str, Any]

MODALITY = {
    "data2vec-audio": "speech",
    "wav2vec2": "speech",
    "data2vec-text": "text",
    "data2vec-vision": "vision",
    "vit_mae": "vision",
}

_SIZES = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
_SPEECH = _SIZES | {
    "hidden_act": "gelu",
    "feat_extract_activation": "gelu",
    "layer_norm_eps": 1e-5,
    "conv_dim": [512] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "conv_bias": False,
    "num_conv_pos_embedding_groups": 16,
    "add_adapter": False,
    "hidden_dropout": 0.1,
    "attention_dropout": 0.1,
    "activation_dropout": 0.1,
    "layerdrop": 0.1,
}
_IMAGE = _SIZES | {
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "image_size": 224,
    "patch_size": 16,
    "num_channels": 3,
}
DEFAULTS: dict[str, dict[str, Any]] = {
    "data2vec-audio": _SPEECH | {"num_conv_pos_embeddings": 5, "conv_pos_kernel_size": 19},
    "wav2vec2": _SPEECH | {"num_conv_pos_embeddings": 128, "do_stable_layer_norm": False, "feat_extract_norm": "group"},
    "data2vec-text": _SIZES
    | {
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "vocab_size": 30522,
        "max_position_embeddings": 512,
        "pad_token_id": PAD,
        "is_decoder": False,
        "position_embedding_type": "absolute",
    },
    "data2vec-vision": _IMAGE
    | {
        "use_absolute_position_embeddings": False,
        "use_relative_position_bias": False,
        "use_shared_relative_position_bias": False,
        "use_mean_pooling": True,
        "layer_scale_init_value": 0.1,
        "drop_path_rate": 0.1,
    },
    "vit_mae": _IMAGE | {"qkv_bias": True},
}


class Values:
    """The values of a config.json, checked when asked for."""

    def __init__(self, path: Path, content: dict[str, Any], model_type: str) -> None:
        self.path, self.model_type = path, model_type
        given = {key: value for key, value in content.items() if value is not None}
        self.values = DEFAULTS[model_type] | given

    def count(self, key: str) -> int:
        """A whole number above 0."""
        value = self.values[key]
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UserError(f"{self.path}: {key} = {value!r} must be a whole number above 0")
        return value

    def counts(self, key: str) -> list[int]:
        """A list of whole numbers above 0."""
        value = self.values[key]
        if not isinstance(value, list) or not value or not all(type(v) is int and v > 0 for v in value):
            raise UserError(f"{self.path}: {key} = {value!r} must be a list of whole numbers above 0")
        return value

    def number(self, key: str) -> float:
        """A number of at least 0."""
        value = self.values[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise UserError(f"{self.path}: {key} = {value!r} must be a number of at least 0")
        return float(value)

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self.values[key]
        if not isinstance(value, bool):
            raise UserError(f"{self.path}: {key} = {value!r} must be true or false")
        return value

    def side(self, key: str) -> int:
        """Pixels on a side; a pair of equal numbers is one."""
        value = self.values[key]
        if isinstance(value, list) and len(value) == 2 and value[0] == value[1]:
            self.values[key] = value[0]
        return self.count(key)

    def require(self, key: str, *allowed: Any) -> None:
        """Refuse what this project has no counterpart for."""
        if self.values[key] not in allowed:
            words = " or ".join(map(repr, allowed))
            raise UserError(f"{self.path}: {key} = {self.values[key]!r} is not supported, only {words}")

    def model(self, dropout: str, attention_dropout: str) -> Sections:
        """Size, norms' epsilon and dropouts, which all types have."""
        self.require("hidden_act", "gelu")
        dim, hidden = self.count("hidden_size"), self.count("intermediate_size")
        ratio = hidden / dim
        if int(dim * ratio) != hidden:  # the quotient may be rounded down
            ratio = math.nextafter(ratio, math.inf)
        return {
            "name": self.model_type,
            "dim": dim,
            "depth": self.count("num_hidden_layers"),
            "prenet_depth": 0,
            "heads": self.count("num_attention_heads"),
            "mlp_ratio": ratio,
            "norm": "post",
            "norm_eps": self.number("layer_norm_eps"),
            "final_norm": False,
            "qkv_bias": "full",
            "layer_scale": None,
            "relative_positions": "none",
            "absolute_positions": "none",
            "alibi": "none",
            "extra_tokens": 0,
            "dropout": self.number(dropout),
            "post_mlp_dropout": self.number(dropout),
            "attention_dropout": self.number(attention_dropout),
            "activation_dropout": 0.0,
            "input_dropout": 0.0,
            "drop_path": 0.0,
            "layer_drop": 0.0,
        }


def run_config(values: Values, preprocessor: dict[str, Any]) -> RunConfig:
    """The configuration of the model; its recipe is data2vec 1.0's of the same kind of input.

    Raises:
        UserError: a value is of the wrong kind, or stands for something that does not exist here.
    """
    modality = MODALITY[values.model_type]
    sections = {"speech": _speech, "text": _text, "vision": _vision}[modality](values, preprocessor)
    merged = compose({"modality": modality, "method": "data2vec"}).model_dump(mode="json")
    for name, section in sections.items():
        merged[name] |= section
    depth = merged["model"]["depth"]
    merged["target"] |= {"layers": None, "top_k": min(depth, merged["target"]["top_k"])}
    merged["data"]["name"] = "imported"
    return validate(merged)


def _speech(values: Values, preprocessor: dict[str, Any]) -> Sections:
    values.require("feat_extract_activation", "gelu")
    values.require("add_adapter", False)
    convolutions = [values.counts(key) for key in ("conv_dim", "conv_kernel", "conv_stride")]
    if len({len(numbers) for numbers in convolutions}) > 1:
        raise UserError(f"{values.path}: conv_dim, conv_kernel and conv_stride must be equally long")
    first = values.model_type == "data2vec-audio"
    depth = width = values.count("num_conv_pos_embeddings")
    if first:
        kernel = values.count("conv_pos_kernel_size")
        if depth < 2 or kernel < 3:
            raise UserError(
                f"{values.path}: {depth} positional convolutions of width {kernel} are not supported; at least 2 of 3"
            )
        width = depth * kernel
    else:
        values.require("feat_extract_norm", "group", "layer")
    pre_norm = not first and values.flag("do_stable_layer_norm")
    model = values.model("hidden_dropout", "attention_dropout")
    model |= {"norm": "pre" if pre_norm else "post", "final_norm": pre_norm, "input_dropout": model["dropout"]}
    model |= {"activation_dropout": values.number("activation_dropout"), "layer_drop": values.number("layerdrop")}
    speech = {
        "conv_layers": [list(layer) for layer in zip(*convolutions, strict=True)],
        "conv_norm": "layer" if first else values.values["feat_extract_norm"],
        "conv_bias": values.flag("conv_bias"),
        "feature_norm_eps": values.number("layer_norm_eps"),
        "pos_conv_width": width,
        "pos_conv_depth": depth if first else 1,
        "pos_conv_groups": values.count("num_conv_pos_embedding_groups"),
        "pos_conv_norm": False,
        "pos_conv_padding": "released",  # as transformers computes it too
        "normalise": bool(preprocessor.get("do_normalize", True)),
    }
    return {"model": model, "speech": speech}


def _text(values: Values, preprocessor: dict[str, Any]) -> Sections:
    values.require("pad_token_id", PAD)
    values.require("is_decoder", False)
    values.require("position_embedding_type", "absolute")
    model = values.model("hidden_dropout_prob", "attention_probs_dropout_prob")
    positions = values.count("max_position_embeddings") - PAD - 1
    if positions < 2:
        raise UserError(f"{values.path}: max_position_embeddings = {positions + PAD + 1} leaves no room for a sentence")
    text = {
        "max_positions": positions,
        "tokens_per_sample": positions,
        "embedding_norm": True,
        "embedding_norm_eps": model["norm_eps"],
        "embedding_scale": False,
        "embedding_dropout": model["dropout"],
    }
    model["absolute_positions"] = "learned"
    return {"model": model, "text": text, "data": {"vocab_size": values.count("vocab_size")}}


def _vision(values: Values, preprocessor: dict[str, Any]) -> Sections:
    model = values.model("hidden_dropout_prob", "attention_probs_dropout_prob")
    model |= {"norm": "pre", "extra_tokens": 1}
    mean_pooling = False
    if values.model_type == "vit_mae":
        values.require("qkv_bias", True)
        model |= {"final_norm": True, "absolute_positions": "learned"}
    else:
        mean_pooling = values.flag("use_mean_pooling")
        model |= {"final_norm": not mean_pooling, "qkv_bias": "no_key", "drop_path": values.number("drop_path_rate")}
        model["layer_scale"] = values.number("layer_scale_init_value") or None
        model["absolute_positions"] = "learned" if values.flag("use_absolute_position_embeddings") else "none"
        model["relative_positions"] = _relative(values)
    vision: Sections = {
        "image_size": values.side("image_size"),
        "patch_size": values.side("patch_size"),
        "channels": values.count("num_channels"),
    }
    for ours, theirs in (("mean", "image_mean"), ("std", "image_std")):
        if theirs in preprocessor:
            vision[ours] = preprocessor[theirs]
    finetune = {
        "pooling": "mean" if mean_pooling else "class_token",
        "head_norm": mean_pooling,
        "head_norm_eps": model["norm_eps"],
        "drop_path": model["drop_path"],
    }
    return {"model": model, "vision": vision, "finetune": finetune}


def _relative(values: Values) -> str:
    shared, own = values.flag("use_shared_relative_position_bias"), values.flag("use_relative_position_bias")
    if shared and own:
        raise UserError(f"{values.path}: relative positions both shared and per block are not supported")
    return "shared" if shared else "per_block" if own else "none"
