"""Batches for training and evaluation.

Training reads a stream whose batch number n is a pure function of (seed, n): which images, how they are
augmented and what else is drawn (masks). Resuming at step n therefore needs no state, and neither worker
processes nor their number change anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2 import functional as F

from data2vec.data.augment import Augmentation, PretrainImages, interpolation_mode, normalise
from data2vec.data.images import ImageSet
from data2vec.data.loading import Batch, loader, shuffled_indices
from data2vec.errors import UserError

__all__ = [
    "Augmentation",
    "BatchStream",
    "EvaluationBatches",
    "PretrainImages",
    "evaluation_batches",
]

Extra = Callable[[np.random.Generator, int], Mapping[str, Any]]

# Separate random streams, so that drawing more in one leaves the others as they are.
_AUGMENT, _EXTRA = 1, 2  # 0 is the order of the samples
EVALUATION_CROP = 0.875


class BatchSource(Protocol):
    """What a stream is made of: labels, and augmented images on request (`PretrainImages` is one)."""

    @property
    def labels(self) -> NDArray[np.int64]: ...

    def __len__(self) -> int: ...

    def batch(self, indices: NDArray[np.int64], rng: np.random.Generator) -> Tensor:
        """Images of these indices, float32 (B, 3, S, S); all randomness from `rng`."""


class BatchStream(Dataset[Batch]):
    """An endless sequence of full batches, `stream[step]`.

    Each epoch is a permutation of the data from (seed, epoch). The epochs are laid end to end and cut into
    batches, so no image is left out and a batch may span two epochs, or several where the data set is smaller
    than a batch; only there can an image appear twice in one batch.
    """

    def __init__(self, source: BatchSource, batch_size: int, seed: int, extra: Extra | None = None) -> None:
        """`extra(rng, batch_size)` returns further arrays to add to each batch, such as masks."""
        if len(source) == 0:
            raise UserError("the training split holds no images")
        if batch_size < 1:
            raise UserError(f"batch_size={batch_size} must be at least 1")
        if seed < 0:
            raise UserError(f"seed={seed} must be 0 or more")
        self.source, self.batch_size, self.seed, self.extra = source, batch_size, seed, extra

    def indices(self, step: int) -> NDArray[np.int64]:
        """Which images make up batch `step`: int64 (B,)."""
        return shuffled_indices(len(self.source), self.batch_size, self.seed, step)

    def __getitem__(self, step: int) -> Batch:
        """Batch `step`: images float32 (B, 3, S, S), labels and indices int64 (B,), and what `extra` adds."""
        indices = self.indices(step)
        batch = {
            "images": self.source.batch(indices, np.random.default_rng((self.seed, _AUGMENT, step))),
            "labels": torch.from_numpy(self.source.labels[indices]),
            "indices": torch.from_numpy(indices),
        }
        if self.extra is not None:
            added = self.extra(np.random.default_rng((self.seed, _EXTRA, step)), self.batch_size)
            batch |= {name: torch.as_tensor(value) for name, value in added.items()}
        return batch


class EvaluationBatches(Dataset[Batch]):
    """The images of a split in order, without randomness; `batches[k]` is batch k, the last may be short.

    Packed images are used whole, resized to `image_size` if they are of another size. Image files are resized
    so that the short side is image_size / 0.875, then the centre is cropped.
    """

    def __init__(
        self,
        dataset: ImageSet,
        image_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        batch_size: int,
        interpolation: str = "bicubic",
        indices: NDArray[np.int64] | None = None,
    ) -> None:
        """`indices` chooses and orders images; without it all are used."""
        self.dataset, self.image_size, self.batch_size = dataset, image_size, batch_size
        self.mean, self.std = mean, std
        self.mode = interpolation_mode(interpolation)
        self.order = np.arange(len(dataset)) if indices is None else np.asarray(indices, dtype=np.int64)

    def __len__(self) -> int:
        """Batches in one pass."""
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, number: int) -> Batch:
        """Batch `number`: images float32 (B, 3, S, S) normalised, labels and indices int64 (B,)."""
        if number >= len(self):
            raise IndexError(number)
        chosen = self.order[number * self.batch_size : (number + 1) * self.batch_size]
        images = torch.stack([self._framed(self.dataset.image(int(index))) for index in chosen])
        return {
            "images": normalise(images, self.mean, self.std),
            "labels": torch.from_numpy(self.dataset.labels[chosen]),
            "indices": torch.from_numpy(chosen),
        }

    def _framed(self, image: Tensor) -> Tensor:
        size = [self.image_size, self.image_size]
        if self.dataset.image_size == self.image_size:
            return image
        if self.dataset.image_size is not None:
            return F.resize(image, size, interpolation=self.mode, antialias=True)
        short = [round(self.image_size / EVALUATION_CROP)]
        return F.center_crop(F.resize(image, short, interpolation=self.mode, antialias=True), size)


def evaluation_batches(
    dataset: ImageSet,
    image_size: int,
    mean: Sequence[float],
    std: Sequence[float],
    batch_size: int,
    interpolation: str = "bicubic",
    indices: NDArray[np.int64] | None = None,
    workers: int = 0,
) -> Iterator[Batch]:
    """One pass over `EvaluationBatches`."""
    batches = EvaluationBatches(dataset, image_size, mean, std, batch_size, interpolation, indices)
    return loader(batches, 0, len(batches), workers)
