"""What goes into a training step and what comes out of it; the same for every method and modality."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from data2vec.nn.encoder import Masks


@dataclass
class Batch:
    """One micro-batch: raw inputs of B samples, their padding, and the masks of their R >= B views."""

    inputs: Tensor
    masks: Masks
    padding: Tensor | None = None  # (B, T) bool at the resolution of `Encoder.local`, True = padding

    def to(self, device: torch.device) -> "Batch":
        """Move to a device without waiting for the copy."""
        padding = None if self.padding is None else self.padding.to(device, non_blocking=True)
        return Batch(self.inputs.to(device, non_blocking=True), self.masks.to(device), padding)


@dataclass
class StepOutput:
    """Loss terms (sums over hidden positions and channels, weights included) and what they came from."""

    terms: dict[str, Tensor]
    sample_size: Tensor  # number of hidden positions; the optimiser sees sum(terms) / sample_size
    pred: Tensor  # (R, T, D)
    target: Tensor  # (B or R, T, D) float32
    monitors: dict[str, Tensor] = field(default_factory=dict)

    @property
    def loss(self) -> Tensor:
        """Sum of all terms."""
        return torch.stack(list(self.terms.values())).sum()
