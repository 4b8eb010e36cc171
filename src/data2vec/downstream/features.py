"""Frozen features of images: encoder outputs, pooled, or raw pixels."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data2vec.config import RunConfig
from data2vec.data.batches import evaluation_batches
from data2vec.errors import UserError
from data2vec.methods.build import build_encoder
from data2vec.nn.encoder import Encoder, pool
from data2vec.training.checkpoint import load_model
from data2vec.training.device import Device


def load_encoder(config: RunConfig, run_dir: Path) -> Encoder:
    """The student's encoder of a finished pre-training run."""
    encoder = build_encoder(config)
    load_student(encoder, load_model(run_dir / "checkpoint" / "model.safetensors"), run_dir)
    return encoder


def load_student(encoder: Encoder, tensors: dict[str, Tensor], run_dir: Path) -> None:
    """Set an encoder to the student's weights (never the teacher's, as published; pitfall P-I20)."""
    prefix = "encoder."
    student = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    try:
        encoder.load_state_dict(student)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{run_dir}: the checkpoint does not fit the configuration: {reason[:300]}") from None


def stratified(labels: np.ndarray, limit: int | None, seed: int) -> np.ndarray:
    """Indices of at most `limit` samples, equally many of each class as far as they go; sorted."""
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    rank = np.empty(len(labels), dtype=np.int64)
    for c in np.unique(labels):  # position of each sample within its class
        members = order[labels[order] == c]
        rank[members] = np.arange(len(members))
    chosen = order[np.argsort(rank[order], kind="stable")][:limit]
    return np.sort(chosen)


@torch.no_grad()
def extract(
    dataset: Any, indices: np.ndarray, encoder: Encoder | None, config: RunConfig, device: Device
) -> np.ndarray:
    """Features (N, D) float32 of the chosen images; raw normalised pixels without an encoder."""
    parts = []
    batches: Iterable[Tensor] = _images(dataset, indices, config)
    for images in batches:
        if encoder is None:
            parts.append(images.flatten(1))
            continue
        with device.autocast():
            output = encoder(images.to(device.torch))
        parts.append(pool(output, config.probe.pooling).float().cpu())
    return torch.cat(parts).numpy()


def _images(dataset: Any, indices: np.ndarray, config: RunConfig) -> Iterator[Tensor]:
    v = config.vision
    size = config.probe.batch_size
    for batch in evaluation_batches(dataset, v.image_size, v.mean, v.std, size, indices=indices):
        yield batch["images"]
