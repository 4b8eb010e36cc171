"""A masked language model's head on an encoder of text (BERT, section 3.1; algorithms.md 8.3)."""

from typing import Any

from torch import Tensor, nn

from data2vec.data.vocabulary import PAD
from data2vec.methods.masked_lm import WordHead
from data2vec.nn.encoder import Encoder


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
