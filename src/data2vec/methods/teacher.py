"""The teacher: a float32 exponential moving average of the student (paper section 3.3; algorithms.md 1.6).

What it owns differs between methods and modalities (`ema.scope`):

    encoder   local features, context and trunk        (2.0 images, 1.0 images)
    context   context and trunk; the student's local features are its input   (speech)
    trunk     the shared blocks only; the student's context is its input      (2.0 text)
"""

import copy
from collections.abc import Iterator
from fnmatch import fnmatch

import torch
from torch import Tensor, nn

from data2vec.nn.encoder import Encoder
from data2vec.nn.transformer import Feature, Transformer
from data2vec.sections import TeacherConfig


class Teacher(nn.Module):
    """Holds the averaged copy of the student's encoder (and of its `head`, which is averaged but unused)."""

    def __init__(self, student: Encoder, config: TeacherConfig, head: nn.Module | None = None) -> None:
        super().__init__()
        self.copied = tuple(config.copied)
        parts = {"encoder": 0, "context": 1, "trunk": 2}[config.scope]
        self.encoder = Encoder(
            copy.deepcopy(student.local) if parts < 1 else None,
            copy.deepcopy(student.context) if parts < 2 else None,
            copy.deepcopy(student.trunk),
            student.extra_tokens,
        )
        self.head = copy.deepcopy(head) if config.scope == "encoder" else None
        if config.context < 100:  # ablation of the target's context (1.0 paper, figure 3)
            for module in self.encoder.modules():
                if isinstance(module, Transformer):
                    module.window = (student.extra_tokens, config.context / 100)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "Teacher":
        """Stay in evaluation mode: the teacher never drops anything."""
        return super().train(False)

    @torch.no_grad()
    def forward(
        self, student: Encoder, inputs: Tensor, local: Tensor, padding: Tensor | None, feature: Feature
    ) -> list[Tensor]:
        """Features (B, T, D) of every block on the full, unmasked view. `local` are the student's features."""
        if self.encoder.local is not None:
            local = self.encoder.local(inputs)
        context = self.encoder.context if self.encoder.context is not None else student.context
        assert context is not None
        return self.encoder.run_trunk(context(local.detach(), padding), feature).features

    @torch.no_grad()
    def update(self, student: Encoder, decay: float, head: nn.Module | None = None) -> None:
        """Teacher <- decay * teacher + (1 - decay) * student; copied parameters and buffers are overwritten."""
        average_t, average_s = [], []
        for name, mine, theirs in self._pairs(student, head):
            frozen = not theirs.requires_grad or not theirs.is_floating_point()
            if frozen or any(fnmatch(name, pattern) for pattern in self.copied):
                mine.copy_(theirs)
            else:
                average_t.append(mine)
                average_s.append(theirs)
        if decay < 1 and average_t:  # decay 1 is a frozen teacher
            torch._foreach_lerp_(average_t, average_s, 1.0 - decay)

    def _pairs(self, student: Encoder, head: nn.Module | None) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Names and tensors that exist on both sides, parameters and buffers."""
        theirs = dict(student.named_parameters()) | dict(student.named_buffers())
        for name, mine in (*self.encoder.named_parameters(), *self.encoder.named_buffers()):
            yield name, mine, theirs[name]
        if self.head is not None and head is not None:
            for mine, other in zip(self.head.parameters(), head.parameters(), strict=True):
                yield "head", mine, other
