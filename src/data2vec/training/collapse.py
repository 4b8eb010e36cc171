"""Effective rank of every block's features at the end of a pre-training: 1 = all positions alike, D = all directions.

Roy and Vetterli, "The effective rank" (2007): the exponential of the entropy of the normalised singular values.
"""

import torch
from torch import Tensor

from data2vec.methods.build import Method
from data2vec.methods.step import Batch

POSITIONS = 4096  # rows of the matrix at most: enough for the widths of the papers


def effective_rank(features: Tensor) -> float:
    """Of centred features (N, D); 1.0 where all rows are equal."""
    values = torch.linalg.svdvals(features.float() - features.float().mean(0))
    if not torch.isfinite(values).all() or values.sum() <= 1e-6:
        return 1.0
    share = values[values > 0] / values.sum()
    return float(torch.exp(-(share * share.log()).sum()))


@torch.no_grad()
def block_ranks(method: Method, batch: Batch) -> list[float]:
    """Effective rank of the student's features behind each block, on one whole (unmasked) batch."""
    inputs, padding = batch.full_view()
    features = method.encoder(inputs, padding, None, "end").features
    ranks = []
    for x in features:
        rows = x.flatten(0, 1) if padding is None or padding.shape != x.shape[:2] else x[~padding]
        ranks.append(effective_rank(rows[:POSITIONS].cpu()))
    return ranks
