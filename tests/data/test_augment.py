"""Augmentation: distribution and pixels of torchvision's own transforms, from a generator that is passed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from data2vec.data.augment import Augmentation, PretrainImages, normalise, random_crops
from data2vec.errors import UserError

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
SCALE, RATIO = (0.2, 1.0), (3 / 4, 4 / 3)


class MadeImages:
    """Random images of given sizes."""

    name, classes, image_size = "made", ["a"], None

    def __init__(self, sizes: list[tuple[int, int]]) -> None:
        """One image for each (height, width)."""
        torch_rng = torch.Generator().manual_seed(0)
        self.pixels = [torch.randint(0, 256, (3, *s), dtype=torch.uint8, generator=torch_rng) for s in sizes]
        self.labels: NDArray[np.int64] = np.zeros(len(sizes), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> torch.Tensor:
        """Image `index`."""
        return self.pixels[index]


def test_crops_fit_and_are_distributed_as_torchvisions() -> None:
    count, height, width = 4000, 60, 90
    ours = random_crops(np.random.default_rng(0), [(height, width)] * count, SCALE, RATIO)
    top, left, h, w = ours.T
    assert (ours >= [0, 0, 1, 1]).all()
    assert (top + h <= height).all()
    assert (left + w <= width).all()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transform, image = v2.RandomResizedCrop(32, SCALE, RATIO), torch.zeros(3, height, width)
        drawn = [transform.make_params([image]) for _ in range(count)]
    theirs = np.array([[p["top"], p["left"], p["height"], p["width"]] for p in drawn])
    quantiles = [0.05, 0.25, 0.5, 0.75, 0.95]
    np.testing.assert_allclose(np.quantile(ours, quantiles, axis=0), np.quantile(theirs, quantiles, axis=0), atol=3)


def test_crop_of_a_narrow_strip_falls_back_to_its_centre() -> None:
    boxes = random_crops(np.random.default_rng(0), [(10, 1000), (1000, 10), (1, 1)], (0.9, 1.0), RATIO)
    assert boxes.tolist() == [[0, 493, 10, 13], [493, 0, 13, 10], [0, 0, 1, 1]]


def test_batch_is_torchvisions_crop_flip_and_normalisation() -> None:
    dataset = MadeImages([(32, 32), (40, 50), (64, 20)] * 4)
    batch = PretrainImages(dataset, Augmentation(16, MEAN, STD)).batch(np.arange(12), np.random.default_rng(3))
    rng = np.random.default_rng(3)
    boxes = random_crops(rng, [tuple(x.shape[1:]) for x in dataset.pixels], SCALE, RATIO)
    is_flipped = rng.random(12) < 0.5
    assert 0 < is_flipped.sum() < 12
    for row, image in enumerate(dataset.pixels):
        expected = F.resized_crop(image, *boxes[row], [16, 16], v2.InterpolationMode.BICUBIC, antialias=True)
        expected = F.horizontal_flip(expected) if is_flipped[row] else expected
        expected = (expected.float() / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
        torch.testing.assert_close(batch[row], expected)
    assert batch.dtype == torch.float32
    assert batch.is_contiguous()


def test_full_crop_without_flip_leaves_the_image() -> None:
    dataset = MadeImages([(8, 8)])
    settings = Augmentation(8, MEAN, STD, crop_scale=(1, 1), crop_ratio=(1, 1), horizontal_flip=False)
    batch = PretrainImages(dataset, settings).batch(np.array([0]), np.random.default_rng(0))
    torch.testing.assert_close(batch, normalise(dataset.pixels[0][None], MEAN, STD))


def test_colour_jitter_changes_colours_within_its_strength() -> None:
    dataset = MadeImages([(16, 16)] * 64)
    for image in dataset.pixels:
        image.fill_(100)
    plain = Augmentation(16, (0, 0, 0), (1, 1, 1), color_jitter=0.4)
    levels = PretrainImages(dataset, plain).batch(np.arange(64), np.random.default_rng(0)).mean((1, 2, 3)) * 255
    assert 58 < levels.min() < 75
    assert 125 < levels.max() < 142


def test_jitter_leaves_crops_and_flips_as_they_are() -> None:
    dataset = MadeImages([(16, 16)] * 8)
    for row, image in enumerate(dataset.pixels):
        image.copy_(torch.where(torch.arange(16) < 8, 0, 255).expand(3, 16, 16) if row % 2 else 0)
    batches = [
        PretrainImages(dataset, Augmentation(16, MEAN, STD, color_jitter=j)).batch(
            np.arange(8), np.random.default_rng(5)
        )
        for j in (0.0, 1e-9)
    ]
    torch.testing.assert_close(*batches, atol=0.05, rtol=0)


def test_normalisation_gives_zero_mean_and_unit_deviation(tmp_path: Path) -> None:
    images = torch.randint(0, 256, (64, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    share = images.float() / 255
    mean, std = share.mean((0, 2, 3)).tolist(), share.std((0, 2, 3), correction=0).tolist()
    out = normalise(images, mean, std)
    torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"crop_scale": (0.0, 1.0)},
        {"crop_scale": (0.5, 0.2)},
        {"crop_ratio": (2, 1)},
        {"interpolation": "cubic"},
    ],
)
def test_impossible_settings_are_told(wrong: dict) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        Augmentation(16, MEAN, STD, **wrong)
