"""Masked language modelling, RoBERTa's recipe: predict the words at the selected tokens.

BERT (arXiv 1810.04805), section 3.1; RoBERTa (arXiv 1907.11692); algorithms.md 8.3.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data2vec.config import RunConfig
from data2vec.methods.step import Batch, Monitors, StepOutput
from data2vec.methods.targets import masked_moments
from data2vec.nn.encoder import Encoder


class WordHead(nn.Module):
    """Linear, GELU, layer norm, then the input's token embeddings as output weights, plus a bias."""

    def __init__(self, dim: int, vocab_size: int, norm_eps: float = 1e-5) -> None:
        super().__init__()
        self.dense = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim, eps=norm_eps)
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, x: Tensor, embeddings: Tensor) -> Tensor:
        """(..., D) features and (V, D) embeddings -> (..., V) logits."""
        return F.linear(self.norm(F.gelu(self.dense(x))), embeddings, self.bias)


class MaskedLM(nn.Module):
    """Student and word head; there is no teacher."""

    def __init__(self, config: RunConfig, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = WordHead(config.model.dim, config.data.vocab_size, config.model.norm_eps)

    def forward(self, batch: Batch, monitor: bool = False) -> StepOutput:
        """Cross-entropy in nats, summed over the selected tokens, kept and random ones among them.

        `pred` are the encoder's features (B, T, D), `target` the words' ids (B, T).
        """
        is_selected = batch.masks.is_masked
        words, _ = batch.full_view()
        x = self.encoder(batch.inputs, batch.padding).x
        logits = self.logits(x[is_selected])
        loss = F.cross_entropy(logits.float(), words[is_selected], reduction="sum")
        monitors: Monitors = {}
        if monitor:
            right = (logits.argmax(-1) == words[is_selected]).float()
            target = F.embedding(words, self._embeddings)
            monitors = {
                "pred_var": masked_moments(x, is_selected),
                "target_var": masked_moments(target, is_selected),
                "accuracy": right.mean(),
            }
        return StepOutput({"words": loss}, is_selected.sum(), x, words, monitors)

    @property
    def _embeddings(self) -> Tensor:
        local: Any = self.encoder.local
        return local.tokens.weight

    def logits(self, features: Tensor) -> Tensor:
        """Scores of every word, (..., V), from encoded tokens (..., D)."""
        return self.head(features, self._embeddings)

    def update_teacher(self, decay: float) -> None:
        """Nothing follows the student."""

    def position_errors(self, output: StepOutput) -> Tensor:
        """Cross-entropy at each position, (B, T)."""
        return F.cross_entropy(self.logits(output.pred).float().transpose(1, 2), output.target, reduction="none")
