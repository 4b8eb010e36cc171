"""Pre-training batches of each modality: augmented inputs with their masks.

Batch number n depends on (seed, n) alone, so a resumed run needs no state of the data side.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data2vec.config import RunConfig
from data2vec.data.batches import Augmentation, BatchStream, PretrainImages, loader
from data2vec.data.images import load_images
from data2vec.masking import sample_image_masks
from data2vec.methods.step import Batch
from data2vec.nn.encoder import Masks

Batches = Callable[[int, int], Iterator[Batch]]  # (first, last) -> batches first .. last - 1


def pretraining_batches(config: RunConfig) -> Batches:
    """The micro-batches of a pre-training run."""
    return STREAMS[config.modality](config)


def micro_batch_size(config: RunConfig) -> int:
    """Samples per forward pass."""
    return config.train.micro_batch or config.train.batch_size


def num_clones(config: RunConfig) -> int:
    """Masked views per sample: 1 in data2vec 1.0."""
    return config.mask.clones if config.method == "data2vec2" else 1


def image_batches(config: RunConfig) -> Batches:
    """Augmented images (B, 3, S, S) and masks over the grid of patches."""
    v = config.vision
    dataset = load_images(Path(config.data_dir) / config.data.name, "train")
    augmentation = Augmentation(
        v.image_size,
        v.mean,
        v.std,
        crop_scale=v.crop_scale,
        horizontal_flip=v.horizontal_flip,
        color_jitter=v.color_jitter,
    )

    def masks(rng: np.random.Generator, batch_size: int) -> dict[str, Any]:
        drawn = Masks.from_numpy(sample_image_masks(config.mask, batch_size * num_clones(config), v.grid, rng))
        return {name: value for name, value in drawn._asdict().items() if value is not None}

    stream = BatchStream(PretrainImages(dataset, augmentation), micro_batch_size(config), config.seed, extra=masks)

    def batches(first: int, last: int) -> Iterator[Batch]:
        for item in loader(stream, first, last, config.train.workers):
            yield Batch(item["images"], Masks(item["is_masked"], item.get("visible")))

    return batches


STREAMS: dict[str, Callable[[RunConfig], Batches]] = {"vision": image_batches}
