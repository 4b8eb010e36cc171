"""An encoder with a classification head for fine-tuning (algorithms.md 9.1, 9.2)."""

import torch
from torch import Tensor, nn

from data2vec.config import RunConfig
from data2vec.nn.encoder import Encoder, pool


class Classifier(nn.Module):
    """Pooled encoder output, an optional layer norm, one linear layer."""

    def __init__(self, config: RunConfig, encoder: Encoder, num_classes: int) -> None:
        super().__init__()
        self.pooling = config.finetune.pooling
        dim = config.model.dim
        self.encoder = encoder
        if self.pooling == "mean" and config.finetune.head_norm and config.method != "data2vec2":
            # the mean is normed by the head instead of by the trunk's final norm, as BEiT's and MAE's classifiers do
            self.encoder.trunk.norm = None
        self.norm = nn.LayerNorm(dim, eps=config.finetune.head_norm_eps) if config.finetune.head_norm else nn.Identity()
        self.classifier = nn.Linear(dim, num_classes)
        nn.init.trunc_normal_(self.classifier.weight, std=0.02)
        nn.init.zeros_(self.classifier.bias)
        if config.method == "data2vec":
            self.classifier.weight.data.mul_(0.001)  # as in the BEiT-based code

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) -> logits (B, classes)."""
        return self.classifier(self.norm(pool(self.encoder(images), self.pooling)))


def cross_entropy(logits: Tensor, target: Tensor, smoothing: float = 0.0) -> Tensor:
    """Loss of each sample (B,), float32; `target` holds class ids (B,) or mixed class shares (B, classes)."""
    return torch.nn.functional.cross_entropy(
        logits.float(), target, reduction="none", label_smoothing=0.0 if target.ndim == 2 else smoothing
    )
