"""Parameter names of the original implementations, mapped to ours (state_dict_layouts.md section 2).

A rule is (pattern, replacement); the first pattern that matches a whole name decides. Patterns with
replacement None name tensors that carry no learned values. A name of ours that ends in #q, #k or #v is a third of
a fused tensor, where the original keeps query, key and value apart.
"""

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

Rule = tuple[str, str | None]

# Convolutional front end of speech, in 1.0 and 2.0: `.0` is the convolution, `.2.1` or `.2` its norm.
_WAVEFORM: list[Rule] = [
    (r"conv_layers\.(\d+)\.0\.(weight|bias)", r"encoder.local.stack.convs.\1.\2"),
    (r"conv_layers\.(\d+)\.2\.(?:1\.)?(weight|bias)", r"encoder.local.stack.norms.\1.\2"),
]

# One Transformer layer of fairseq, as 1.0 uses it for speech and text.
FAIRSEQ_LAYER: list[Rule] = [
    (r"self_attn\.([qkv])_proj\.(.*)", r"attn.qkv.\2#\1"),
    (r"self_attn\.in_proj_(weight|bias)", r"attn.qkv.\1"),  # RoBERTa's of 2019
    (r"self_attn\.out_proj\.(.*)", r"attn.proj.\1"),
    (r"self_attn_layer_norm\.(.*)", r"norm1.\1"),
    (r"(fc[12])\.(.*)", r"mlp.\1.\2"),
    (r"final_layer_norm\.(.*)", r"norm2.\1"),
]


def within(prefix: str, rules: Sequence[Rule], ours: str = "") -> list[Rule]:
    """The rules for names that begin with the pattern `prefix`; `ours` goes in front of our names.

    Groups of `prefix` count before those of a rule: `ours` may use them, and the rule's are renumbered.
    """
    shift = re.compile(prefix).groups
    renumber = re.compile(r"\\(\d)")
    return [
        (prefix + pattern, None if name is None else ours + renumber.sub(lambda m: f"\\{int(m[1]) + shift}", name))
        for pattern, name in rules
    ]


# Token and position embeddings of text, in 1.0 and 2.0. Sinusoidal positions leave a buffer without content.
_EMBEDDING: list[Rule] = [
    (r"embed_positions\.(?:_float_tensor|weights)", None),
    (r"embed_tokens\.(.*)", r"encoder.local.tokens.\1"),
    (r"embed_positions\.(.*)", r"encoder.local.positions.\1"),
    (r"(?:layernorm_embedding|emb_layer_norm)\.(.*)", r"encoder.local.norm.\1"),  # the second name is older
]

V2: list[Rule] = [
    *within(r"modality_encoders\.TEXT\.local_encoder\.", _EMBEDDING),
    *within(r"modality_encoders\.AUDIO\.local_encoder\.", _WAVEFORM),
    (r"modality_encoders\.AUDIO\.project_features\.1\.(.*)", r"encoder.local.norm.\1"),
    (r"modality_encoders\.AUDIO\.project_features\.2\.(.*)", r"encoder.local.proj.\1"),
    (r"modality_encoders\.AUDIO\.relative_positional_encoder\.0\.(.*)", r"encoder.context.pos_conv.norm.\1"),
    *(
        (
            rf"modality_encoders\.AUDIO\.relative_positional_encoder\.(?:1\.)?{i + 1}\.0\.(.*)",
            rf"encoder.context.pos_conv.convs.{i}.\1",
        )
        for i in range(32)
    ),
    (r"modality_encoders\.\w+\.(?:fixed_)?positional_encoder\..*", None),  # the second name is older
    (r"modality_encoders\.\w+\.encoder_mask", None),
    (r"modality_encoders\.\w+\.local_encoder\.(.*)", r"encoder.local.\1"),
    (r"modality_encoders\.\w+\.alibi_scale", r"encoder.context.alibi.scale"),
    (r"modality_encoders\.\w+\.extra_tokens", r"encoder.context.extra_tokens"),
    (r"modality_encoders\.\w+\.context_encoder\.norm\.(.*)", r"encoder.context.norm.\1"),
    (r"modality_encoders\.\w+\.context_encoder\.blocks\.(.*)", r"encoder.context.blocks.blocks.\1"),
    (r"modality_encoders\.\w+\.decoder\.blocks\.(\d+)\.0\.(.*)", r"decoder.convs.\1.\2"),
    (r"modality_encoders\.\w+\.decoder\.proj\.(weight|bias)", r"decoder.proj.0.\1"),
    (r"modality_encoders\.\w+\.decoder\.proj\.0\.(.*)", r"decoder.proj.0.\1"),
    (r"modality_encoders\.\w+\.decoder\.proj\.2\.(.*)", r"decoder.proj.1.\1"),
    (r"blocks\.(.*)", r"encoder.trunk.blocks.\1"),
    (r"norm\.(.*)", r"encoder.trunk.norm.\1"),
    (r"recon_proj\.(.*)", r"reconstruct.\1"),
]

V1_VISION_BEIT: list[Rule] = [
    (r".*relative_position_index", None),
    (r"cls_token", r"encoder.context.extra_tokens"),
    (r"mask_token", r"encoder.context.mask_token"),
    (r"pos_embed", r"encoder.context.positions"),
    (r"patch_embed\.proj\.(.*)", r"encoder.local.proj.\1"),
    (r"rel_pos_bias\.relative_position_bias_table", r"encoder.trunk.relative_positions.table"),
    (
        r"blocks\.(\d+)\.attn\.relative_position_bias_table",
        r"encoder.trunk.blocks.\1.attn.relative_positions.table",
    ),
    (r"blocks\.(.*)", r"encoder.trunk.blocks.\1"),
    (r"norm\.(.*)", r"encoder.trunk.norm.\1"),
    (r"lm_head\.(.*)", r"head.\1"),
    (r"fc_norm\.(.*)", r"norm.\1"),
    (r"head\.(.*)", r"classifier.\1"),
]

V1_VISION_FAIRSEQ: list[Rule] = [
    (r".*relative_position_index", None),
    (r"cls_emb", r"encoder.context.extra_tokens"),
    (r"mask_emb", r"encoder.context.mask_token"),
    (r"patch_embed\.conv\.(.*)", r"encoder.local.proj.\1"),
    (r"encoder\.rel_pos_bias\.relative_position_bias_table", r"encoder.trunk.relative_positions.table"),
    (r"encoder\.blocks\.(\d+)\.mlp\.0\.(.*)", r"encoder.trunk.blocks.\1.mlp.fc1.\2"),
    (r"encoder\.blocks\.(\d+)\.mlp\.2\.(.*)", r"encoder.trunk.blocks.\1.mlp.fc2.\2"),
    (r"encoder\.blocks\.(.*)", r"encoder.trunk.blocks.\1"),
    (r"encoder\.norm\.(.*)", r"encoder.trunk.norm.\1"),
    (r"final_proj\..*", None),  # exists in the original but is never applied (pitfall P-V10)
]


def v1_speech(pre_norm: bool) -> list[Rule]:
    """Rules for 1.0 speech; its encoder's one norm is the first or the last thing, by the placement of norms."""
    return [
        *within(r"feature_extractor\.", _WAVEFORM),
        (r"layer_norm\.(.*)", r"encoder.local.norm.\1"),
        (r"post_extract_proj\.(.*)", r"encoder.local.proj.\1"),
        (r"mask_emb", r"encoder.context.mask_token"),
        (r"encoder\.pos_conv\.(\d+)\.0\.(weight|bias)", r"encoder.context.pos_conv.convs.\1.\2"),
        # wav2vec 2.0's single convolution, weight-normalised
        (r"encoder\.pos_conv\.0\.weight_g", r"encoder.context.pos_conv.conv.parametrizations.weight.original0"),
        (r"encoder\.pos_conv\.0\.weight_v", r"encoder.context.pos_conv.conv.parametrizations.weight.original1"),
        (r"encoder\.pos_conv\.0\.bias", r"encoder.context.pos_conv.conv.bias"),
        (r"encoder\.layer_norm\.(.*)", r"encoder.trunk.norm.\1" if pre_norm else r"encoder.context.norm.\1"),
        *within(r"encoder\.layers\.(\d+)\.", FAIRSEQ_LAYER, r"encoder.trunk.blocks.\1."),
        (r"final_proj\.(?:0\.)?(.*)", r"head.\1"),
        (r"quantizer\..*|project_q\..*", None),  # wav2vec 2.0
    ]


def wav2vec2(pre_norm: bool) -> list[Rule]:
    """Rules for wav2vec 2.0, which is 1.0's encoder with a quantiser."""
    return [
        (r"quantizer\.vars", r"quantiser.codebook"),
        (r"quantizer\.weight_proj\.(.*)", r"quantiser.logits.\1"),
        (r"project_q\.(.*)", r"project_target.\1"),
        *v1_speech(pre_norm),
    ]


def v1_text(head_layers: int) -> list[Rule]:
    """Rules for 1.0 text; a head of several layers is a sequence of modules here as there, one is itself."""
    head = r"encoder\.regression_head\." + (r"0\." if head_layers == 1 else "")
    inside = r"(?:en|de)coder\.sentence_encoder\."  # RoBERTa's of 2019 says decoder
    return [
        (r".*\.version", None),
        (r"(?:en|de)coder\.lm_head\..*", None),
        *within(inside, _EMBEDDING),
        *within(inside + r"layers\.(\d+)\.", FAIRSEQ_LAYER, r"encoder.trunk.blocks.\1."),
        (inside + r"layer_norm\.(.*)", r"encoder.trunk.norm.\1"),
        (head + "(.*)", r"head.\1"),
    ]


def rename(name: str, rules: Sequence[Rule]) -> str | None:
    """Our name for an original one, None for tensors that are not parameters here. KeyError if unknown."""
    for pattern, replacement in rules:
        match = re.fullmatch(pattern, name)
        if match:
            return None if replacement is None else match.expand(replacement)
    raise KeyError(name)


def translate(tensors: Mapping[str, Tensor], rules: Sequence[Rule], shapes: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename tensors, fuse what is apart, and give them our shapes (size-1 axes differ between the code bases)."""
    return fuse({new: tensor for name, tensor in tensors.items() if (new := rename(name, rules)) is not None}, shapes)


def fuse(renamed: Mapping[str, Tensor], shapes: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Join the thirds of fused tensors and give all that are in `shapes` the shape that they have there."""
    ours = {name: tensor for name, tensor in renamed.items() if "#" not in name}
    for whole in dict.fromkeys(name.partition("#")[0] for name in renamed if "#" in name):
        ours[whole] = torch.cat([renamed[f"{whole}#{part}"] for part in "qkv"])
    return {name: t.reshape(shapes[name].shape) if name in shapes else t for name, t in ours.items()}


def part(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    """The tensor called `name`, which may be a third of a fused one."""
    whole, _, third = name.partition("#")
    return tensors[whole].chunk(3)["qkv".index(third)] if third else tensors[whole]
