"""The Transformer trunk shared by every method and modality.

One block covers the layouts of the papers: post-norm (data2vec 2.0; 1.0 speech and text), pre-norm with
layer scale (1.0 vision, BEiT style). A block also hands over the four tensors that may serve as teacher
targets (reference: algorithms.md 4.3, 6.1, 7.1, 10).
"""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from data2vec.nn.positions import RelativePositionBias

Norm = Literal["post", "pre", "pre_released"]
QKVBias = Literal["full", "no_key"]
Feature = Literal["attention", "ffn", "ffn_residual", "end"]


class BlockFeatures(NamedTuple):
    """Candidates for teacher targets of one block, each (B, T, D)."""

    attention: Tensor  # attention output after its projection, before the residual
    ffn: Tensor  # feed-forward output before the residual
    ffn_residual: Tensor  # feed-forward output plus residual, before the block's last norm
    end: Tensor  # block output


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, dropout: float) -> Tensor:
    """Softmax attention of (B, H, T, d) queries, keys and values; softmax in float32.

    The fused kernel on a GPU. On a CPU plain products: the fused kernel's backward pass is 2 (float32) to 14
    (bfloat16) times slower there at our sequence lengths (docs/performance.md).
    """
    if q.is_cuda:
        mask = None if bias is None else bias.to(q.dtype)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    if bias is not None:
        scores = scores + bias
    weights = scores.softmax(-1, dtype=torch.float32).to(q.dtype)
    return F.dropout(weights, dropout) @ v if dropout > 0 else weights @ v


class Attention(nn.Module):
    """Multi-head self-attention, (B, T, D) -> (B, T, D); scores scaled by head_dim**-0.5."""

    def __init__(
        self,
        dim: int,
        heads: int,
        qkv_bias: QKVBias = "full",
        attention_dropout: float = 0.0,
        dropout: float = 0.0,
        relative_positions: RelativePositionBias | None = None,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.attention_dropout = attention_dropout
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias == "full")
        if qkv_bias == "no_key":
            self.q_bias = nn.Parameter(torch.zeros(dim))
            self.v_bias = nn.Parameter(torch.zeros(dim))
        self.proj = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)
        self.relative_positions = relative_positions

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Attend; `bias` is added to the scores and broadcasts to (B, H, T, T), -inf hides a key."""
        B, T, D = x.shape
        qkv_bias = self.qkv.bias
        if qkv_bias is None:
            qkv_bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        qkv = F.linear(x, self.qkv.weight, qkv_bias).view(B, T, 3, self.heads, D // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        if self.relative_positions is not None:
            own = self.relative_positions()
            bias = own if bias is None else bias + own
        y = attend(q, k, v, bias, self.attention_dropout if self.training else 0.0)
        return self.dropout(self.proj(y.transpose(1, 2).reshape(B, T, D)))


class MLP(nn.Module):
    """Linear, GELU (erf form), Linear. The activation dropout is applied after the GELU."""

    def __init__(self, dim: int, hidden: int, activation_dropout: float = 0.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)
        self.dropout = nn.Dropout(activation_dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        return self.fc2(self.dropout(F.gelu(self.fc1(x))))


class Block(nn.Module):
    """One Transformer block; returns its output and its target candidates."""

    def __init__(
        self,
        dim: int,
        heads: int,
        mlp_ratio: float = 4.0,
        norm: Norm = "post",
        norm_eps: float = 1e-5,
        qkv_bias: QKVBias = "full",
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        activation_dropout: float = 0.0,
        post_mlp_dropout: float = 0.0,
        drop_path: float = 0.0,
        layer_scale: float | None = None,
        relative_positions: RelativePositionBias | None = None,
    ) -> None:
        super().__init__()
        self.norm_position = norm
        self.norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.attn = Attention(dim, heads, qkv_bias, attention_dropout, dropout, relative_positions)
        self.norm2 = nn.LayerNorm(dim, eps=norm_eps)
        self.mlp = MLP(dim, int(dim * mlp_ratio), activation_dropout)
        self.post_mlp_dropout = nn.Dropout(post_mlp_dropout)
        self.drop_path: nn.Module = nn.Identity()
        if drop_path > 0:
            from timm.layers import DropPath  # its import takes longer than many a job

            self.drop_path = DropPath(drop_path)
        self.gamma_1 = nn.Parameter(layer_scale * torch.ones(dim)) if layer_scale else None
        self.gamma_2 = nn.Parameter(layer_scale * torch.ones(dim)) if layer_scale else None

    def forward(self, x: Tensor, bias: Tensor | None = None) -> tuple[Tensor, BlockFeatures]:
        """(B, T, D) -> (B, T, D) and the block's features."""
        if self.norm_position == "post":
            a = self.attn(x, bias)
            x = self.norm1(x + self._branch(a, self.gamma_1))
            h = self.mlp(x)
            residual = x + self._branch(self.post_mlp_dropout(h), self.gamma_2)
            x = self.norm2(residual)
            return x, BlockFeatures(a, h, residual, x)
        a = self.attn(self.norm1(x), bias)
        x = x + self._branch(a, self.gamma_1)
        h = self._branch(self.post_mlp_dropout(self.mlp(self.norm2(x))), self.gamma_2)
        # "pre_released" is the pre-norm branch of the released 2.0 code, which loses the residual
        # stream (pitfall P-2). No published recipe uses it; it exists to reproduce that behaviour.
        x = h + h if self.norm_position == "pre_released" else x + h
        return x, BlockFeatures(a, h, x, x)

    def _branch(self, y: Tensor, gamma: Tensor | None) -> Tensor:
        return self.drop_path(y if gamma is None else gamma * y)


def window_bias(positions: int, extra_tokens: int, share: float) -> Tensor:
    """Bias (1, 1, E + T, E + T) that lets a position see only a `share` of the sequence, centred on itself.

    Positions count in their order (patches row by row). Extra tokens are hidden from positions, through which they
    would pass on the rest of the sequence; they themselves see everything.
    """
    width = max(1, round(share * positions))
    place = torch.arange(positions)
    offset = place - place[:, None]  # key - query
    bias = torch.zeros(extra_tokens + positions, extra_tokens + positions)
    is_outside = (offset < -((width - 1) // 2)) | (offset > width // 2)
    bias[extra_tokens:, extra_tokens:].masked_fill_(is_outside, -torch.inf)
    bias[extra_tokens:, :extra_tokens] = -torch.inf
    return bias[None, None]


class Transformer(nn.Module):
    """A stack of blocks, an optional final norm, and an optional relative position bias shared by all."""

    def __init__(
        self,
        blocks: list[Block],
        norm: nn.Module | None = None,
        relative_positions: RelativePositionBias | None = None,
        layer_drop: float = 0.0,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm
        self.relative_positions = relative_positions
        self.layer_drop = layer_drop
        self.checkpointing = False  # compute a block again in the backward pass instead of keeping its tensors
        self.window: tuple[int, float] | None = None  # (extra tokens, share of positions that one may see)

    def forward(
        self, x: Tensor, bias: Tensor | None = None, feature: Feature | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Run the blocks. Returns the output (B, T, D) and, if `feature` is named, it for every block.

        `bias` broadcasts to (B, heads, T, T); with a fifth axis in front it holds one for each block.
        """
        if self.relative_positions is not None:
            shared = self.relative_positions()
            bias = shared if bias is None else bias + shared
        if self.window is not None:
            extra_tokens, share = self.window
            window = window_bias(x.shape[1] - extra_tokens, extra_tokens, share).to(x.device)
            bias = window if bias is None else bias + window
            # Padding further from the text than the window reaches would see nothing, and its softmax be NaN.
            bias = bias.masked_fill(bias.isneginf().all(-1, keepdim=True), 0.0)
        collected = []
        for i, block in enumerate(self.blocks):
            if self.training and self.layer_drop > 0 and torch.rand(()).item() < self.layer_drop:
                continue
            own = bias[i] if bias is not None and bias.dim() == 5 else bias
            if self.checkpointing and torch.is_grad_enabled():
                x, features = checkpoint(block, x, own, use_reentrant=False)
            else:
                x, features = block(x, own)
            if feature is not None:
                collected.append(getattr(features, feature))
        return (x if self.norm is None else self.norm(x)), collected
