"""Text: token and position embeddings, and the encoders of data2vec 1.0 and 2.0 built from the configuration.

algorithms.md 2.3, 5, 7.2. In 1.0 the student hides tokens by their ids (`data2vec.modalities.tokens`), so its
context hides nothing; in 2.0 hidden positions leave the sequence after they are embedded.
"""

import torch
from torch import Tensor, nn

from data2vec.config import RunConfig
from data2vec.data.vocabulary import PAD
from data2vec.errors import UserError
from data2vec.modalities import stages
from data2vec.modalities.stages import build_alibi, build_prenet, build_trunk
from data2vec.nn.decoder import ConvDecoder
from data2vec.nn.encoder import Encoder, Masks, Tokens, VisibleContext, padding_bias
from data2vec.nn.positions import sinusoidal_positions

STD = 0.02  # of every embedding and linear layer at the start


class TokenEmbedding(nn.Module):
    """Token ids (B, T) -> (B, T, D): token plus position embedding, layer norm, dropout.

    `positions`: "learned" or "sincos" tables for at most `max_positions` tokens, or "none".
    """

    def __init__(
        self,
        vocab_size: int,
        dim: int,
        max_positions: int,
        positions: str = "learned",
        norm: bool = True,
        scale: bool = False,
        dropout: float = 0.0,
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.max_positions = max_positions
        self.scale = dim**0.5 if scale else 1.0
        self.tokens = nn.Embedding(vocab_size, dim, padding_idx=PAD)
        rows = PAD + 1 + max_positions  # the first token stands at position PAD + 1
        self.positions = nn.Embedding(rows, dim, padding_idx=PAD) if positions == "learned" else None
        fixed = None
        if positions == "sincos":
            fixed = sinusoidal_positions(rows, dim)
            fixed[PAD] = 0
        self.fixed: Tensor | None
        self.register_buffer("fixed", fixed, persistent=False)
        self.norm = nn.LayerNorm(dim, eps=norm_eps) if norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Embed. Raises UserError for sequences longer than the position table."""
        x = self.tokens(tokens)
        if self.scale != 1:
            x = x * self.scale
        positions = self.position_embedding(tokens)
        return self.dropout(self.norm(x if positions is None else x + positions))

    def position_embedding(self, tokens: Tensor) -> Tensor | None:
        """What is added for position, (B, T, D): positions count the tokens of a row that are not padding."""
        table = self.fixed if self.positions is None else self.positions.weight
        if table is None:
            return None
        if tokens.shape[1] > self.max_positions:
            raise UserError(
                f"a sequence of {tokens.shape[1]} tokens is longer than the position table: at most "
                f"text.max_positions = {self.max_positions}; cut it, or train with a larger text.max_positions"
            )
        is_token = tokens != PAD
        ids = is_token.cumsum(1) * is_token + PAD
        return nn.functional.embedding(ids, table, PAD if self.positions is not None else None)


class TokenContext(nn.Module):
    """Context of data2vec 1.0 and masked_lm on text: padded positions become zero. The ids hide, not the context."""

    def forward(self, features: Tensor, padding: Tensor | None = None, masks: Masks | None = None) -> Tokens:
        """(B, T, D) features -> (B, T, D) tokens."""
        if padding is None:
            return Tokens(features, None)
        return Tokens(features.masked_fill(padding.unsqueeze(-1), 0), padding_bias(padding, 0))


def build_encoder(config: RunConfig) -> Encoder:
    """The encoder of the configured method for text."""
    model, text = config.model, config.text
    trunk = build_trunk(config)
    local = TokenEmbedding(
        config.data.vocab_size,
        model.dim,
        text.max_positions,
        model.absolute_positions,
        text.embedding_norm,
        text.embedding_scale,
        text.embedding_dropout,
        text.embedding_norm_eps,
    )
    _initialise_embeddings(local)
    if config.method != "data2vec2":
        return Encoder(local, TokenContext(), trunk)
    # as released: without blocks of its own the context encoder has neither norm nor dropout (pitfall P-I6)
    has_blocks = model.prenet_depth > 0
    context = VisibleContext(
        model.dim,
        None,
        build_alibi(config),
        model.extra_tokens,
        model.norm_eps if has_blocks and model.norm == "post" else None,
        model.input_dropout if has_blocks else 0.0,
        build_prenet(config),
    )
    return Encoder(local, context, trunk, model.extra_tokens)


def build_decoder(config: RunConfig) -> ConvDecoder:
    """2.0's decoder for text; its projection starts like the encoder, unlike other modalities' (pitfall P-I7)."""
    decoder = stages.build_decoder(config, dims=1)
    assert isinstance(decoder, ConvDecoder)
    for name, parameter in decoder.proj.named_parameters():
        nn.init.zeros_(parameter) if name.endswith("bias") else nn.init.normal_(parameter, std=STD)
    return decoder


@torch.no_grad()
def _initialise_embeddings(local: TokenEmbedding) -> None:
    for embedding in filter(None, (local.tokens, local.positions)):
        nn.init.normal_(embedding.weight, std=STD)
        embedding.weight[PAD] = 0
