"""Sentence classification and regression: a head on the first token of an encoder (algorithms.md 9.6)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data2vec.config import RunConfig
from data2vec.data.vocabulary import PAD
from data2vec.nn.encoder import Encoder


class SentenceClassifier(nn.Module):
    """Dropout, Linear, tanh, dropout, Linear on position 0 of the encoder's output, torch's default start."""

    def __init__(self, config: RunConfig, encoder: Encoder, outputs: int, dropout: float = 0.0) -> None:
        """`outputs`: classes, or 1 for regression."""
        super().__init__()
        self.encoder = encoder
        self.dense = nn.Linear(config.model.dim, config.model.dim)
        self.out_proj = nn.Linear(config.model.dim, outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Right-padded ids (B, T) -> (B, outputs)."""
        first = self.encoder(tokens, tokens == PAD).x[:, 0]
        return self.out_proj(self.dropout(torch.tanh(self.dense(self.dropout(first)))))


def sentence_loss(outputs: Tensor, target: Tensor) -> Tensor:
    """Loss of each sentence (B,), float32: cross-entropy for class ids, squared error for real numbers."""
    if target.is_floating_point():
        return (outputs.float().squeeze(-1) - target).square()
    return F.cross_entropy(outputs.float(), target, reduction="none")
