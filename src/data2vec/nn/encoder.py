"""An encoder is three stages: local features of the input, context (masking and positions), trunk.

The method decides what is masked and what a teacher averages; the modality supplies the stages. data2vec 1.0
replaces hidden positions by a mask token, data2vec 2.0 removes them (`MaskTokenContext`, `VisibleContext`).
"""

from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn

from data2vec.nn.alibi import Alibi
from data2vec.nn.positions import resize_positions
from data2vec.nn.transformer import Feature, Transformer


class Masks(NamedTuple):
    """Which positions are hidden: one row per masked view (clones of a sample are consecutive rows)."""

    is_masked: Tensor  # (R, T) bool, True = hidden
    visible: Tensor | None  # (R, V) int64 positions of the visible ones, where every row has equally many
    channels: Tensor | None = None  # (R, D) bool, True = feature set to 0 at all positions (fine-tuning)

    @classmethod
    def from_numpy(cls, is_masked: np.ndarray, first_row_decides: bool = False) -> Self:
        """Build from a boolean array (R, T); `visible` is None if the rows' counts differ.

        With `first_row_decides` every row gets as many `visible` ones as the first: the rest of a row with more
        is left out, a row with fewer is filled with hidden ones (as released, pitfall P-I2).
        """
        counts = is_masked.sum(1)
        visible = None
        if first_row_decides or (counts == counts[0]).all():
            order = np.argsort(is_masked, axis=1, kind="stable")
            visible = torch.from_numpy(order[:, : is_masked.shape[1] - int(counts[0])].copy())
        return cls(torch.from_numpy(is_masked), visible)

    def to(self, device: torch.device) -> "Masks":
        """Move to a device without waiting for the copy."""
        is_masked, *others = (None if t is None else t.to(device, non_blocking=True) for t in self)
        assert is_masked is not None
        return Masks(is_masked, *others)


class Tokens(NamedTuple):
    """What enters the trunk: (R, E + V, D) tokens, extra tokens first, and the bias of the attention scores.

    A bias with five axes has one entry per block in front.
    """

    x: Tensor
    bias: Tensor | None


def gather_positions(x: Tensor, ids: Tensor) -> Tensor:
    """Pick positions `ids` (R, V) from `x` (B, T, D) -> (R, V, D); R / B consecutive rows share a sample.

    One flat index instead of a repeated tensor: 20 times faster than `gather` on a CPU.
    """
    B, T, D = x.shape
    R, V = ids.shape
    sample = torch.arange(R, device=ids.device).unsqueeze(1) // (R // B)
    return x.reshape(B * T, D).index_select(0, (sample * T + ids).flatten()).view(R, V, D)


def padding_bias(padding: Tensor, extra_tokens: int) -> Tensor:
    """Scores' bias (R, 1, 1, E + T) that hides padded keys: -inf where `padding` (R, T) is True."""
    padding = nn.functional.pad(padding, (extra_tokens, 0), value=False)
    return torch.zeros(padding.shape, device=padding.device).masked_fill_(padding, -torch.inf)[:, None, None]


class MaskTokenContext(nn.Module):
    """Context of data2vec 1.0: hidden positions become one learned mask token, then positions are added.

    `positions` learned absolute ones (BEiT's `use_abs_pos_emb`), or `pos_conv`, which computes them from the
    features. Class tokens stand in front. `norm_eps` and `dropout`: of what enters the trunk (speech).
    """

    def __init__(
        self,
        dim: int,
        positions: int = 0,
        extra_tokens: int = 1,
        pos_conv: nn.Module | None = None,
        norm_eps: float | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.mask_token = nn.Parameter(torch.zeros(dim))
        self.extra_tokens = nn.Parameter(torch.zeros(1, extra_tokens, dim)) if extra_tokens else None
        self.positions = nn.Parameter(torch.zeros(1, extra_tokens + positions, dim)) if positions else None
        self.pos_conv = pos_conv
        self.norm = nn.LayerNorm(dim, eps=norm_eps) if norm_eps is not None else nn.Identity()
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor, padding: Tensor | None = None, masks: Masks | None = None) -> Tokens:
        """(B, T, D) features -> (B, E + T, D) tokens."""
        x = features if masks is None else self.hide(features, masks)
        if self.pos_conv is not None:
            if padding is not None:
                x = x.masked_fill(padding.unsqueeze(-1), 0)
            x = x + self.pos_conv(x, padding)
        extra = 0 if self.extra_tokens is None else self.extra_tokens.shape[1]
        if self.extra_tokens is not None:
            x = torch.cat([self.extra_tokens.expand(len(x), -1, -1).to(x.dtype), x], dim=1)
        if self.positions is not None:
            x = x + self.positions
        return Tokens(self.dropout(self.norm(x)), None if padding is None else padding_bias(padding, extra))

    def hide(self, features: Tensor, masks: Masks) -> Tensor:
        """The features (B, T, D) with the mask token at hidden positions, and without hidden channels."""
        x = torch.where(masks.is_masked.unsqueeze(-1), self.mask_token.to(features.dtype), features)
        return x if masks.channels is None else x.masked_fill(masks.channels.unsqueeze(1), 0)


class VisibleContext(nn.Module):
    """Context of data2vec 2.0: positions are added, hidden positions removed, then norm and own blocks.

    `positions` is a fixed table (1, T, D) or None; `pos_conv` computes positions from the features that are not
    hidden, zeros elsewhere; `alibi` biases the scores by distance; `blocks` are the context encoder's ("prenet")
    blocks, whose features never serve as targets. Masks without `visible` hide positions but leave them in the
    sequence, as N(0, `hidden_std`) (fine-tuning). With `mask_token` nothing is removed: hidden positions become one
    learned token before positions are added, as in 1.0 (ablation).
    """

    positions: Tensor | None

    def __init__(
        self,
        dim: int,
        positions: Tensor | None = None,
        alibi: Alibi | None = None,
        extra_tokens: int = 0,
        norm_eps: float | None = 1e-5,
        dropout: float = 0.0,
        blocks: Transformer | None = None,
        pos_conv: nn.Module | None = None,
        hidden_std: float = 0.0,
        mask_token: bool = False,
    ) -> None:
        super().__init__()
        self.mask_token = nn.Parameter(torch.zeros(dim)) if mask_token else None
        self.register_buffer("positions", positions, persistent=False)
        self.pos_conv, self.hidden_std = pos_conv, hidden_std
        self.alibi = alibi
        self.extra_tokens = nn.Parameter(torch.zeros(1, extra_tokens, dim)) if extra_tokens else None
        self.norm = nn.LayerNorm(dim, eps=norm_eps) if norm_eps is not None else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.blocks = blocks

    def forward(self, features: Tensor, padding: Tensor | None = None, masks: Masks | None = None) -> Tokens:
        """(B, T, D) features -> (R, E + V, D) tokens of the visible positions; all of them without masks."""
        x = features
        if self.mask_token is not None and masks is not None:
            x = self.replace(features, self.mask_token, masks)
            padding = None if padding is None else padding.repeat_interleave(len(x) // len(features), 0)
            masks = None
        if self.positions is not None:
            x = x + resize_positions(self.positions, features.shape[1]).to(features.dtype)
        visible = None if masks is None else masks.visible
        if padding is not None and masks is not None:
            padding = padding.repeat_interleave(len(masks.is_masked) // len(x), 0)
        x = self.select(x, padding, masks)
        if padding is not None and visible is not None:
            padding = padding.gather(1, visible)
        extra = 0 if self.extra_tokens is None else self.extra_tokens.shape[1]
        bias = None if padding is None else padding_bias(padding, extra)
        if self.alibi is not None:
            distance = self.alibi(features.shape[1], visible, extra)
            bias = distance if bias is None else bias + distance
        if self.extra_tokens is not None:
            x = torch.cat([self.extra_tokens.expand(len(x), -1, -1).to(x.dtype), x], dim=1)
        x = self.dropout(self.norm(x))
        if self.blocks is not None:
            x, _ = self.blocks(x, bias)
            if bias is not None and bias.dim() == 5:
                bias = bias[len(self.blocks.blocks) :]
        return Tokens(x, bias)

    def select(self, x: Tensor, padding: Tensor | None, masks: Masks | None) -> Tensor:
        """Visible positions (R, V, D) of (B, T, D), convolved positions added; hidden ones only if they stay."""
        if masks is not None and masks.visible is not None:
            visible = gather_positions(x, masks.visible)
            if self.pos_conv is None:
                return visible
            return visible + gather_positions(self.pos_conv(self.hide(x, masks), padding), masks.visible)
        if masks is not None:
            x = self.hide(x, masks, self.hidden_std)
        return x if self.pos_conv is None else x + self.pos_conv(x, padding)

    def hide(self, x: Tensor, masks: Masks, std: float = 0.0) -> Tensor:
        """Every view (R, T, D) of the samples (B, T, D): N(0, `std`) at hidden positions, no hidden channels."""
        R, T, D = *masks.is_masked.shape, x.shape[-1]
        fill = torch.randn(R, T, D, device=x.device, dtype=x.dtype) * std if std else x.new_zeros(())
        return self.replace(x, fill, masks)

    def replace(self, x: Tensor, fill: Tensor, masks: Masks) -> Tensor:
        """Every view (R, T, D) of the samples (B, T, D) with `fill` at hidden positions, no hidden channels."""
        B, T, _ = x.shape
        hidden = masks.is_masked.view(B, -1, T, 1)
        fill = fill.to(x.dtype).view(B, -1, *fill.shape[1:]) if fill.dim() == 3 else fill.to(x.dtype)
        views = torch.where(hidden, fill, x.unsqueeze(1)).flatten(0, 1)
        return views if masks.channels is None else views.masked_fill(masks.channels.unsqueeze(1), 0)


class EncoderOutput(NamedTuple):
    """`x` (R, V, D) without extra tokens, `extra` (R, E, D), `features` of each block, extra tokens removed."""

    x: Tensor
    extra: Tensor
    features: list[Tensor]


def pool(output: EncoderOutput, pooling: str) -> Tensor:
    """(R, T, D) -> (R, D): mean over positions without extra tokens, or the class token."""
    return output.x.mean(1) if pooling == "mean" else output.extra[:, 0]


class Encoder(nn.Module):
    """local -> context -> trunk. Stages may be None in a teacher that shares them with its student."""

    def __init__(
        self, local: nn.Module | None, context: nn.Module | None, trunk: Transformer, extra_tokens: int = 0
    ) -> None:
        super().__init__()
        self.local = local
        self.context = context
        self.trunk = trunk
        self.extra_tokens = extra_tokens

    def forward(
        self,
        inputs: Tensor,
        padding: Tensor | None = None,
        masks: Masks | None = None,
        feature: Feature | None = None,
    ) -> EncoderOutput:
        """Encode raw inputs; with `masks`, as the method's student sees them."""
        assert self.local is not None and self.context is not None
        return self.run_trunk(self.context(self.local(inputs), padding, masks), feature)

    def states(self, inputs: Tensor, padding: Tensor | None = None, masks: Masks | None = None) -> list[Tensor]:
        """What enters the first block and what every block puts out, (R, V, D) each, without extra tokens."""
        assert self.local is not None and self.context is not None
        tokens = self.context(self.local(inputs), padding, masks)
        return [tokens.x[:, self.extra_tokens :], *self.run_trunk(tokens, "end").features]

    def run_trunk(self, tokens: Tokens, feature: Feature | None = None) -> EncoderOutput:
        """Run the trunk on prepared tokens and take the extra tokens off."""
        x, features = self.trunk(tokens.x, tokens.bias, feature)
        n = self.extra_tokens
        return EncoderOutput(x[:, n:], x[:, :n], [f[:, n:] for f in features])
