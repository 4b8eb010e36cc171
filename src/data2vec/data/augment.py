"""Random crops, flips and colour jitter for pre-training (data2vec 1.0 and 2.0, images).

All random numbers come from the NumPy generator that is handed in; torchvision only applies them, image by
image, on uint8. Its own random transforms draw from torch's global generator, and drawing image by image
costs more than the cropping itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from data2vec.data.images import ImageSet
from data2vec.errors import UserError

_ATTEMPTS = 10
_JITTERS = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)


@dataclass(frozen=True)
class Augmentation:
    """What is done to a training image. Shares and ratios as in the paper's recipe; pixels are in 0..1."""

    image_size: int
    mean: Sequence[float]
    std: Sequence[float]
    crop_scale: tuple[float, float] = (0.2, 1.0)
    """Smallest and largest share of the image's area that a crop takes."""
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Smallest and largest width / height of a crop."""
    horizontal_flip: bool = True
    """Flip half of the images."""
    color_jitter: float = 0.0
    """Brightness, contrast and saturation are scaled by a factor from 1 - this to 1 + this."""
    grayscale: float = 0.0
    """Share of images that lose their colour."""
    interpolation: str = "bicubic"

    def __post_init__(self) -> None:
        """Raises UserError for values that no image can be cropped with."""
        low, high = self.crop_scale
        if not 0 < low <= high <= 1:
            raise UserError(f"crop_scale={list(self.crop_scale)} must be two shares with 0 < low <= high <= 1")
        if not 0 < self.crop_ratio[0] <= self.crop_ratio[1]:
            raise UserError(f"crop_ratio={list(self.crop_ratio)} must be two positive numbers, the smaller first")
        interpolation_mode(self.interpolation)


class PretrainImages:
    """Augmented training images of one split, a batch at a time."""

    def __init__(self, dataset: ImageSet, augmentation: Augmentation) -> None:
        """Nothing is read yet."""
        self.dataset = dataset
        self.augmentation = augmentation
        self.labels = dataset.labels

    def __len__(self) -> int:
        """Images in the split."""
        return len(self.dataset)

    def batch(self, indices: NDArray[np.int64], rng: np.random.Generator) -> Tensor:
        """The images `indices`, augmented and normalised: float32 (B, 3, S, S).

        The jitter acts on the whole image, before the crop, as in data2vec 1.0's recipe; 2.0 has none.
        """
        settings = self.augmentation
        images = [self.dataset.image(int(index)) for index in indices]
        boxes = random_crops(rng, [tuple(x.shape[1:]) for x in images], settings.crop_scale, settings.crop_ratio)
        is_flipped = torch.from_numpy(rng.random(len(images)) < 0.5)
        if settings.color_jitter > 0:
            images = _jittered(images, settings.color_jitter, rng)
        if settings.grayscale > 0:
            is_gray = rng.random(len(images)) < settings.grayscale
            images = [
                F.rgb_to_grayscale(image, 3) if gray else image for image, gray in zip(images, is_gray, strict=True)
            ]
        mode = interpolation_mode(settings.interpolation)
        size = [settings.image_size, settings.image_size]
        crops = torch.stack(
            [
                F.resized_crop(image, *box, size, interpolation=mode, antialias=True)
                for image, box in zip(images, boxes.tolist(), strict=True)
            ]
        )
        if settings.horizontal_flip:
            crops = torch.where(is_flipped[:, None, None, None], crops.flip(-1), crops)
        return normalise(crops, settings.mean, settings.std)


def interpolation_mode(name: str) -> InterpolationMode:
    """Torchvision's constant for "bicubic" or "bilinear"; UserError for anything else."""
    modes = {"bicubic": InterpolationMode.BICUBIC, "bilinear": InterpolationMode.BILINEAR}
    if name not in modes:
        raise UserError(f"interpolation={name!r} must be one of {', '.join(modes)}")
    return modes[name]


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """uint8 (B, 3, H, W) -> float32, (pixel / 255 - mean) / std per channel."""
    return F.normalize(F.to_dtype(images, torch.float32, scale=True), list(mean), list(std), inplace=True)


def random_crops(
    rng: np.random.Generator,
    sizes: Sequence[tuple[int, ...]],
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> NDArray[np.int64]:
    """One random box (top, left, height, width) for each (height, width) in `sizes`: int64 (B, 4).

    The rule of torchvision's RandomResizedCrop: area share uniform in `scale`, aspect ratio log-uniform in
    `ratio`, the first of ten draws that fits, else the largest central box within the ratio. How many random
    numbers are used does not depend on the sizes.
    """
    height, width = np.array(sizes, dtype=np.int64).T
    area = rng.uniform(*scale, size=(len(sizes), _ATTEMPTS)) * (height * width)[:, None]
    aspect = np.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1]), size=area.shape))
    place = rng.random((2, len(sizes)))
    widths = np.rint(np.sqrt(area * aspect)).astype(np.int64)
    heights = np.rint(np.sqrt(area / aspect)).astype(np.int64)
    fits = (widths > 0) & (widths <= width[:, None]) & (heights > 0) & (heights <= height[:, None])
    rows, first = np.arange(len(sizes)), fits.argmax(axis=1)
    crop_height, crop_width = heights[rows, first], widths[rows, first]
    top = (place[0] * (height - crop_height + 1)).astype(np.int64)
    left = (place[1] * (width - crop_width + 1)).astype(np.int64)

    central_width = np.minimum(width, np.maximum(1, np.rint(height * ratio[1]).astype(np.int64)))
    central_height = np.minimum(height, np.maximum(1, np.rint(width / ratio[0]).astype(np.int64)))
    central = ((height - central_height) // 2, (width - central_width) // 2, central_height, central_width)
    return np.where(fits.any(axis=1), (top, left, crop_height, crop_width), central).T


def _jittered(images: list[Tensor], strength: float, rng: np.random.Generator) -> list[Tensor]:
    """Brightness, contrast and saturation of each image scaled at random, in random order."""
    count = len(images)
    factors = rng.uniform(max(0.0, 1 - strength), 1 + strength, size=(count, 3)).tolist()
    orders = rng.permuted(np.tile(np.arange(3), (count, 1)), axis=1).tolist()
    jittered = []
    for image, of_image, order in zip(images, factors, orders, strict=True):
        for kind in order:
            image = _JITTERS[kind](image, of_image[kind])
        jittered.append(image)
    return jittered
