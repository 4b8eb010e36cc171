"""`python -m data2vec benchmark`: time and memory of the training step, without data loading.

One step = drawing masks, teacher and student forward, loss, backward, optimiser, teacher update, on one fixed
random batch.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from data2vec.config import RunConfig
from data2vec.data.audio import SAMPLE_RATE
from data2vec.data.vocabulary import WORDS
from data2vec.masking import sample_image_masks
from data2vec.methods.build import build_method
from data2vec.methods.step import Batch
from data2vec.modalities.speech import draw_masks
from data2vec.modalities.tokens import text_views
from data2vec.nn.encoder import Masks
from data2vec.plan import keep_measurement
from data2vec.training.device import choose_device
from data2vec.training.image_streams import view_batch
from data2vec.training.optim import Adam, parameter_groups
from data2vec.training.run_folder import peak_memory
from data2vec.training.streams import COMPARES_VIEWS, micro_batch_size, num_clones, text_batch

log = logging.getLogger(__name__)

WARMUP, TIMED = 2, 9


def benchmark(config: RunConfig, keep: Path | None = None) -> dict[str, float]:
    """Measure; logs and returns milliseconds (median, least), views per second and peak memory in bytes.

    `keep`: file to which the median is added for `python -m data2vec plan`.
    """
    device = choose_device(config.train)
    torch.manual_seed(config.seed)
    method = build_method(config).to(device.torch).train()
    trained = [(n, p) for n, p in method.named_parameters() if not n.startswith("teacher.")]
    optimizer = Adam(parameter_groups(trained, config.optim.lr, config.optim.weight_decay))
    rng = np.random.default_rng(config.seed)
    make = random_batches(config, rng)
    times = []
    for _ in range(WARMUP + TIMED):
        start = _now(device.torch)
        batch = make().to(device.torch)
        optimizer.zero_grad(set_to_none=True)
        with device.autocast():
            output = method(batch)
        (output.loss / output.sample_size).backward()
        optimizer.step()
        method.update_teacher(0.999)
        times.append(1000 * (_now(device.torch) - start))
    median = float(np.median(times[WARMUP:]))
    size, views = len(batch.inputs), len(batch.masks.is_masked)
    result = {
        "median_ms": median,
        "least_ms": min(times[WARMUP:]),
        "views_per_second": 1000 * views / median,
        "peak_memory_bytes": peak_memory(device.torch),
        "parameters": sum(p.numel() for _, p in trained),
    }
    log.info(
        "%s %s, %d samples, %s: median %.0f ms, least %.0f ms, %.0f views/s, peak %.2f GiB",
        *(config.method, config.modality, size, device.precision, median, result["least_ms"]),
        *(result["views_per_second"], result["peak_memory_bytes"] / 2**30),
    )
    if keep is not None:
        keep_measurement(config, device.name, median / 1000, keep)
    return result


def random_batches(config: RunConfig, rng: np.random.Generator) -> Callable[[], Batch]:
    """Batches of random inputs as large as a forward pass takes; every call draws new masks."""
    return {"vision": _images, "speech": _speech, "text": _text}[config.modality](config, rng)


def _images(config: RunConfig, rng: np.random.Generator) -> Callable[[], Batch]:
    v, size = config.vision, micro_batch_size(config)
    images = torch.randn(size, v.channels, v.image_size, v.image_size)
    rows = size * num_clones(config)
    if config.method in COMPARES_VIEWS:
        count, side = config.views.local if config.method == "dino" else 0, config.views.local_patches * v.patch_size
        crops = torch.randn(size, count, v.channels, side, side) if count else None
        views = torch.stack([images, images.flip(-1)], 1)
        return lambda: view_batch(config, views, crops)
    return lambda: Batch(images, Masks.from_numpy(sample_image_masks(config.mask, rows, v.grid, rng)))


def _speech(config: RunConfig, rng: np.random.Generator) -> Callable[[], Batch]:
    """As many recordings of the greatest length as fit into a forward pass."""
    s = config.speech
    samples = round(s.max_seconds * SAMPLE_RATE)
    lengths = np.full(max(1, int((s.micro_seconds or s.batch_seconds) // s.max_seconds)), samples)
    waveforms = torch.randn(len(lengths), samples)
    return lambda: Batch(waveforms, draw_masks(config, samples, lengths, rng))


def _text(config: RunConfig, rng: np.random.Generator) -> Callable[[], Batch]:
    """Full blocks of random words."""
    size, length = micro_batch_size(config), config.text.tokens_per_sample
    tokens = rng.integers(WORDS, config.data.vocab_size - 1, (size, length))
    lengths = np.full(size, length)

    def make() -> Batch:
        views = text_views(tokens, lengths, rng, config)
        return text_batch({name: torch.from_numpy(np.asarray(value)) for name, value in views.items()})

    return make


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
