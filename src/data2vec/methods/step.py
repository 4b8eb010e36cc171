"""What goes into a training step and what comes out of it; the same for every method and modality."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from data2vec.methods.targets import Moments
from data2vec.nn.encoder import Masks

Monitors = Mapping[str, Tensor | Moments]  # what the log shows beside the loss


@dataclass
class Batch:
    """One micro-batch: raw inputs of B samples, their padding, and the masks of their R >= B views.

    Where the raw inputs already hide what the student must not see, `teacher_inputs` are the full ones. Methods that
    compare views have two large ones of each sample in `inputs` (B, 2, ...) and small ones in `crops`.
    """

    inputs: Tensor
    masks: Masks
    padding: Tensor | None = None  # (B, T) bool at the resolution of `Encoder.local`, True = padding
    teacher_inputs: Tensor | None = None
    teacher_padding: Tensor | None = None
    crops: Tensor | None = None  # (B, views, C, s, s)

    def full_view(self) -> tuple[Tensor, Tensor | None]:
        """Inputs of the teacher and their padding."""
        if self.teacher_inputs is None:
            return self.inputs, self.padding
        return self.teacher_inputs, self.teacher_padding

    def to(self, device: torch.device) -> "Batch":
        """Move to a device without waiting for the copy."""
        tensors = (self.inputs, self.padding, self.teacher_inputs, self.teacher_padding, self.crops)
        inputs, *others = (None if t is None else t.to(device, non_blocking=True) for t in tensors)
        assert inputs is not None
        return Batch(inputs, self.masks.to(device), *others)


@dataclass
class StepOutput:
    """Loss terms (sums over hidden positions and channels, weights included) and what they came from."""

    terms: dict[str, Tensor]
    sample_size: Tensor  # number of hidden positions; the optimiser sees sum(terms) / sample_size
    pred: Tensor  # (R, T, D); over views, T counts those
    target: Tensor  # (B or R, T, D) float32; word ids (B, T) in masked language models
    monitors: Monitors = field(default_factory=dict)

    @property
    def loss(self) -> Tensor:
        """Sum of all terms."""
        return torch.stack(list(self.terms.values())).sum()
