"""Pre-training batches of images: augmented and masked, or several views of each."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data2vec.config import RunConfig
from data2vec.data.batches import Augmentation, BatchStream, PretrainImages
from data2vec.data.images import ImageSet, load_images
from data2vec.data.loading import loader
from data2vec.data.views import ViewStream
from data2vec.masking import sample_image_masks
from data2vec.methods.step import Batch
from data2vec.nn.encoder import Masks
from data2vec.training.streams import COMPARES_VIEWS, Batches, micro_batch_size, num_clones


def image_batches(config: RunConfig) -> Batches:
    """Augmented images (B, 3, S, S) and masks over the grid of patches."""
    v = config.vision
    dataset = load_images(Path(config.data_dir) / config.data.name, "train")
    augmentation = image_augmentation(config)
    if config.method in COMPARES_VIEWS:
        return view_batches(config, dataset, augmentation)

    def masks(rng: np.random.Generator, batch_size: int) -> dict[str, Any]:
        drawn = Masks.from_numpy(sample_image_masks(config.mask, batch_size * num_clones(config), v.grid, rng))
        return {name: value for name, value in drawn._asdict().items() if value is not None}

    stream = BatchStream(PretrainImages(dataset, augmentation), micro_batch_size(config), config.seed, extra=masks)

    def batches(first: int, last: int, every: int = 1) -> Iterator[Batch]:
        for item in loader(stream, first, last, config.train.workers, every):
            yield Batch(item["images"], Masks(item["is_masked"], item.get("visible")))

    return batches


def image_augmentation(config: RunConfig) -> Augmentation:
    """How a training image is changed."""
    v = config.vision
    return Augmentation(
        v.image_size,
        v.mean,
        v.std,
        crop_scale=v.crop_scale,
        horizontal_flip=v.horizontal_flip,
        color_jitter=v.color_jitter,
    )


def view_batches(config: RunConfig, dataset: ImageSet, augmentation: Augmentation) -> Batches:
    """Two large and some small augmented views of each image; nothing is hidden.

    # differs: BYOL and DINO also blur and solarise views and turn their hue.
    """
    v = config.views
    large = replace(augmentation, grayscale=v.grayscale)
    small = replace(large, image_size=v.local_patches * config.vision.patch_size, crop_scale=v.local_scale)
    kinds = {"images": (2, large), "crops": (v.local if config.method == "dino" else 0, small)}
    stream = ViewStream(dataset, micro_batch_size(config), config.seed, kinds)

    def batches(first: int, last: int, every: int = 1) -> Iterator[Batch]:
        for item in loader(stream, first, last, config.train.workers, every):
            yield view_batch(config, item["images"], item.get("crops"))

    return batches


def view_batch(config: RunConfig, images: Tensor, crops: Tensor | None) -> Batch:
    """Views (B, 2, 3, S, S) and small ones as a batch in which nothing is hidden."""
    masks = Masks(torch.zeros(len(images), config.vision.grid**2, dtype=torch.bool), None)
    return Batch(images, masks, crops=crops)
