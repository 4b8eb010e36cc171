"""HuBERT: name the unit of each hidden frame; units are clusters found before training.

Paper (arXiv 2106.07447) section II. First iteration: clusters of MFCC. Second: clusters of what a block of an earlier
run computes. `training/units.py` fits them when a run starts; here they are looked up.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data2vec.config import RunConfig
from data2vec.methods.contrast import cosine_errors, cosine_scores
from data2vec.methods.step import Batch, Monitors, StepOutput
from data2vec.methods.targets import masked_moments
from data2vec.modalities.speech import WaveformEncoder
from data2vec.nn.encoder import Encoder


class Hubert(nn.Module):
    """Encoder, prediction head, a vector for each unit, and the teacher whose features are clustered."""

    centroids: Tensor

    def __init__(self, config: RunConfig, encoder: Encoder, teacher: nn.Module, size: int) -> None:
        """`teacher` gives the features of `size` channels: MFCC, or an earlier run's encoder, which never learns."""
        super().__init__()
        self.options, self.contrast = config.hubert, config.contrast
        self.encoder = encoder
        self.head = nn.Linear(config.model.dim, config.contrast.dim)
        self.units = nn.Parameter(torch.empty(config.hubert.clusters, config.contrast.dim).uniform_())
        self.dropout = nn.Dropout(config.speech.frame_dropout)
        self.teacher = teacher.requires_grad_(False).eval()
        self.register_buffer("centroids", torch.zeros(config.hubert.clusters, size))

    def train(self, mode: bool = True) -> "Hubert":
        """The teacher stays in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, batch: Batch, monitor: bool = False) -> StepOutput:
        """Loss of one batch, summed over hidden frames; `monitor` adds what the log shows."""
        local = self.encoder.local
        assert isinstance(local, WaveformEncoder) and self.encoder.context is not None
        is_masked = batch.masks.is_masked
        # 1. Units of the whole view
        units = self.assign(self.features(batch.inputs, batch.padding))
        # 2. Masked view -> prediction at every frame
        raw = local.stack(batch.inputs)
        frames = self.dropout(local.proj(local.norm(raw)))
        tokens = self.encoder.context(frames, batch.padding, batch.masks)
        pred = self.head(self.encoder.run_trunk(tokens).x)
        # 3. Loss at hidden frames: which unit is it; small features (float32)
        hidden = units[is_masked]
        with torch.autocast(pred.device.type, enabled=False):
            logits = cosine_scores(pred[is_masked], self.units, self.contrast.temperature)
        sample_size = is_masked.sum()
        penalty = raw.float().square().mean()
        terms = {
            "units": F.cross_entropy(logits, hidden, reduction="sum"),
            "penalty": penalty * (self.contrast.feature_penalty * sample_size),
        }
        target = self.units.detach()[units]
        monitors: Monitors = {}
        if monitor:
            shares = torch.bincount(hidden, minlength=len(self.units)).float() / len(hidden)
            monitors = {
                "pred_var": masked_moments(pred, is_masked),
                "target_var": masked_moments(target, is_masked),
                "accuracy": (logits.argmax(1) == hidden).float().mean(),
                "most_frequent_unit": shares.max(),
            }
        return StepOutput(terms, sample_size, pred, target, monitors)

    @torch.no_grad()
    def features(self, waveforms: Tensor, padding: Tensor | None = None) -> Tensor:
        """What is clustered: (B, samples) -> (B, T, size) float32."""
        if isinstance(self.teacher, Encoder):
            return self.teacher(waveforms, padding, None, "end").features[self.options.layer - 1].float()
        with torch.autocast(waveforms.device.type, enabled=False):
            return self.teacher(waveforms)

    @torch.no_grad()
    def assign(self, features: Tensor) -> Tensor:
        """Nearest centroid of each frame: (B, T, size) -> (B, T) int64."""
        # differs: for each crop when it is used. Published: once for each recording, before training.
        return torch.cdist(features.flatten(0, 1), self.centroids).argmin(1).view(features.shape[:2])

    @torch.no_grad()
    def update_teacher(self, decay: float) -> None:
        """Units stay as they are."""

    def position_errors(self, output: StepOutput) -> Tensor:
        """1 - cosine of prediction and the unit's vector, (R, T)."""
        return cosine_errors(output.pred, output.target)
