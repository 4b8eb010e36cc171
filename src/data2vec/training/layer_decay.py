"""Layer-wise learning-rate factors by parameter name: data2vec 2.0's rule, BEiT's (1.0 vision) and MAE's.

Names are those of the reference; `blocks.<i>` anywhere in a name is a Transformer block, and one under a
part called `context...` is a block of the context encoder, which comes before the others.
"""

import re
from collections.abc import Iterable

from data2vec.errors import UserError

RULES = ("data2vec2", "beit", "mae")

_BLOCK = re.compile(r"(?:^|\.)blocks\.(\d+)\.")
_CONTEXT_BLOCK = re.compile(r"(?:^|\.)context[^.]*\.(?:blocks\.)+(\d+)\.")
# the reference's names, and ours for the same parameters
_EMBEDDING = {"beit": {"cls_token", "mask_token", "pos_embed", "patch_embed", "local", "extra_tokens", "positions"}}
_EMBEDDING["mae"] = _EMBEDDING["beit"]


def layer_id(name: str, rule: str, depth: int, context_depth: int = 0) -> int:
    """0 for the embedding, 1..depth for blocks, depth + 1 for everything else.

    Args:
        name: parameter name.
        rule: "data2vec2", "beit" or "mae". In data2vec 2.0 only blocks are slowed down, not the embedding.
        depth: number of blocks, those of the context encoder included.
        context_depth: number of blocks of the context encoder.
    """
    if rule not in RULES:
        raise UserError(f"unknown layer-decay rule {rule} (known: {', '.join(RULES)})")
    parts = name.split(".")
    if "decoder" in parts:
        return depth + 1
    if context := _CONTEXT_BLOCK.search(name):
        return int(context[1]) + 1
    if block := _BLOCK.search(name):
        return int(block[1]) + 1 + context_depth
    return 0 if _EMBEDDING.get(rule, set()).intersection(parts) else depth + 1


def layer_decay_scales(names: Iterable[str], rule: str, decay: float) -> dict[str, float]:
    """Learning-rate factor decay ** (depth + 1 - layer id) by name; depths are read off the names."""
    names = list(names)
    context_depth = _count_blocks(_CONTEXT_BLOCK, names)
    depth = context_depth + _count_blocks(_BLOCK, [name for name in names if not _CONTEXT_BLOCK.search(name)])
    return {name: decay ** (depth + 1 - layer_id(name, rule, depth, context_depth)) for name in names}


def _count_blocks(pattern: re.Pattern[str], names: list[str]) -> int:
    blocks = [int(found[1]) for name in names if "decoder" not in name.split(".") and (found := pattern.search(name))]
    return max(blocks, default=-1) + 1
