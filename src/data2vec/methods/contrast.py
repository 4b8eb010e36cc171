"""What wav2vec 2.0 and HuBERT share: cosine scores at hidden frames, and the reading of a step's output."""

import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-8  # least norm of a vector in a cosine


def cosine_scores(x: Tensor, y: Tensor, temperature: float) -> Tensor:
    """Cosines of all pairs / temperature, float32: (N, D), (M, D) -> (N, M)."""
    return F.normalize(x.float(), dim=-1, eps=EPS) @ F.normalize(y.float(), dim=-1, eps=EPS).T / temperature


def cosine_errors(pred: Tensor, target: Tensor) -> Tensor:
    """1 - cosine at each position, (R, T, D) -> (R, T)."""
    return 1 - F.cosine_similarity(pred.float(), target.float(), dim=-1, eps=EPS)


def at_positions(values: Tensor, is_masked: Tensor) -> Tensor:
    """Vectors (N, D) of the N hidden positions at their places, 0 elsewhere: (R, T, D)."""
    whole = torch.zeros(*is_masked.shape, values.shape[-1], device=values.device, dtype=values.dtype)
    whole[is_masked] = values
    return whole
