"""SimMIM: hidden patches become a learned token, one linear layer predicts their pixels.

arXiv 2111.09886, section 3.
"""

from typing import Any

from torch import Tensor, nn

from data2vec.config import RunConfig
from data2vec.methods.step import Batch, Monitors, StepOutput
from data2vec.methods.targets import masked_moments
from data2vec.nn.encoder import Encoder


class SimMIM(nn.Module):
    """Student and linear head; there is no teacher."""

    def __init__(self, config: RunConfig, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(config.model.dim, config.vision.channels * config.vision.patch_size**2)

    def forward(self, batch: Batch, monitor: bool = False) -> StepOutput:
        """Absolute error of a patch (mean over its pixels), summed over hidden patches."""
        local: Any = self.encoder.local
        is_masked = batch.masks.is_masked
        target = local.pixels(batch.inputs, False)
        pred = self.head(self.encoder(batch.inputs, None, batch.masks).x)
        loss = ((pred.float() - target).abs().mean(-1) * is_masked).sum()
        monitors: Monitors = {}
        if monitor:
            monitors = {"pred_var": masked_moments(pred, is_masked), "target_var": masked_moments(target, is_masked)}
        return StepOutput({"pixels": loss}, is_masked.sum(), pred, target, monitors)

    def update_teacher(self, decay: float) -> None:
        """Nothing follows the student."""

    def position_errors(self, output: StepOutput) -> Tensor:
        """Mean absolute error at each position, (B, T)."""
        return (output.pred.float() - output.target).abs().mean(-1)

    def predicted_pixels(self, output: StepOutput, images: Tensor) -> Tensor:
        """Predicted patches in the images' scale, (B, T, p * p * C)."""
        return output.pred.float()
