"""Hours of audio a second that the loader delivers, beside what the training step consumes (docs/performance.md).

    PYTHONPATH=src python benchmarks/speech_loader.py data=an4 data_dir=results/data model=mini method=data2vec2

The words are those of `python -m data2vec pretrain`. The loader reads, decodes, resamples, normalises, crops and draws
masks in one process (`train.workers` is set to 0); the step is that of `python -m data2vec benchmark`, without loading.
Run it on an idle machine, and once before to have the files in the system's cache.
"""

import logging
import sys
import time

from data2vec.cli import split_overrides
from data2vec.compose import compose
from data2vec.config import RunConfig
from data2vec.data.audio import SAMPLE_RATE
from data2vec.training.benchmark import benchmark
from data2vec.training.streams import speech_batches

BATCHES = 30


def loader_speed(config: RunConfig) -> float:
    """Seconds of audio a second, over `BATCHES` micro-batches in one process."""
    batches = speech_batches(config)
    list(batches(0, 2))
    start = time.perf_counter()
    samples = sum(batch.inputs.numel() for batch in batches(2, 2 + BATCHES))
    return samples / SAMPLE_RATE / (time.perf_counter() - start)


def step_speed(config: RunConfig) -> float:
    """Seconds of audio a second that a training step takes in, on recordings of the greatest length."""
    s = config.speech
    rows = max(1, int((s.micro_seconds or s.batch_seconds) // s.max_seconds))
    return rows * s.max_seconds / (benchmark(config)["median_ms"] / 1000)


def main(words: list[str]) -> None:
    """Measure and print one line."""
    logging.disable(logging.INFO)
    config = compose({"modality": "speech", "train.workers": "0", "train.threads": "1"} | split_overrides(words))
    loader, step = loader_speed(config), step_speed(config)
    sys.stdout.write(
        f"{config.method} {config.model.name} on {config.data.name}: loader {loader / 3600:.3f} h/s, "
        f"step {step / 3600:.4f} h/s of audio, ratio {loader / step:.1f}\n"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
