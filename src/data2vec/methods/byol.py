"""BYOL: from one augmented view of an image, predict the teacher's top-layer feature of another.

arXiv 2006.07733, section 3; on Vision Transformers as in MoCo v3's comparison (arXiv 2104.02057, section 6). Nothing
is hidden: this is the moving-average target without masks and without contextualised positions.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data2vec.config import RunConfig
from data2vec.methods.step import Batch, Monitors, StepOutput
from data2vec.methods.targets import masked_moments
from data2vec.methods.teacher import Teacher
from data2vec.nn.encoder import Encoder, pool


def build_mlp(dim: int, hidden: int, output: int) -> nn.Sequential:
    """Linear, batch norm, ReLU, Linear. The norm always uses the batch at hand, so a copy needs no buffers."""
    norm = nn.BatchNorm1d(hidden, track_running_stats=False)
    return nn.Sequential(nn.Linear(dim, hidden), norm, nn.ReLU(), nn.Linear(hidden, output))


class BYOL(nn.Module):
    """Student with projector and predictor; a teacher that averages encoder and projector."""

    def __init__(self, config: RunConfig, encoder: Encoder) -> None:
        super().__init__()
        v = config.views
        self.pooling = v.pooling
        self.encoder = encoder
        self.projector = build_mlp(config.model.dim, v.hidden_dim, v.output_dim)
        self.predictor = build_mlp(v.output_dim, v.hidden_dim, v.output_dim)
        self.teacher = Teacher(encoder, config.teacher, self.projector)

    def forward(self, batch: Batch, monitor: bool = False) -> StepOutput:
        """2 - 2 cos(prediction, target), summed over both views; `inputs` (B, 2, C, S, S)."""
        B = len(batch.inputs)
        views = batch.inputs.transpose(0, 1).flatten(0, 1)  # the first view of every image, then the second
        # 1. Teacher: projection of each view (no gradient)
        target = self._targets(views)
        # 2. Student: prediction from each view
        features = pool(self.encoder(views), self.pooling)
        pred = torch.cat([self.predictor(self.projector(x)) for x in features.chunk(2)])
        pred = F.normalize(pred.float(), dim=-1)
        # 3. Loss: each view predicts the other
        loss = (2 - 2 * (pred * target.roll(B, 0)).sum(-1)).sum()
        pred, target = (x.view(2, B, -1).transpose(0, 1) for x in (pred, target))
        everywhere = torch.ones(B, 2, dtype=torch.bool, device=pred.device)
        monitors: Monitors = {}
        if monitor:
            monitors = {"pred_var": masked_moments(pred, everywhere), "target_var": masked_moments(target, everywhere)}
        return StepOutput({"views": loss}, everywhere.sum(), pred, target.flip(1), monitors)

    @torch.no_grad()
    def _targets(self, views: Tensor) -> Tensor:
        """Unit vectors (2B, D) float32."""
        assert self.teacher.head is not None
        features = pool(self.teacher.encoder(views), self.pooling)
        return F.normalize(torch.cat([self.teacher.head(x) for x in features.chunk(2)]).float(), dim=-1)

    @torch.no_grad()
    def update_teacher(self, decay: float) -> None:
        """Move the teacher towards the student."""
        self.teacher.update(self.encoder, decay, self.projector)

    def position_errors(self, output: StepOutput) -> Tensor:
        """Squared distance of the unit vectors, for each view (B, 2)."""
        return (output.pred - output.target).square().sum(-1)
