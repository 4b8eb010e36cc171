"""The tokens that a prediction is nearest to."""

import torch

from data2vec.training.picture_text import nearest_tokens


def test_the_nearest_tokens_are_different_ones_nearest_first() -> None:
    bank = torch.tensor([[0.0, 0], [0.1, 0], [1, 0], [5, 5], [0.2, 0]])
    ids = torch.tensor([7, 7, 4, 9, 5])
    pred = torch.tensor([[0.0, 0], [4.0, 4], [1.0, 0]])
    assert nearest_tokens(pred, bank, ids, 3).tolist() == [[7, 5, 4], [9, 4, 5], [4, 5, 7]]
    assert nearest_tokens(pred[:1], bank[:2], ids[:2], 3).tolist() == [[7, -1, -1]]


def test_many_predictions_are_compared_in_parts_with_the_same_result() -> None:
    generator = torch.Generator().manual_seed(0)
    pred, bank = torch.randn(600, 4, generator=generator), torch.randn(90, 4, generator=generator)
    ids = torch.randint(4, 30, (90,), generator=generator)
    first = ids[torch.cdist(pred, bank).argmin(1)]
    assert (nearest_tokens(pred, bank, ids, 2)[:, 0] == first).all()
