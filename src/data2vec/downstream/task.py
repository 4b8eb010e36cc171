"""What a fine-tuning task gives to the training loop; each kind of task is one module beside this one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from data2vec.config import RunConfig
from data2vec.downstream.features import load_encoder
from data2vec.methods.build import build_encoder
from data2vec.nn.encoder import Encoder
from data2vec.training.loop import NumberedBatches, StepLoss


@dataclass
class Scores:
    """Metrics of a model on one split; `details` is kept beside them in metrics.json, `logged` in metrics.jsonl."""

    rows: list[dict[str, Any]]  # metric, value, unit; dataset where it is not the task's
    details: dict[str, Any] = field(default_factory=dict)
    logged: dict[str, float] = field(default_factory=dict)

    def value(self, metric: str) -> float:
        """The value of one metric."""
        return float(next(row["value"] for row in self.rows if row["metric"] == metric))


@dataclass
class Task:
    """One task with its model.

    `batches(first, last, every)` yields micro-batches by number, each a function of (seed, number) alone;
    `accumulation` of them make an update. `loss(batch, update)` is called in training mode, `evaluate(split)` in
    evaluation mode without gradients. `watched` is the split evaluated while training, from which the best weights are
    chosen when `select` names a metric; without it the last weights stay. The result is that of `reported`.
    """

    model: nn.Module
    batches: NumberedBatches
    loss: Callable[[Any, int], StepLoss]
    evaluate: Callable[[str], Scores]
    accumulation: int = 1
    watched: str = "valid"
    reported: str = "test"
    select: str | None = None
    select_highest: bool = True
    finish: Callable[[Path], None] = lambda run_dir: None  # writes further files of the result, such as predictions


def task_data(config: RunConfig) -> Path:
    """Folder of the task's prepared data."""
    return Path(config.data_dir) / (config.task.data or config.data.name)


def start_encoder(config: RunConfig, init_run: Path) -> Encoder:
    """The encoder that fine-tuning starts from: pre-trained, fine-tuned before, or from scratch."""
    if config.finetune.init != "pretrained":
        return build_encoder(config)
    return load_encoder(config, Path(config.finetune.start_from or init_run))
