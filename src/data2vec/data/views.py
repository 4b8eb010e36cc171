"""Batches of several augmented views of each image, for methods that compare views (BYOL, DINO)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from data2vec.data.augment import Augmentation, PretrainImages
from data2vec.data.images import ImageSet
from data2vec.data.loading import shuffled_indices

_AUGMENT = 1  # the stream of random numbers that single views are augmented with, too


class ViewStream(Dataset[dict[str, Tensor]]):
    """An endless sequence of full batches; number n depends on (seed, n) alone, like `BatchStream`'s."""

    def __init__(
        self, dataset: ImageSet, batch_size: int, seed: int, views: Mapping[str, tuple[int, Augmentation]]
    ) -> None:
        """`views`: how many of each kind, and how they are made."""
        self.kinds = {name: (count, PretrainImages(dataset, how)) for name, (count, how) in views.items() if count}
        self.count, self.batch_size, self.seed = len(dataset), batch_size, seed

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        """Batch `step`: for each kind float32 (B, views, 3, S, S), normalised."""
        indices = shuffled_indices(self.count, self.batch_size, self.seed, step)
        rng = np.random.default_rng((self.seed, _AUGMENT, step))
        return {
            name: torch.stack([images.batch(indices, rng) for _ in range(count)], 1)
            for name, (count, images) in self.kinds.items()
        }
