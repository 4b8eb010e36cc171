"""DINO: every view of an image predicts how the teacher spreads two large views over prototypes.

arXiv 2104.14294, section 3. The teacher's outputs are centred (no prototype may win everywhere) and sharpened (they
may not become uniform).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data2vec.config import RunConfig
from data2vec.methods.step import Batch, Monitors, StepOutput
from data2vec.methods.targets import masked_moments
from data2vec.methods.teacher import Teacher
from data2vec.nn.encoder import Encoder, pool


class PrototypeHead(nn.Module):
    """Three linear layers with GELU, unit length, then the cosine with every prototype."""

    def __init__(self, dim: int, hidden: int, bottleneck: int, prototypes: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, bottleneck)
        )
        self.prototypes = nn.Parameter(torch.randn(prototypes, bottleneck))
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) -> (B, prototypes) in [-1, 1]."""
        return F.linear(F.normalize(self.mlp(x), dim=-1), F.normalize(self.prototypes, dim=-1))


class DINO(nn.Module):
    """Student and teacher with a head each, and the running mean of the teacher's outputs.

    # differs: the prototypes learn from the start (released: after the first epoch), and weight decay is constant
    (released: from 0.04 to 0.4).
    """

    center: Tensor
    updates: Tensor
    seen: Tensor

    def __init__(self, config: RunConfig, encoder: Encoder) -> None:
        super().__init__()
        self.options = v = config.views
        self.encoder = encoder
        self.projector = PrototypeHead(config.model.dim, v.hidden_dim, v.output_dim, v.prototypes)
        self.teacher = Teacher(encoder, config.teacher, self.projector)
        self.register_buffer("center", torch.zeros(v.prototypes))
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))
        # means of the teacher's outputs since the last update, summed, and their number
        self.register_buffer("seen", torch.zeros(v.prototypes + 1), persistent=False)

    def forward(self, batch: Batch, monitor: bool = False) -> StepOutput:
        """Cross-entropy, mean over pairs of different views, summed over images; `inputs` (B, 2, C, S, S)."""
        B = len(batch.inputs)
        # 1. Teacher: centred and sharpened distributions of the large views (no gradient)
        target = self._targets(batch.inputs)
        # 2. Student: log-distributions of all views
        outputs = self._outputs(self.encoder, self.projector, batch.inputs)
        if batch.crops is not None:
            outputs = torch.cat([outputs, self._outputs(self.encoder, self.projector, batch.crops)])
        pred = F.log_softmax(outputs / self.options.student_temperature, dim=-1)
        # 3. Loss: large view t of the teacher against every other view s of the student
        pairs = -torch.einsum("tbk,sbk->ts", target, pred)
        is_other = ~torch.eye(*pairs.shape, dtype=torch.bool, device=pairs.device)
        loss = pairs[is_other].sum() / is_other.sum()
        everywhere = torch.ones(B, 2, dtype=torch.bool, device=pairs.device)
        monitors: Monitors = {}
        if monitor:
            monitors = {
                "pred_var": masked_moments(outputs[:2].transpose(0, 1), everywhere),
                "target_var": masked_moments(target.transpose(0, 1), everywhere),
                "target_entropy": -torch.special.xlogy(target, target).sum(-1).mean(),
            }
        large = pred[:2].transpose(0, 1)
        return StepOutput({"views": loss}, everywhere[:, 0].sum(), large, target.transpose(0, 1).flip(1), monitors)

    def _outputs(self, encoder: Encoder, head: nn.Module, views: Tensor) -> Tensor:
        """Head outputs of views (B, V, C, S, S): (V, B, prototypes) float32."""
        B, V = views.shape[:2]
        features = pool(encoder(views.transpose(0, 1).flatten(0, 1)), self.options.pooling)
        return head(features).float().view(V, B, -1)

    @torch.no_grad()
    def _targets(self, views: Tensor) -> Tensor:
        """Distributions (2, B, prototypes) float32; outputs are noted for the centre."""
        assert self.teacher.head is not None
        outputs = self._outputs(self.teacher.encoder, self.teacher.head, views)
        if self.training:
            self.seen[:-1] += outputs.mean((0, 1))
            self.seen[-1] += 1
        return ((outputs - self.center) / self.teacher_temperature()).softmax(-1)

    def teacher_temperature(self) -> float:
        """Linear from the first to the last value, over so many updates as configured."""
        first, last = self.options.teacher_temperature
        steps = self.options.temperature_updates
        return last if steps == 0 else first + (last - first) * min(1.0, self.updates.item() / steps)

    @torch.no_grad()
    def update_teacher(self, decay: float) -> None:
        """Move the teacher towards the student, and the centre towards the teacher's outputs."""
        self.teacher.update(self.encoder, decay, self.projector)
        if self.seen[-1] > 0:
            # differs: starts at the first mean (published: at 0), else a short run begins with one prototype for all
            decay = self.options.center_decay if self.updates > 0 else 0.0
            self.center.lerp_(self.seen[:-1] / self.seen[-1], 1 - decay)
            self.seen.zero_()
        self.updates += 1

    def position_errors(self, output: StepOutput) -> Tensor:
        """Cross-entropy of each large view, (B, 2)."""
        return -(output.target * output.pred).sum(-1)
