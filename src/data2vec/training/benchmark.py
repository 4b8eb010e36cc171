"""`python -m data2vec benchmark`: time and memory of the training step, without data loading.

One step = drawing masks, teacher and student forward, loss, backward, optimiser, teacher update, on one fixed
random batch.
"""

import logging
import time

import numpy as np
import torch

from data2vec.config import RunConfig
from data2vec.masking import sample_image_masks
from data2vec.methods.build import build_method
from data2vec.methods.step import Batch
from data2vec.nn.encoder import Masks
from data2vec.training.device import choose_device
from data2vec.training.optim import Adam, parameter_groups
from data2vec.training.run_folder import peak_memory

log = logging.getLogger(__name__)

WARMUP, TIMED = 2, 9


def benchmark(config: RunConfig) -> dict[str, float]:
    """Measure; logs and returns milliseconds (median, least), views per second and peak memory in bytes."""
    device = choose_device(config.train)
    torch.manual_seed(config.seed)
    method = build_method(config).to(device.torch).train()
    trained = [(n, p) for n, p in method.named_parameters() if not n.startswith("teacher.")]
    optimizer = Adam(parameter_groups(trained, config.optim.lr, config.optim.weight_decay))
    rng = np.random.default_rng(config.seed)
    clones = config.mask.clones if config.method == "data2vec2" else 1
    size = config.train.micro_batch or config.train.batch_size
    v = config.vision
    images = torch.randn(size, v.channels, v.image_size, v.image_size)
    times = []
    for _ in range(WARMUP + TIMED):
        start = _now(device.torch)
        drawn = sample_image_masks(config.mask, size * clones, v.grid, rng)
        batch = Batch(images, Masks.from_numpy(drawn)).to(device.torch)
        optimizer.zero_grad(set_to_none=True)
        with device.autocast():
            output = method(batch)
        (output.loss / output.sample_size).backward()
        optimizer.step()
        method.update_teacher(0.999)
        times.append(1000 * (_now(device.torch) - start))
    median = float(np.median(times[WARMUP:]))
    result = {
        "median_ms": median,
        "least_ms": min(times[WARMUP:]),
        "views_per_second": 1000 * size * clones / median,
        "peak_memory_bytes": peak_memory(device.torch),
        "parameters": sum(p.numel() for _, p in trained),
    }
    log.info(
        "%s %s, %d samples, %s: median %.0f ms, least %.0f ms, %.0f views/s, peak %.2f GiB",
        *(config.method, config.modality, size, device.precision, median, result["least_ms"]),
        *(result["views_per_second"], result["peak_memory_bytes"] / 2**30),
    )
    return result


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
