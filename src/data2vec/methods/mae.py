"""MAE: encode the visible patches, decode all of them, compare the hidden ones with their pixels.

arXiv 2111.06377, section 3; algorithms.md 8.1.
"""

from typing import Any

from torch import Tensor, nn

from data2vec.config import RunConfig
from data2vec.methods.step import Batch, Monitors, StepOutput
from data2vec.methods.targets import masked_moments, regression_loss
from data2vec.nn.encoder import Encoder
from data2vec.nn.transformer_decoder import TransformerDecoder


class MAE(nn.Module):
    """Student and decoder; there is no teacher."""

    def __init__(self, config: RunConfig, encoder: Encoder, decoder: TransformerDecoder) -> None:
        super().__init__()
        self.norm_pixels = config.pixels.norm
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, batch: Batch, monitor: bool = False) -> StepOutput:
        """Squared error of a patch (mean over its pixels), summed over hidden patches."""
        local: Any = self.encoder.local
        is_masked, visible = batch.masks.is_masked, batch.masks.visible
        assert visible is not None
        # 1. Target: pixels of every patch
        target = local.pixels(batch.inputs, self.norm_pixels)
        # 2. Student: encode the visible patches
        student = self.encoder(batch.inputs, None, batch.masks)
        # 3. Decoder: visible patches at their places, a learned token elsewhere -> pixels of every patch
        pred = self.decoder(student.x, visible, student.extra)
        # 4. Loss over hidden patches
        loss = (regression_loss(pred, target, 0).mean(-1) * is_masked).sum()
        monitors: Monitors = {}
        if monitor:
            monitors = {"pred_var": masked_moments(pred, is_masked), "target_var": masked_moments(target, is_masked)}
        return StepOutput({"pixels": loss}, is_masked.sum(), pred, target, monitors)

    def update_teacher(self, decay: float) -> None:
        """Nothing follows the student."""

    def position_errors(self, output: StepOutput) -> Tensor:
        """Mean squared error at each position, (B, T)."""
        return regression_loss(output.pred, output.target, 0).mean(-1)

    def predicted_pixels(self, output: StepOutput, images: Tensor) -> Tensor:
        """Predicted patches in the images' scale, (B, T, p * p * C); a standardised one gets its true statistics."""
        local: Any = self.encoder.local
        pred = output.pred.float()
        if not self.norm_pixels:
            return pred
        pixels = local.pixels(images, False)
        return pred * (pixels.var(-1, keepdim=True) + 1e-6).sqrt() + pixels.mean(-1, keepdim=True)
