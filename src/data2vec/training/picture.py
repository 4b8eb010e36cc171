"""What was masked and what the student knows about it: the arrays behind the report's picture.

MAE and SimMIM predict pixels, which are drawn. Other targets are none: for each hidden patch the picture shows the
pixels of the training patch whose *target* is nearest to the prediction. Where a method hides nothing, every patch is
replaced by the training patch whose *feature* is nearest to its own.
"""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data2vec.config import RunConfig
from data2vec.masking import sample_image_masks
from data2vec.methods.build import Method
from data2vec.methods.mae import MAE
from data2vec.methods.simmim import SimMIM
from data2vec.methods.step import Batch
from data2vec.nn.encoder import Masks
from data2vec.training.device import Device
from data2vec.training.picture_speech import speech_picture
from data2vec.training.picture_text import text_picture
from data2vec.training.run_folder import write_atomic
from data2vec.training.streams import COMPARES_VIEWS, num_clones

BANK = 256  # training images whose patches can be retrieved


def save_picture(path: Path, method: Method, config: RunConfig, device: Device) -> None:
    """Write masked.npz, as the modality shows what was masked."""
    PICTURES[config.modality](path, method, config, device)


@torch.no_grad()
def image_picture(path: Path, method: Method, config: RunConfig, device: Device, count: int = 8) -> None:
    """Write masked.npz: images, masks, position errors and predicted or retrieved patches of `count` images."""
    from data2vec.data.images import load_images  # torchvision takes seconds, only images need it

    dataset = load_images(Path(config.data_dir) / config.data.name, "train")
    rng = np.random.default_rng(config.seed)
    torch.manual_seed(config.seed)
    chosen = rng.permutation(len(dataset))[: count + BANK]
    pixels = torch.stack([_square(dataset.image(int(i)), config.vision.image_size) for i in chosen])
    shown, bank = pixels[:count], pixels[count:]
    if config.method in COMPARES_VIEWS:
        patches, is_masked, errors = _nearest_features(method, config, device, shown, bank)
    else:
        patches, is_masked, errors = _hidden(method, config, device, shown, bank, rng)
    grid = config.vision.grid
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        images=shown.permute(0, 2, 3, 1).numpy(),
        is_masked=is_masked.view(-1, grid, grid).cpu().numpy(),
        error=errors.view(-1, grid, grid).cpu().numpy(),
        reconstruction=_unpatch(patches, grid, config.vision.patch_size),
    )
    write_atomic(path, buffer.getvalue())


def _hidden(
    method: Method, config: RunConfig, device: Device, shown: Tensor, bank: Tensor, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Patches (N, T, 3 * p * p) in which hidden ones are the method's, is_masked (N, T), errors (N, T)."""
    clones = num_clones(config)
    drawn = sample_image_masks(config.mask, len(shown) * clones, config.vision.grid, rng)
    batch = Batch(_normalise(shown, config), Masks.from_numpy(drawn)).to(device.torch)
    output = method(batch)
    first = slice(0, None, clones)  # one mask per image
    is_masked = batch.masks.is_masked[first]
    if isinstance(method, MAE | SimMIM):
        patches = _denormalise(method.predicted_pixels(output, batch.inputs).cpu(), config)
    else:
        targets = []
        for part in bank.split(32):
            full = Batch(_normalise(part, config), _no_masks(len(part) * clones, config)).to(device.torch)
            targets.append(method(full).target.float())
        best = _nearest(output.pred[first].float(), torch.cat(targets).flatten(0, 1))
        patches = _patches(bank, config.vision.patch_size).flatten(0, 1)[best.cpu()]
    mixed = torch.where(is_masked.cpu()[..., None], patches, _patches(shown, config.vision.patch_size))
    return mixed, is_masked, method.position_errors(output)[first].masked_fill(~is_masked, torch.nan)


def _nearest_features(
    method: Method, config: RunConfig, device: Device, shown: Tensor, bank: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """As `_hidden`, for a method that hides nothing: every patch is the one of the nearest feature."""
    parts = torch.cat([shown, bank]).split(32)
    features = torch.cat([method.encoder(_normalise(part, config).to(device.torch)).x.float() for part in parts])
    best = _nearest(features[: len(shown)], features[len(shown) :].flatten(0, 1)).cpu()
    patches = _patches(bank, config.vision.patch_size).flatten(0, 1)[best]
    return patches, torch.zeros(best.shape, dtype=torch.bool), torch.full(best.shape, torch.nan)


def _no_masks(rows: int, config: RunConfig) -> Masks:
    """Masks that hide one position: the teacher sees everything anyway, and the student must see something."""
    is_masked = np.zeros((rows, config.vision.grid**2), dtype=bool)
    is_masked[:, 0] = True
    return Masks.from_numpy(is_masked)


def _nearest(pred: Tensor, bank: Tensor) -> Tensor:
    """Index of the nearest bank row (N, D) for each position of `pred` (R, T, D) -> (R, T)."""
    return torch.stack([torch.cdist(row[None], bank[None])[0].argmin(1) for row in pred])


def _square(image: Tensor, size: int) -> Tensor:
    """Centre square of a (3, H, W) uint8 image, resized to `size`."""
    from torchvision.transforms.v2 import functional as T

    image = T.center_crop(image, [min(image.shape[1:])] * 2)
    return image if image.shape[-1] == size else T.resize(image, [size, size], antialias=True)


def _normalise(images: Tensor, config: RunConfig) -> Tensor:
    mean, std = torch.tensor(config.vision.mean), torch.tensor(config.vision.std)
    return (images.float() / 255 - mean[:, None, None]) / std[:, None, None]


def _denormalise(patches: Tensor, config: RunConfig) -> Tensor:
    """Pixels (N, T, p * p * 3) in (row, column, channel) order -> (N, T, 3 * p * p) in [0, 255]."""
    mean, std = torch.tensor(config.vision.mean), torch.tensor(config.vision.std)
    pixels = patches.unflatten(-1, (-1, 3)) * std + mean
    return 255 * pixels.transpose(-1, -2).flatten(-2)


def _patches(images: Tensor, p: int) -> Tensor:
    """(N, 3, H, W) -> (N, T, 3 * p * p)."""
    return torch.nn.functional.unfold(images.float(), p, stride=p).transpose(1, 2)


def _unpatch(patches: Tensor, grid: int, p: int) -> np.ndarray:
    images = torch.nn.functional.fold(patches.transpose(1, 2), grid * p, p, stride=p)
    return images.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


PICTURES: dict[str, Callable[[Path, Method, RunConfig, Device], None]] = {
    "vision": image_picture,
    "speech": speech_picture,
    "text": text_picture,
}
