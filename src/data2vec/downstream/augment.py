"""Augmentation for fine-tuning images: timm's recipe of crops, RandAugment and random erasing (algorithms.md 9.1)."""

import random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from timm.data import create_transform
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

from data2vec.sections import FinetuneConfig, VisionConfig


class FinetuneImages:
    """The labelled samples `chosen` of one split, augmented a batch at a time."""

    def __init__(self, dataset: Any, vision: VisionConfig, finetune: FinetuneConfig, chosen: NDArray[np.int64]) -> None:
        self.dataset, self.chosen = dataset, chosen
        self.labels: NDArray[np.int64] = dataset.labels[chosen]
        self.transform = create_transform(
            vision.image_size,
            is_training=True,
            scale=finetune.crop_scale,
            hflip=0.5 if vision.horizontal_flip else 0.0,
            color_jitter=0.0,  # without effect beside RandAugment, as in the released recipe
            auto_augment=finetune.randaugment,
            interpolation="bicubic",
            mean=vision.mean,
            std=vision.std,
            re_prob=finetune.random_erasing,
            re_mode="pixel",
        )

    def __len__(self) -> int:
        return len(self.chosen)

    def batch(self, indices: NDArray[np.int64], rng: np.random.Generator) -> Tensor:
        """Images (B, 3, S, S) float32 normalised; every draw follows from `rng`.

        timm draws from the global generators of Python, NumPy and torch: they are set, and set back.
        """
        python, numpy = random.getstate(), np.random.get_state()
        with torch.random.fork_rng(devices=[]):
            seed = int(rng.integers(2**31))
            random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)
            try:
                images = [to_pil_image(self.dataset.image(int(self.chosen[i]))) for i in indices]
                return torch.stack([self.transform(image) for image in images])
            finally:
                random.setstate(python)
                np.random.set_state(numpy)
