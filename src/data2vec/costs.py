"""What a job of the workflow costs: operations, hours, memory, disk. Standard library only.

Hours come from a measured step where there is one (`plan.py`), else from operations and a stated utilisation: the
share of a card's peak that training reaches. docs/performance.md says which shares the published hours imply. A small
model on a card waits for its kernels to be started, whatever they compute: hence a least time of a step.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from data2vec.errors import UserError
from data2vec.flops import (
    MEAN_SECONDS,
    SENTENCE_TOKENS,
    encoder,
    finetune_flops,
    labelled_rows,
    labelled_sample,
    passes,
    rows_per_pass,
    sample,
    update_flops,
)
from data2vec.settings import known
from data2vec.sizes import (
    GB,
    STATE_BYTES,
    encoder_parameters,
    finetune_gpu_gb,
    has_teacher,
    head_parameters,
    pretrain_gpu_gb,
)

if TYPE_CHECKING:
    from data2vec.config import RunConfig

UTILISATION = 0.25
START_SECONDS = 0.002  # to start the kernels of one block, forward and backward, on a card


@dataclass(frozen=True)
class Hardware:
    """A card: dense bf16 peak (fp16 where there is no bf16), memory, power of the board; makers' figures."""

    name: str
    tflops: float
    memory_gb: float
    power_w: float


HARDWARE = {
    card.name: card
    for card in (
        Hardware("t4", 65, 16, 70),
        Hardware("v100", 125, 32, 300),
        Hardware("rtx3090", 71, 24, 350),
        Hardware("rtx4090", 165, 24, 450),
        Hardware("a10", 125, 24, 150),
        Hardware("a40", 150, 48, 300),
        Hardware("l40s", 362, 48, 350),
        Hardware("a100", 312, 80, 400),
        Hardware("h100", 989, 80, 700),
        Hardware("h200", 989, 141, 700),
        Hardware("b200", 2250, 192, 1000),
        # one thread of an AMD EPYC with AVX-512, float32: measured products (docs/performance.md)
        Hardware("cpu", 0.08, 8, 10),
    )
}
# Prepared data sets, GB; what is not named is below 1.
DATA_GB = {"imagenet": 147, "librispeech": 61, "books-wikipedia": 25, "audioset": 10, "speechcommands": 4}
# Labelled samples, training and test; else those of `probe.train_limit` and 10,000.
LABELLED = {
    "imagenet": (1_281_167, 50_000),
    "cifar10": (50_000, 10_000),
    "digits": (1_437, 360),
    "speechcommands": (84_843, 11_005),
    "fsdd": (2_700, 300),
    "sst2": (67_349, 872),
    "espeak": (500, 150),
}
WITHOUT_NETWORK = ("pixels", "filterbank", "tfidf")


@dataclass(frozen=True)
class Cost:
    """Of one job and one seed; `hours` is None where nothing is known (preparation)."""

    parameters: int = 0
    updates: int = 0
    passes: float = 0.0  # forward and backward, one behind the other on each card
    samples: float = 0.0
    flops: float = 0.0
    gpus: int = 0
    hours: float | None = None
    gpu_gb: float = 0.0
    disk_gb: float = 0.0
    source: str = ""


def find_hardware(name: str) -> Hardware:
    """A card by name."""
    return HARDWARE[known(name, list(HARDWARE), "gpu")]


def cost(kind: str, cfg: "RunConfig", card: Hardware, gpus: int, utilisation: float = UTILISATION) -> Cost:
    """Of a pre-training, probe or fine-tuning, from operations; on `gpus` cards without loss between them."""
    if not 0 < utilisation <= 1:
        raise UserError(f"utilisation = {utilisation} is not allowed: it must be a share of the peak, above 0, up to 1")
    found = {"pretrain": _pretrain, "probe": _probe, "finetune": _finetune}[kind](cfg, max(1, gpus))
    if not found.flops:
        return replace(found, hours=0.0, source="no network")
    seconds = found.flops / (card.tflops * 1e12 * utilisation * found.gpus)
    source = f"FLOPs at {utilisation:.0%} of {card.tflops:g} TFLOP/s"
    least = found.passes * START_SECONDS * (cfg.model.depth + cfg.model.prenet_depth) if card.name != "cpu" else 0.0
    if least > seconds:
        seconds, source = least, f"{1000 * START_SECONDS:g} ms for each block and pass"
    return replace(found, hours=seconds / 3600, source=source)


def preparation(dataset: str) -> Cost:
    """Of preparing a data set: its size."""
    return Cost(disk_gb=DATA_GB.get(dataset, 0.5), source="size on disk")


def _pretrain(cfg: "RunConfig", gpus: int) -> Cost:
    weights, teacher = encoder_parameters(cfg) + head_parameters(cfg), encoder_parameters(cfg) * has_teacher(cfg)
    updates = cfg.train.updates
    return Cost(
        weights,
        updates,
        updates * max(1.0, passes(cfg) / gpus),
        updates * rows_per_pass(cfg) * passes(cfg),
        updates * update_flops(cfg),
        gpus,
        gpu_gb=pretrain_gpu_gb(cfg, gpus),
        disk_gb=4 * (weights + teacher) / GB,
    )


def _finetune(cfg: "RunConfig", gpus: int) -> Cost:
    ft, weights, rows = cfg.finetune, encoder_parameters(cfg), labelled_rows(cfg)
    if ft.init in WITHOUT_NETWORK:
        return Cost(gpus=1)
    split = (ft.batch_seconds / (ft.micro_seconds or ft.batch_seconds)) if cfg.modality == "speech" else 1
    memory = finetune_gpu_gb(cfg, rows / max(split, gpus), labelled_sample(cfg).positions)
    done, total = ft.updates * max(1.0, split / gpus), ft.updates * finetune_flops(cfg)
    return Cost(weights, ft.updates, done, ft.updates * rows, total, gpus, gpu_gb=memory, disk_gb=4 * weights / GB)


def _probe(cfg: "RunConfig", gpus: int) -> Cost:
    """Features of the labelled samples; the regression on them runs on the processor and is not counted."""
    if cfg.probe.features in WITHOUT_NETWORK:
        return Cost(gpus=1)
    data = cfg.probe.data or cfg.data.name
    train, test = LABELLED.get(data, (cfg.probe.train_limit or 10_000, 10_000))
    count = min(train, cfg.probe.train_limit or train) + test
    length = {"text": float(SENTENCE_TOKENS), "speech": MEAN_SECONDS.get(data, 10.0)}.get(cfg.modality)
    s = sample(cfg, length)
    flops = count * (s.local + encoder(cfg, s.positions))
    memory = finetune_gpu_gb(cfg, 32, s.positions)
    return Cost(encoder_parameters(cfg), samples=count, flops=flops, gpus=1, gpu_gb=memory)


# ---- what a cluster is asked for

START_MINUTES, MARGIN = 30, 1.5
MOST_MINUTES = 7 * 24 * 60  # what clusters rarely exceed; a job that ends there is sent again and continues


def minutes(kind: str, cfg: "RunConfig", card: Hardware, gpus: int, utilisation: float) -> int:
    """Time to ask for: the estimate with a margin, and time to start."""
    hours = cost(kind, cfg, card, gpus, utilisation).hours or 0.0
    return min(MOST_MINUTES, START_MINUTES + round(60 * MARGIN * hours))


def host_mb(cfg: "RunConfig", gpus: int) -> int:
    """Main memory to ask for: for each card a process with its loaders, and its state while that is saved."""
    state = 2 * STATE_BYTES * (encoder_parameters(cfg) + head_parameters(cfg)) / 1e6
    return round(4000 + max(1, gpus) * (6000 + 2000 * cfg.train.workers + state))
