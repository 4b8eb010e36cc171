"""Parameter names of Hugging Face models beside ours (state_dict_layouts.md sections 3 and 4.1 to 4.3).

A pair is (their name, our name), without their prefix such as `data2vec_audio.`; {i} stands for a block's number
and {p} for weight or bias. Read from left to right a table imports, from right to left it exports. A name of ours
that ends in #q, #k or #v is a third of a fused tensor (`data2vec.interop.names`).
"""

import re
from collections.abc import Sequence

from data2vec.interop.names import Rule

Pair = tuple[str, str]

PREFIXES = {
    "data2vec-audio": "data2vec_audio.",
    "wav2vec2": "wav2vec2.",
    "data2vec-text": "data2vec_text.",
    "data2vec-vision": "data2vec_vision.",
    "vit_mae": "vit.",
}
"""What stands in front of the encoder's names in models with a head, by `model_type`."""

_FRONT: list[Pair] = [
    ("masked_spec_embed", "encoder.context.mask_token"),
    ("feature_extractor.conv_layers.{i}.conv.{p}", "encoder.local.stack.convs.{i}.{p}"),
    ("feature_extractor.conv_layers.{i}.layer_norm.{p}", "encoder.local.stack.norms.{i}.{p}"),
    ("feature_projection.layer_norm.{p}", "encoder.local.norm.{p}"),
    ("feature_projection.projection.{p}", "encoder.local.proj.{p}"),
    *(
        (f"encoder.layers.{{i}}.attention.{x}_proj.{{p}}", f"encoder.trunk.blocks.{{i}}.attn.qkv.{{p}}#{x}")
        for x in "qkv"
    ),
    ("encoder.layers.{i}.attention.out_proj.{p}", "encoder.trunk.blocks.{i}.attn.proj.{p}"),
    ("encoder.layers.{i}.layer_norm.{p}", "encoder.trunk.blocks.{i}.norm1.{p}"),
    ("encoder.layers.{i}.feed_forward.intermediate_dense.{p}", "encoder.trunk.blocks.{i}.mlp.fc1.{p}"),
    ("encoder.layers.{i}.feed_forward.output_dense.{p}", "encoder.trunk.blocks.{i}.mlp.fc2.{p}"),
    ("encoder.layers.{i}.final_layer_norm.{p}", "encoder.trunk.blocks.{i}.norm2.{p}"),
]

# wav2vec 2.0's one weight-normalised convolution; older files call gain and direction weight_g and weight_v.
_POSITION = "encoder.context.pos_conv.conv."
_GAIN, _DIRECTION = (f"parametrizations.weight.original{i}" for i in (0, 1))
_POSITIONS: dict[str, list[Pair]] = {
    "data2vec-audio": [("encoder.pos_conv_embed.layers.{i}.conv.{p}", "encoder.context.pos_conv.convs.{i}.{p}")],
    "wav2vec2": [
        ("encoder.pos_conv_embed.conv.bias", _POSITION + "bias"),
        ("encoder.pos_conv_embed.conv." + _GAIN, _POSITION + _GAIN),
        ("encoder.pos_conv_embed.conv." + _DIRECTION, _POSITION + _DIRECTION),
        ("encoder.pos_conv_embed.conv.weight_g", _POSITION + _GAIN),
        ("encoder.pos_conv_embed.conv.weight_v", _POSITION + _DIRECTION),
    ],
}

_VISION_LAYERS: list[Pair] = [
    ("embeddings.cls_token", "encoder.context.extra_tokens"),
    ("embeddings.position_embeddings", "encoder.context.positions"),
    ("embeddings.patch_embeddings.projection.{p}", "encoder.local.proj.{p}"),
    ("encoder.layer.{i}.attention.output.dense.{p}", "encoder.trunk.blocks.{i}.attn.proj.{p}"),
    ("encoder.layer.{i}.intermediate.dense.{p}", "encoder.trunk.blocks.{i}.mlp.fc1.{p}"),
    ("encoder.layer.{i}.output.dense.{p}", "encoder.trunk.blocks.{i}.mlp.fc2.{p}"),
    ("encoder.layer.{i}.layernorm_before.{p}", "encoder.trunk.blocks.{i}.norm1.{p}"),
    ("encoder.layer.{i}.layernorm_after.{p}", "encoder.trunk.blocks.{i}.norm2.{p}"),
    ("layernorm.{p}", "encoder.trunk.norm.{p}"),
]
_THIRDS = {"query": "q", "key": "k", "value": "v"}
_ATTENTION = "encoder.layer.{i}.attention.attention."

_TABLES: dict[str, list[Pair]] = {
    "data2vec-vision": [
        ("embeddings.mask_token", "encoder.context.mask_token"),
        *_VISION_LAYERS,
        *((f"{_ATTENTION}{n}.weight", f"encoder.trunk.blocks.{{i}}.attn.qkv.weight#{x}") for n, x in _THIRDS.items()),
        (_ATTENTION + "query.bias", "encoder.trunk.blocks.{i}.attn.q_bias"),
        (_ATTENTION + "value.bias", "encoder.trunk.blocks.{i}.attn.v_bias"),
        (
            _ATTENTION + "relative_position_bias.relative_position_bias_table",
            "encoder.trunk.blocks.{i}.attn.relative_positions.table",
        ),
        ("encoder.relative_position_bias.relative_position_bias_table", "encoder.trunk.relative_positions.table"),
        ("encoder.layer.{i}.lambda_1", "encoder.trunk.blocks.{i}.gamma_1"),
        ("encoder.layer.{i}.lambda_2", "encoder.trunk.blocks.{i}.gamma_2"),
    ],
    "vit_mae": [
        *_VISION_LAYERS,
        *((f"{_ATTENTION}{n}.{{p}}", f"encoder.trunk.blocks.{{i}}.attn.qkv.{{p}}#{x}") for n, x in _THIRDS.items()),
    ],
    "data2vec-text": [
        ("embeddings.word_embeddings.weight", "encoder.local.tokens.weight"),
        ("embeddings.position_embeddings.weight", "encoder.local.positions.weight"),
        ("embeddings.LayerNorm.{p}", "encoder.local.norm.{p}"),
        *(
            (f"encoder.layer.{{i}}.attention.self.{n}.{{p}}", f"encoder.trunk.blocks.{{i}}.attn.qkv.{{p}}#{x}")
            for n, x in _THIRDS.items()
        ),
        ("encoder.layer.{i}.attention.output.dense.{p}", "encoder.trunk.blocks.{i}.attn.proj.{p}"),
        ("encoder.layer.{i}.attention.output.LayerNorm.{p}", "encoder.trunk.blocks.{i}.norm1.{p}"),
        ("encoder.layer.{i}.intermediate.dense.{p}", "encoder.trunk.blocks.{i}.mlp.fc1.{p}"),
        ("encoder.layer.{i}.output.dense.{p}", "encoder.trunk.blocks.{i}.mlp.fc2.{p}"),
        ("encoder.layer.{i}.output.LayerNorm.{p}", "encoder.trunk.blocks.{i}.norm2.{p}"),
    ],
}

# Heads carry our names of `data2vec.downstream`: CTCModel, SentenceClassifier, Classifier, WordModel.
HEADS: dict[str, list[Pair]] = {
    "ctc": [("lm_head.{p}", "output.{p}")],
    "sentence": [("classifier.dense.{p}", "dense.{p}"), ("classifier.out_proj.{p}", "out_proj.{p}")],
    "image": [("pooler.layernorm.{p}", "norm.{p}"), ("classifier.{p}", "classifier.{p}")],
    "words": [
        ("lm_head.dense.{p}", "head.dense.{p}"),
        ("lm_head.layer_norm.{p}", "head.norm.{p}"),
        ("lm_head.bias", "head.bias"),
    ],
    "none": [("pooler.dense.{p}", "pooler.dense.{p}"), ("pooler.layernorm.{p}", "norm.{p}")],
}

UNUSED: list[tuple[str, str]] = [
    (r".*relative_position_index", "an index that follows from the grid"),
    (r"embeddings\.(position_ids|token_type_ids)", "a buffer that follows from the length"),
    (r"lm_head\.decoder\.bias", "a copy of lm_head.bias"),
    (r"lm_head\.decoder\.weight", "a copy of the token embeddings"),
    (r"(quantizer|project_q|project_hid)\..*", "wav2vec 2.0's quantiser: used in its pre-training only"),
    (r"decoder\..*", "MAE's decoder: used in its pre-training only"),
    (r"(decode_head|auxiliary_head|fpn[12])\..*", "a head for segmentation, which does not exist here"),
    (
        r"(projector|classifier|qa_outputs|pooler|lm_head|layer_weights|tdnn|objective)\b.*",
        "a head without counterpart",
    ),
]
"""Their tensors that have no place here, and why; a name is looked up only if no pair has it."""


def encoder_pairs(model_type: str, pre_norm: bool) -> list[Pair]:
    """The encoder's table; wav2vec 2.0's one norm is the first or the last thing, by the placement of norms."""
    if model_type in _TABLES:
        return _TABLES[model_type]
    norm = "encoder.trunk.norm.{p}" if pre_norm else "encoder.context.norm.{p}"
    return [*_FRONT, *_POSITIONS[model_type], ("encoder.layer_norm.{p}", norm)]


def importing(pairs: Sequence[Pair]) -> list[Rule]:
    """Rules from their names to ours, for `data2vec.interop.names.translate`."""
    return [(_pattern(theirs), _replacement(ours)) for theirs, ours in pairs]


def exporting(pairs: Sequence[Pair]) -> list[Rule]:
    """Rules from our names to theirs; where several of theirs have one of ours, the first counts."""
    return [(_pattern(ours), _replacement(theirs)) for theirs, ours in pairs]


def _pattern(template: str) -> str:
    return re.escape(template).replace(r"\{i\}", r"(?P<i>\d+)").replace(r"\{p\}", "(?P<p>weight|bias)")


def _replacement(template: str) -> str:
    return template.replace("{i}", r"\g<i>").replace("{p}", r"\g<p>")
