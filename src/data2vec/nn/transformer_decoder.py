"""The Transformer decoder of MAE (arXiv 2111.06377, section 3; algorithms.md 8.1)."""

import torch
from torch import Tensor, nn

from data2vec.nn.decoder import scatter_visible
from data2vec.nn.transformer import Block, Transformer


class TransformerDecoder(nn.Module):
    """Visible positions at their places, a learned token elsewhere, fixed positions, blocks, norm, projection.

    `positions` (1, T, dim) is a fixed table; extra tokens stand in front and have no position.
    """

    positions: Tensor

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        dim: int,
        depth: int,
        heads: int,
        positions: Tensor,
        mlp_ratio: float = 4.0,
        norm_eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(input_dim, dim)
        self.mask_token = nn.Parameter(torch.zeros(dim))
        self.register_buffer("positions", positions, persistent=False)
        blocks = [Block(dim, heads, mlp_ratio, "pre", norm_eps) for _ in range(depth)]
        self.trunk = Transformer(blocks, nn.LayerNorm(dim, eps=norm_eps))
        self.proj = nn.Linear(dim, output_dim)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, visible: Tensor, ids: Tensor, extra: Tensor) -> Tensor:
        """Predictions at every position, (R, T, output_dim), from encoded ones: see `assemble`."""
        x, _ = self.trunk(self.assemble(visible, ids, extra))
        return self.proj(x[:, extra.shape[1] :])

    def assemble(self, visible: Tensor, ids: Tensor, extra: Tensor) -> Tensor:
        """The blocks' input (R, E + T, dim) from `visible` (R, V, D) at `ids` (R, V) and `extra` (R, E, D)."""
        x = self.embed(visible)
        full = self.mask_token.to(x.dtype).expand(len(x), self.positions.shape[1], -1)
        x = scatter_visible(x, ids, full) + self.positions
        return torch.cat([self.embed(extra).to(x.dtype), x], dim=1)
