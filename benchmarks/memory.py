"""Memory that a training step needs on a card, without a card: what autograd keeps of one sample, in bf16.

PYTHONPATH=src python benchmarks/memory.py method=data2vec2 modality=vision model=large

Weights, gradients, Adam's moments and the teacher take 20 bytes a parameter, their copies in bf16 2 more. Attention is
computed as on a CPU, which keeps its weights (the fused kernel of a card does not): the figures are upper bounds.
"""

import sys

import numpy as np
import torch

from data2vec.compose import compose, split_overrides
from data2vec.config import RunConfig
from data2vec.methods.build import build_method
from data2vec.nn.transformer import Transformer
from data2vec.training.benchmark import random_batches

CARD, USABLE = 80e9, 0.85  # bytes; the rest is for temporary tensors and fragments


def kept_bytes(config: RunConfig, model: torch.nn.Module) -> int:
    """Bytes of the tensors that autograd keeps for the backward pass of one micro-batch, parameters left out."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        casts = tensor.ndim == 2 and tensor.is_leaf and tensor.dtype == torch.bfloat16
        if storage.data_ptr() not in own and not casts:
            kept[storage.data_ptr()] = tensor
        return tensor

    batch = random_batches(config, np.random.default_rng(0))()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t), torch.autocast("cpu", torch.bfloat16):
        loss = model(batch).loss
    assert loss.isfinite()
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def main(words: list[str]) -> None:
    """One line for each of: blocks kept, blocks computed again."""
    given = split_overrides(words)
    config = compose(given | {"train.micro_batch": "1"})
    if config.modality == "speech":
        seconds = config.speech.max_seconds
        config.speech.micro_seconds = seconds
    model = build_method(config).train()
    count = sum(p.numel() for n, p in model.named_parameters() if not n.startswith("teacher."))
    fixed, block = 22 * count, 0.0
    for again in (False, True):
        for module in model.modules():
            if isinstance(module, Transformer):
                module.checkpointing = again
        each = kept_bytes(config, model) + block
        block = each / config.model.depth  # while it is computed again, one block keeps its tensors
        fits = int((USABLE * CARD - fixed) / each)
        unit = f"recordings of {config.speech.max_seconds:g} s" if config.modality == "speech" else "samples"
        name = "checkpointing" if again else "as it is"
        sys.stdout.write(
            f"{config.method} {config.modality} {config.model.name}: {count / 1e6:.0f} M parameters, "
            f"{fixed / 1e9:.1f} GB; {name}: {each / 1e6:.0f} MB a sample, {fits} {unit} on 80 GB\n"
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1:])
