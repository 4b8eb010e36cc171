"""data2vec 1.0: predict the teacher's contextualised features of the full input at the hidden positions.

Paper section 3; algorithms.md 4-6. Nothing here knows whether the input is an image, sound or text.
"""

import torch
from torch import Tensor, nn

from data2vec.config import RunConfig
from data2vec.methods.step import Batch, Monitors, StepOutput
from data2vec.methods.targets import build_targets, loss_scale, masked_moments, position_moments, regression_loss
from data2vec.methods.teacher import Teacher
from data2vec.nn.encoder import Encoder


class Data2Vec(nn.Module):
    """Student, teacher and prediction head of data2vec 1.0."""

    def __init__(self, config: RunConfig, encoder: Encoder, head: nn.Module) -> None:
        super().__init__()
        self.target, self.loss = config.target, config.loss
        self.encoder = encoder
        self.head = head
        self.teacher = Teacher(encoder, config.teacher, head)

    def forward(self, batch: Batch, monitor: bool = False) -> StepOutput:
        """Loss of one batch, summed over hidden positions; `monitor` adds the collapse statistics."""
        assert self.encoder.local is not None and self.encoder.context is not None
        is_masked = batch.masks.is_masked
        # 1. Teacher: full view -> normalised average of its top-K blocks (no gradient)
        local = self.encoder.local(batch.inputs)
        inputs, padding = batch.full_view()
        features = self.teacher(self.encoder, inputs, local, padding, self.target.feature)
        target = build_targets(features, self.target)
        # 2. Student: masked view -> prediction at every position
        tokens = self.encoder.context(local, batch.padding, batch.masks)
        pred = self.head(self.encoder.run_trunk(tokens).x)
        # 3. Loss over hidden positions only
        loss = regression_loss(pred, target, self.loss.beta) * is_masked.unsqueeze(-1)
        total = loss.sum() * loss_scale(self.loss.scale, pred.shape[-1])
        monitors: Monitors = {}
        if monitor:
            monitors = {
                "pred_var": masked_moments(pred, is_masked),
                "target_var": masked_moments(target, is_masked),
                "position_var": position_moments(target, padding),
            }
        return StepOutput({"regression": total}, is_masked.sum(), pred, target, monitors)

    @torch.no_grad()
    def update_teacher(self, decay: float) -> None:
        """Move the teacher towards the student."""
        self.teacher.update(self.encoder, decay, self.head)

    def position_errors(self, output: StepOutput) -> Tensor:
        """Mean squared error at each position, (R, T)."""
        return (output.pred.float() - output.target.float()).square().mean(-1)
