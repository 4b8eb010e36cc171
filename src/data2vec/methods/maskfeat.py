"""MaskFeat: hidden patches become a learned token, one linear layer predicts their histograms of gradients.

arXiv 2112.09133, section 3; the histograms are those of Dalal and Triggs (CVPR 2005) without overlapping blocks.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data2vec.config import RunConfig
from data2vec.methods.step import Batch, Monitors, StepOutput
from data2vec.methods.targets import masked_moments, regression_loss
from data2vec.nn.encoder import Encoder


def gradient_histograms(images: Tensor, patch_size: int, bins: int = 9, cells: int = 2) -> Tensor:
    """Histograms of oriented gradients of every patch: (B, C, H, W) -> (B, T, C * cells**2 * bins), float32.

    Central differences of each channel with the border repeated; the unsigned direction falls into one of `bins` with
    the gradient's length as its weight; every cell's histogram has length 1 (0 where the image is flat).
    """
    B, C, H, W = images.shape
    x = F.pad(images.float(), (1, 1, 1, 1), mode="replicate")
    dx, dy = x[:, :, 1:-1, 2:] - x[:, :, 1:-1, :-2], x[:, :, 2:, 1:-1] - x[:, :, :-2, 1:-1]
    length, angle = torch.hypot(dx, dy), torch.atan2(dy, dx).remainder(math.pi)
    index = (angle * (bins / math.pi)).long().clamp(max=bins - 1)
    votes = torch.zeros(B, C, bins, H, W, device=images.device)
    votes.scatter_(2, index.unsqueeze(2), length.unsqueeze(2))
    histograms = F.avg_pool2d(votes.flatten(0, 1), patch_size // cells)
    histograms = F.normalize(histograms, dim=1, eps=1e-6)
    h, w = H // patch_size, W // patch_size
    return histograms.view(B, C, bins, h, cells, w, cells).permute(0, 3, 5, 1, 4, 6, 2).reshape(B, h * w, -1)


class MaskFeat(nn.Module):
    """Student and linear head; there is no teacher."""

    def __init__(self, config: RunConfig, encoder: Encoder) -> None:
        super().__init__()
        self.patch_size, self.options = config.vision.patch_size, config.pixels
        self.encoder = encoder
        width = config.vision.channels * self.options.hog_cells**2 * self.options.hog_bins
        self.head = nn.Linear(config.model.dim, width)

    def forward(self, batch: Batch, monitor: bool = False) -> StepOutput:
        """Squared error of a patch (mean over its histograms), summed over hidden patches."""
        is_masked = batch.masks.is_masked
        target = gradient_histograms(batch.inputs, self.patch_size, self.options.hog_bins, self.options.hog_cells)
        pred = self.head(self.encoder(batch.inputs, None, batch.masks).x)
        loss = (regression_loss(pred, target, 0).mean(-1) * is_masked).sum()
        monitors: Monitors = {}
        if monitor:
            monitors = {"pred_var": masked_moments(pred, is_masked), "target_var": masked_moments(target, is_masked)}
        return StepOutput({"gradients": loss}, is_masked.sum(), pred, target, monitors)

    def update_teacher(self, decay: float) -> None:
        """Nothing follows the student."""

    def position_errors(self, output: StepOutput) -> Tensor:
        """Mean squared error at each position, (B, T)."""
        return regression_loss(output.pred, output.target, 0).mean(-1)
