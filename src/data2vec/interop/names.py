"""Parameter names of the original implementations, mapped to ours (state_dict_layouts.md section 2).

A rule is (pattern, replacement); the first pattern that matches a whole name decides. Patterns with
replacement None name tensors that carry no learned values.
"""

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

Rule = tuple[str, str | None]

V2: list[Rule] = [
    (r"modality_encoders\.\w+\.fixed_positional_encoder\..*", None),
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


def rename(name: str, rules: Sequence[Rule]) -> str | None:
    """Our name for an original one, None for tensors that are not parameters here. KeyError if unknown."""
    for pattern, replacement in rules:
        match = re.fullmatch(pattern, name)
        if match:
            return None if replacement is None else match.expand(replacement)
    raise KeyError(name)


def translate(
    tensors: Mapping[str, Tensor], rules: Sequence[Rule], shapes: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Rename tensors and give them our shapes (size-1 axes differ between the code bases)."""
    ours = {}
    for name, tensor in tensors.items():
        new = rename(name, rules)
        if new is not None:
            ours[new] = tensor.reshape(shapes[new].shape) if new in shapes else tensor
    return ours
