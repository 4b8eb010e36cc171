"""Layer-wise learning-rate factors: each rule's table, and where it puts what belongs to no block."""

import pytest

from data2vec.errors import UserError
from data2vec.training.layer_decay import layer_decay_scales, layer_id


def test_data2vec2_slows_blocks_only_context_blocks_first() -> None:
    prefix = "model.modality_encoders.IMAGE."
    names = [
        f"{prefix}local_encoder.proj.weight",
        f"{prefix}extra_tokens",
        f"{prefix}context_encoder.blocks.0.attn.qkv.weight",
        f"{prefix}context_encoder.norm.weight",
        "model.blocks.0.mlp.fc1.bias",
        "model.blocks.1.norm1.weight",
        "model.blocks.2.norm1.weight",
        f"{prefix}decoder.blocks.7.0.weight",
        "head.weight",
    ]
    scales = list(layer_decay_scales(names, "data2vec2", 0.75).values())
    assert scales == pytest.approx([1, 1, 0.75**4, 1, 0.75**3, 0.75**2, 0.75, 1, 1])


@pytest.mark.parametrize("rule", ["beit", "mae"])
def test_beit_and_mae_give_the_embedding_the_smallest_rate(rule: str) -> None:
    names = [
        "cls_token",
        "pos_embed",
        "patch_embed.proj.bias",
        "blocks.0.norm1.weight",
        "blocks.11.norm1.weight",
    ]
    names += ["norm.weight", "rel_pos_bias.relative_position_bias_table", "head.bias"]
    ids = [layer_id(name, rule, 12) for name in names]
    assert ids == [0, 0, 0, 1, 12, 13, 13, 13]
    scales = layer_decay_scales(names, rule, 0.65)
    assert scales["cls_token"] == pytest.approx(0.65**13) and scales["head.bias"] == 1.0


def test_without_blocks_and_with_decay_one_every_factor_is_one() -> None:
    assert set(layer_decay_scales(["head.weight", "norm.bias"], "data2vec2", 0.5).values()) == {1.0}
    assert set(layer_decay_scales(["blocks.3.a", "cls_token", "blocks.0.a"], "beit", 1.0).values()) == {1.0}


def test_unknown_rule_is_named() -> None:
    with pytest.raises(UserError, match="unknown layer-decay rule bert"):
        layer_id("head.weight", "bert", 12)
