"""data2vec 2.0: one teacher pass serves M masked views, of which the student encodes the visible part only.

Paper (arXiv 2212.07525) section 3; algorithms.md 7. Nothing here knows whether the input is an image, sound or text.
"""

from typing import Any

import torch
from torch import Tensor, nn

from data2vec.config import RunConfig
from data2vec.methods.step import Batch, Monitors, StepOutput
from data2vec.methods.targets import build_targets, loss_scale, masked_moments, position_moments, regression_loss
from data2vec.methods.teacher import Teacher
from data2vec.nn.decoder import ConvDecoder, masked_noise, scatter_visible
from data2vec.nn.encoder import Encoder, EncoderOutput
from data2vec.nn.transformer_decoder import TransformerDecoder


class Data2Vec2(nn.Module):
    """Student, decoder and teacher of data2vec 2.0."""

    def __init__(self, config: RunConfig, encoder: Encoder, decoder: nn.Module) -> None:
        super().__init__()
        self.target, self.loss, self.options = config.target, config.loss, config.decoder
        self.visible_only = config.mask.visible_only
        self.encoder = encoder
        self.decoder = decoder
        self.teacher = Teacher(encoder, config.teacher)
        dim = config.model.dim
        self.reconstruct = nn.Linear(dim, dim) if config.loss.reconstruction else None

    def forward(self, batch: Batch, noise: Tensor | None = None, monitor: bool = False) -> StepOutput:
        """Loss of one batch of B samples with R = B * M masks; `noise` (R, T, D) replaces the decoder's draw."""
        assert self.encoder.local is not None and self.encoder.context is not None
        is_masked, visible = batch.masks.is_masked, batch.masks.visible
        assert visible is not None
        # 1. Teacher: full view, once per sample -> normalised average of its top-K blocks (no gradient)
        local = self.encoder.local(batch.inputs)
        features = self.teacher(self.encoder, batch.inputs, local, batch.padding, self.target.feature)
        target = build_targets(features, self.target)
        # 2. Student: encode the visible positions of every masked view
        student = self.encoder.run_trunk(self.encoder.context(local, batch.padding, batch.masks))
        # 3. Decoder: visible positions at their places, noise elsewhere -> prediction at every position
        pred = self.predict(student, visible, is_masked.shape, noise)
        # 4. Loss over hidden positions; every view of a sample has the sample's target
        B, (R, T) = len(target), is_masked.shape
        views, hidden = pred.view(B, R // B, T, -1), is_masked.view(B, R // B, T, 1)
        scale = loss_scale(self.loss.scale, pred.shape[-1])
        loss = regression_loss(views, target.unsqueeze(1), self.loss.beta) * hidden
        terms = {"regression": loss.sum() * (scale * self.loss.d2v)}
        sample_size = is_masked.sum()
        if self.loss.cls:
            terms["cls"] = self._class_loss(student.extra, target, scale) * sample_size
        if self.reconstruct is not None:
            loss = self._reconstruction_loss(batch.inputs, views, hidden)
            terms["reconstruction"] = loss * (scale * self.loss.reconstruction)
        monitors: Monitors = {}
        if monitor:
            repeated = target.repeat_interleave(R // B, 0)
            monitors = {
                "pred_var": masked_moments(pred, is_masked),
                "target_var": masked_moments(repeated, is_masked),
                "position_var": position_moments(target, batch.padding),
            }
        return StepOutput(terms, sample_size, pred, target, monitors)

    def predict(self, student: EncoderOutput, visible: Tensor, shape: torch.Size, noise: Tensor | None) -> Tensor:
        """Predictions (R, T, D) from the encoded positions; `shape` is (R, T)."""
        if isinstance(self.decoder, TransformerDecoder):  # ablation: a learned token at hidden positions
            everywhere = torch.arange(shape[1], device=visible.device).expand(shape)
            return self.decoder(student.x, visible if self.visible_only else everywhere, student.extra)
        if not self.visible_only:  # ablation: every position was encoded
            return self.decoder(student.x)
        if noise is None:
            noise = masked_noise((*shape, student.x.shape[-1]), self.options.noise_std, student.x.device)
        return self.decoder(self.decoder_input(student.x, visible, noise))

    def decoder_input(self, visible: Tensor, ids: Tensor, noise: Tensor) -> Tensor:
        """Full-length sequence (R, T, D): encoded positions `visible` (R, V, D) at `ids`, `noise` elsewhere."""
        positions = getattr(self.encoder.context, "positions", None)
        if self.options.positions_masked and positions is not None:
            noise = noise + positions
        assert isinstance(self.decoder, ConvDecoder)
        x = scatter_visible(self.decoder.input_dropout(visible), ids, noise)
        return x + positions if self.options.positions_all and positions is not None else x

    def _reconstruction_loss(self, inputs: Tensor, views: Tensor, hidden: Tensor) -> Tensor:
        """Optional: a linear map of the prediction reconstructs the raw input at hidden positions; summed."""
        local: Any = self.encoder.local
        assert self.reconstruct is not None
        target = local.reconstruction_targets(inputs).unsqueeze(1)
        return (regression_loss(self.reconstruct(views), target, self.loss.beta) * hidden).sum()

    def _class_loss(self, extra: Tensor, target: Tensor, scale: float) -> Tensor:
        """The last extra token predicts the mean target of its sample; summed over rows and channels."""
        pred = extra[:, -1].view(len(target), -1, extra.shape[-1])
        loss = regression_loss(pred, target.mean(1, keepdim=True), self.loss.beta).sum()
        # differs: as released the weight grows with the rows of one GPU's batch (pitfall P-I1); `cls_rows`
        # fixes the row count that it stands for, None keeps the released behaviour.
        rows = pred.shape[0] * pred.shape[1]
        factor = 1.0 if self.loss.cls_rows is None else self.loss.cls_rows / rows
        return loss * (scale * self.loss.cls * factor)

    @torch.no_grad()
    def update_teacher(self, decay: float) -> None:
        """Move the teacher towards the student."""
        self.teacher.update(self.encoder, decay)

    def position_errors(self, output: StepOutput) -> Tensor:
        """Mean squared error at each position of every view, (R, T)."""
        R, _T, _D = output.pred.shape
        target = output.target.repeat_interleave(R // len(output.target), 0)
        return (output.pred.float() - target.float()).square().mean(-1)
