"""What a checkpoint of data2vec 1.0 on images is: the BEiT-based script's and fairseq's port of it.

state_dict_layouts.md sections 2.3 and 2.4.
"""

import ast
import math
from typing import Any

from data2vec.errors import UserError
from data2vec.interop.facts import Facts, Layout, Sections, ratio
from data2vec.interop.fairseq import learning
from data2vec.interop.names import V1_VISION_BEIT, V1_VISION_FAIRSEQ

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
HALVES = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}


def beit(facts: Facts) -> Layout:
    """The BEiT-based script's model, pre-trained or fine-tuned."""
    if facts.has(r"decoder_blocks\..*"):
        raise UserError("the checkpoint is a masked autoencoder (it has decoder_blocks), not data2vec")
    sections = _sections(facts, "blocks.", "patch_embed.proj.weight", "mlp.fc1", "rel_pos_bias.", 1e-6)
    sections["model"]["final_norm"] = facts.has(r"norm\.weight")
    sections["model"]["absolute_positions"] = "learned" if facts.has("pos_embed") else "none"
    sections["vision"] |= _statistics(facts)
    sections["target"] = _target(facts)
    keys = {"start": "ema_decay_init", "end": "ema_decay"}
    stored = {ours: value for ours, theirs in keys.items() if (value := facts.told(theirs)) is not None}
    sections["teacher"] = {"start": stored["end"], **stored} if "end" in stored else {}
    if facts.told("l1_beta") is not None:
        sections["loss"] = {"beta": 0.0 if facts.told("l2_loss") else facts.told("l1_beta")}
    return Layout("BEiT-based script, data2vec 1.0 vision", "data2vec", "vision", sections, V1_VISION_BEIT)


def port(facts: Facts) -> Layout:
    """The port to fairseq, whose student has no prediction head (pitfall P-V10)."""
    sections = _sections(facts, "encoder.blocks.", "patch_embed.conv.weight", "mlp.0", "encoder.rel_pos_bias.", 1e-5)
    sections["model"]["final_norm"] = facts.has(r"encoder\.norm\.weight")
    sections |= learning(facts)
    return Layout("fairseq, data2vec 1.0 vision", "data2vec", "vision", sections, V1_VISION_FAIRSEQ)


def _sections(facts: Facts, blocks: str, patch: str, hidden: str, shared: str, eps: float) -> Sections:
    dim, channels, side = facts.shape(patch, 4)[:3]
    table = facts.find(f"{shared}relative_position_bias_table", 2)
    own = facts.find(f"{blocks}0.attn.relative_position_bias_table", 2)
    found = table or own
    scaled = f"{blocks}0.gamma_1" in facts.shapes
    scale = facts.told("layer_scale_init_value") or 1e-4
    model: dict[str, Any] = {
        "dim": facts.measured(dim, "embed_dim"),
        "depth": facts.measured(facts.count(rf"{blocks}(\d+)\."), "depth"),
        "heads": facts.heads(dim, "num_heads", found=found[1] if found else None),
        "mlp_ratio": ratio(facts.shape(f"{blocks}0.{hidden}.weight", 2)[0], dim),
        "norm": "pre",
        "norm_eps": eps,
        "qkv_bias": "full" if f"{blocks}0.attn.qkv.bias" in facts.shapes else "no_key",
        "layer_scale": scale if scaled else None,
        "relative_positions": "shared" if table else "per_block" if own else "none",
        "extra_tokens": 1,
    }
    return {"model": model, "vision": _geometry(facts, found, side) | {"patch_size": side, "channels": channels}}


def _geometry(facts: Facts, table: tuple[int, ...] | None, patch: int) -> dict[str, Any]:
    """Image size, from the number of relative or absolute positions."""
    keys = ("input_size", "image_size", "img_size")
    if table is not None:
        grid = (math.isqrt(max(0, table[0] - 3)) + 1) // 2
    elif facts.has("pos_embed"):
        grid = math.isqrt(facts.shape("pos_embed", 3)[1] - 1)
    else:
        return {"image_size": facts.assume(224, "vision.image_size", *keys)}
    return {"image_size": facts.measured(grid * patch, *keys)}


def _statistics(facts: Facts) -> dict[str, Any]:
    """Mean and deviation of pixels that the model was given; fine-tuning left ImageNet's out (pitfall P-V6)."""
    told = facts.told("imagenet_default_mean_and_std")
    if told is None and facts.has(r"lm_head\.weight"):
        return IMAGENET
    default = facts.assume(False, "pixels normalised by ImageNet's statistics", "imagenet_default_mean_and_std")
    return IMAGENET if default else HALVES


def _target(facts: Facts) -> dict[str, Any]:
    """The averaged blocks, stored as a text that lists them."""
    depth = facts.count(r"blocks\.(\d+)\.")
    try:
        layers = ast.literal_eval(str(facts.told("target_layers"))[:1000])
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        layers = None
    known = isinstance(layers, list) and layers and all(type(i) is int and 0 <= i < depth for i in layers)
    return {"top_k": min(6, depth)} | ({"layers": layers, "top_k": len(layers)} if known else {})
