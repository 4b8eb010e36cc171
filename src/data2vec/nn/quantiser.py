"""Discrete targets for speech: the Gumbel product quantiser of wav2vec 2.0 (paper section 2; algorithms.md 8.2)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Quantised(NamedTuple):
    """What the quantiser makes of N vectors."""

    vectors: Tensor  # (N, D) chosen entries of all groups, concatenated
    codes: Tensor  # (N, G) int64, the entries chosen
    logits: Tensor  # (N, G, V)


class GumbelQuantiser(nn.Module):
    """Chooses one entry in each of `groups` codebooks of `entries` vectors.

    In training the choice is drawn (Gumbel noise, hard, straight-through gradient); else it is the likeliest entry.
    """

    def __init__(self, inputs: int, groups: int, entries: int, dim: int) -> None:
        super().__init__()
        self.codebook = nn.Parameter(torch.empty(groups, entries, dim // groups).uniform_())
        self.logits = nn.Linear(inputs, groups * entries)
        nn.init.normal_(self.logits.weight)
        nn.init.zeros_(self.logits.bias)

    def forward(self, x: Tensor, temperature: float, exponential: Tensor | None = None) -> Quantised:
        """Quantise (N, inputs); `exponential` (N, G, V) replaces the draws from Exp(1), whose -log is the noise."""
        logits = self.logits(x).view(len(x), *self.codebook.shape[:2])
        if not self.training:
            codes = logits.argmax(-1)
            choice = F.one_hot(codes, logits.shape[-1]).to(logits.dtype)
        else:
            if exponential is None:
                exponential = torch.empty_like(logits).exponential_()
            soft = ((logits - exponential.log()) / temperature).softmax(-1)
            codes = soft.argmax(-1)
            choice = F.one_hot(codes, logits.shape[-1]).to(soft.dtype) - soft.detach() + soft
        vectors = torch.einsum("ngv,gvd->ngd", choice, self.codebook).flatten(1)
        return Quantised(vectors, codes, logits)


def perplexity(probabilities: Tensor) -> Tensor:
    """Sum over groups of exp(entropy) of distributions (G, V): G if each always takes one entry, G * V if all alike."""
    return torch.exp(-(probabilities * torch.log(probabilities + 1e-7)).sum(-1)).sum()


def code_shares(codes: Tensor, entries: int) -> Tensor:
    """How often each entry was chosen: (N, G) int64 -> (G, V) float32."""
    return F.one_hot(codes, entries).float().mean(0)
