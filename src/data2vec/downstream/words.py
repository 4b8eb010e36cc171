"""A masked language model's head on an encoder of text (BERT, section 3.1; algorithms.md 8.3)."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn, zeros

from data2vec.data.vocabulary import PAD
from data2vec.nn.encoder import Encoder


class WordHead(nn.Module):
    """Linear, GELU, layer norm, then the input's token embeddings as output weights, plus a bias."""

    def __init__(self, dim: int, vocab_size: int, norm_eps: float = 1e-5) -> None:
        super().__init__()
        self.dense = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim, eps=norm_eps)
        self.bias = nn.Parameter(zeros(vocab_size))

    def forward(self, x: Tensor, embeddings: Tensor) -> Tensor:
        """(..., D) features and (V, D) embeddings -> (..., V) logits."""
        return F.linear(self.norm(F.gelu(self.dense(x))), embeddings, self.bias)


class WordModel(nn.Module):
    """Encoder and word head."""

    def __init__(self, encoder: Encoder, dim: int, vocab_size: int, norm_eps: float = 1e-5) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = WordHead(dim, vocab_size, norm_eps)

    def forward(self, tokens: Tensor) -> Tensor:
        """Right-padded ids (B, T) -> logits (B, T, words)."""
        local: Any = self.encoder.local
        return self.head(self.encoder(tokens, tokens == PAD).x, local.tokens.weight)
