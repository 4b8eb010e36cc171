"""wav2vec 2.0: tell the quantised features of a hidden frame from those of other hidden frames.

Paper (arXiv 2006.11477) sections 2 and 3; algorithms.md 8.2. The encoder is that of data2vec 1.0 on speech.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data2vec.config import RunConfig
from data2vec.methods.contrast import at_positions, cosine_errors, cosine_scores
from data2vec.methods.step import Batch, Monitors, StepOutput
from data2vec.methods.targets import masked_moments
from data2vec.modalities.speech import WaveformEncoder
from data2vec.nn.encoder import Encoder
from data2vec.nn.quantiser import GumbelQuantiser, code_shares, perplexity


class Wav2Vec2(nn.Module):
    """Encoder, quantiser, and the projections into the space where prediction and codes are compared."""

    updates: Tensor

    def __init__(self, config: RunConfig, encoder: Encoder) -> None:
        super().__init__()
        q, self.options, self.contrast = config.quantiser, config.quantiser, config.contrast
        self.encoder = encoder
        self.quantiser = GumbelQuantiser(config.speech.conv_layers[-1][0], q.groups, q.entries, q.dim)
        self.project_target = nn.Linear(q.dim, config.contrast.dim)
        self.head = nn.Linear(config.model.dim, config.contrast.dim)
        self.dropout = nn.Dropout(config.speech.frame_dropout)
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

    def forward(
        self,
        batch: Batch,
        monitor: bool = False,
        negatives: Tensor | None = None,
        exponential: Tensor | None = None,
    ) -> StepOutput:
        """Loss of one batch, summed over its N hidden frames; `monitor` adds what the log shows.

        `negatives` (N, number) indices of hidden frames and `exponential` (N, groups, entries) replace the draws.
        """
        local = self.encoder.local
        assert isinstance(local, WaveformEncoder) and self.encoder.context is not None
        is_masked = batch.masks.is_masked
        # 1. Local features; the quantiser reads them before their projection
        raw = local.stack(batch.inputs)
        normed = local.norm(raw)
        # 2. Masked view -> prediction at every frame
        tokens = self.encoder.context(self.dropout(local.proj(normed)), batch.padding, batch.masks)
        pred = self.head(self.encoder.run_trunk(tokens).x)
        # 3. Targets: quantised features of the hidden frames, each against others of the same recording (float32)
        if negatives is None:
            negatives = sample_negatives(is_masked, self.contrast.negatives)
        with torch.autocast(pred.device.type, enabled=False):
            hidden = self.dropout(normed)[is_masked].float()
            quantised = self.quantiser(hidden, self.temperature(), exponential)
            target = self.project_target(quantised.vectors)
            logits = contrast_logits(pred[is_masked], target, quantised.codes, negatives, self.contrast.temperature)
            # 4. Loss: which one is it; use all codes; small features
            shares = quantised.logits.softmax(-1).mean(0)
            possible = shares.numel()
            sample_size = is_masked.sum()
            diversity = (possible - perplexity(shares)) / possible
            penalty = raw.float().square().mean()
        terms = {
            "contrast": F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long), reduction="sum"),
            "diversity": diversity * (self.contrast.diversity * sample_size),
            "penalty": penalty * (self.contrast.feature_penalty * sample_size),
        }
        placed = at_positions(target.detach(), is_masked)
        monitors: Monitors = {}
        if monitor:
            monitors = {
                "pred_var": masked_moments(pred, is_masked),
                "target_var": masked_moments(placed, is_masked),
                "accuracy": (logits.argmax(1) == 0).float().mean(),
                "soft_perplexity": perplexity(shares),
                "code_perplexity": perplexity(code_shares(quantised.logits.argmax(-1), shares.shape[-1])),
                "temperature": self.temperature(),
            }
        return StepOutput(terms, sample_size, pred, placed, monitors)

    def temperature(self) -> Tensor:
        """Of the quantiser's choice: falls by a constant factor per update until it stays at its end."""
        start, end = self.options.temperature
        share = (self.updates / max(1, self.options.anneal_updates)).clamp(max=1)
        return start * (end / start) ** share

    @torch.no_grad()
    def update_teacher(self, decay: float) -> None:
        """There is no teacher; counts the updates, on which the temperature depends."""
        self.updates += 1

    def position_errors(self, output: StepOutput) -> Tensor:
        """1 - cosine of prediction and quantised features at hidden frames, (R, T)."""
        return cosine_errors(output.pred, output.target)


def sample_negatives(is_masked: Tensor, number: int) -> Tensor:
    """For each of the N hidden frames of masks (B, T): `number` others of its row, with replacement, (N, number).

    Indices count hidden frames row by row. A frame that is alone in its row gets itself, which scores nothing.
    """
    counts = is_masked.sum(1)
    first = (counts.cumsum(0) - counts).repeat_interleave(counts)[:, None]
    others = (counts - 1).repeat_interleave(counts)[:, None]
    own = torch.arange(len(first), device=is_masked.device)[:, None] - first
    draws = (torch.rand(len(first), number, device=is_masked.device) * others).long()
    return first + torch.where(others > 0, skip_own(draws, own), 0)


def skip_own(draws: Tensor, own: Tensor) -> Tensor:
    """Draws from 0 .. n - 2 as indices from 0 .. n - 1 that leave out `own`."""
    return draws + (draws >= own)


def contrast_logits(pred: Tensor, target: Tensor, codes: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """Scores (N, 1 + number) of a frame's own target, first, and of its negatives; -inf for one with equal codes.

    `pred` and `target` (N, D), `codes` (N, G), `negatives` (N, number) indices of frames.
    """
    # One product for all pairs, then a look-up: gathering the negatives' vectors would take 100 times the memory.
    scores = cosine_scores(pred, target, temperature)
    own = torch.arange(len(pred), device=pred.device)[:, None]
    # differs: as released, vectors are compared bit by bit after their projection; equal codes are what it means.
    same = (codes[negatives] == codes[:, None]).all(-1)
    others = scores.gather(1, negatives).masked_fill(same, -torch.inf)
    return torch.cat([scores.gather(1, own), others], dim=1)
