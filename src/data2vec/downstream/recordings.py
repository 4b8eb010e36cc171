"""Fine-tuning for classes of recordings: one of each, several (AudioSet), or who speaks (algorithms.md 9.7).

python -m data2vec finetune init_run=RUN task=fsdd run_dir=RUN/finetune/fsdd
"""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data2vec.config import RunConfig
from data2vec.data.audio import SAMPLE_RATE, Recordings
from data2vec.downstream.classifier import cross_entropy
from data2vec.downstream.features import mean_of_frames, stratified
from data2vec.downstream.speech_batches import SpeechBatches, SpeechInput, evaluation_inputs
from data2vec.downstream.speech_data import labelled_splits, subset
from data2vec.downstream.task import Scores, Task, start_encoder, task_data
from data2vec.errors import UserError
from data2vec.nn.encoder import Encoder, Masks
from data2vec.training.device import Device
from data2vec.training.loop import StepLoss

log = logging.getLogger(__name__)

_MIX = 4  # a random stream of its own
LARGEST_CONFUSION = 100  # classes


class RecordingClassifier(nn.Module):
    """Mean over frames, layer norm, one linear layer; for `several` classes at a time linear-softmax pooling."""

    def __init__(self, config: RunConfig, encoder: Encoder, classes: int) -> None:
        super().__init__()
        ft = config.finetune
        self.encoder, self.several = encoder, config.task.labels == "labels"
        self.norm = nn.LayerNorm(config.model.dim) if ft.head_norm and not self.several else nn.Identity()
        self.dropout = nn.Dropout(ft.final_dropout)
        self.output = nn.Linear(config.model.dim, classes)

    def forward(
        self, waveforms: Tensor, padding: Tensor | None = None, masks: Masks | None = None, frozen: bool = False
    ) -> Tensor:
        """Waveforms (B, samples) and the padding of their frames (B, T) -> logits (B, classes), float32."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
            x = self.encoder(waveforms, padding, masks).x
        x = self.dropout(x)
        if not self.several:
            return self.output(self.norm(mean_of_frames(x, padding))).float()
        if padding is not None:
            x = x.masked_fill(padding.unsqueeze(-1), 0)  # as released: the bias of these frames still counts
        return linear_softmax(self.output(x).float())


def linear_softmax(logits: Tensor) -> Tensor:
    """Pool (B, T, C) to (B, C): the logit of sum p^2 / sum p, where p are the frames' probabilities."""
    log_p = F.logsigmoid(logits)
    pooled = (torch.logsumexp(2 * log_p, 1) - torch.logsumexp(log_p, 1)).clamp(max=0)
    return (pooled - torch.log(-torch.expm1(pooled))).nan_to_num(nan=0.0)


def build_task(config: RunConfig, init_run: Path, device: Device) -> Task:
    """Classification of the task's recordings; the weights that do best on valid are kept."""
    ft, kind = config.finetune, config.task.labels
    splits = labelled_splits(config, task_data(config), kind)
    chosen = stratified(np.array(_values(splits.train, kind)), ft.train_limit, seed=0)
    train = subset(splits.train, chosen)
    classes = sorted({name for value in _values(splits.train, kind) for name in value.split(";")})
    if len(classes) < 2:
        raise UserError(f"{train.name} has one class only ({classes[0]}): there is nothing to tell apart")
    targets = _targets(train, kind, classes)
    model = RecordingClassifier(config, start_encoder(config, init_run), len(classes)).to(device.torch)
    batches = SpeechBatches(config, train, device)

    def mixed(first: int, last: int, every: int = 1) -> Iterator[tuple[SpeechInput, Tensor]]:
        for batch in batches(first, last, every):
            yield _mix(batch, targets[batch.indices], config)

    def loss(item: tuple[SpeechInput, Tensor], update: int) -> StepLoss:
        batch, shares = item
        shares = shares.to(device.torch)
        logits = model(batch.waveforms, batch.padding, batch.masks, update < ft.freeze_updates)
        if kind == "labels":
            total = F.binary_cross_entropy_with_logits(logits, shares, reduction="sum")
            return StepLoss(total, shares.sum(), len(shares))
        target = shares.argmax(1) if ft.source_mixup is None else shares
        return StepLoss(cross_entropy(logits, target, ft.label_smoothing).sum(), len(shares), len(shares))

    def evaluate(split: str) -> Scores:
        parts = {"valid": splits.valid} if split == "valid" else splits.tests
        rows, details = [], _facts(train, classes, splits.rule)
        for name, part in parts.items():
            dataset = {"dataset": f"{task_data(config).name}/{name}"} if len(parts) > 1 else {}
            row, found = _score(_logits(model, part, config, device), part, kind, classes)
            rows.append(row | dataset)
            details |= found
        return Scores(rows, details)

    metric = "map" if kind == "labels" else "accuracy"
    return Task(model, mixed, loss, evaluate, batches.accumulation, select=metric)


def _values(recordings: Recordings, kind: str) -> list[str]:
    return recordings.speakers if kind == "speaker" else recordings.labels


def _targets(recordings: Recordings, kind: str, classes: list[str]) -> Tensor:
    """Which classes each recording has, (N, classes) float32; unknown ones are left out."""
    number = {name: i for i, name in enumerate(classes)}
    targets = torch.zeros(len(recordings), len(classes))
    for i, value in enumerate(_values(recordings, kind)):
        for name in value.split(";"):
            if name in number:
                targets[i, number[name]] = 1
    return targets


def _mix(batch: SpeechInput, targets: Tensor, config: RunConfig) -> tuple[SpeechInput, Tensor]:
    """Waveforms and classes of a share of the batch mixed with those of others, by one ratio for the whole batch."""
    ft, rows = config.finetune, len(targets)
    if ft.source_mixup is None:
        return batch, targets
    rng = np.random.default_rng((config.seed, _MIX, batch.number))
    r = float(rng.uniform(max(1e-6, ft.source_mixup), 1))
    partner, is_mixed = torch.from_numpy(rng.permutation(rows)), torch.from_numpy(rng.random(rows) < ft.mix_prob)
    there = partner.to(batch.waveforms.device)
    both = (r * batch.waveforms + (1 - r) * batch.waveforms[there]) / (r**2 + (1 - r) ** 2) ** 0.5
    select = is_mixed.to(there.device)[:, None]
    padding = batch.padding
    if padding is not None:
        padding = torch.where(select, padding & padding[there], padding)
    waveforms = torch.where(select, both, batch.waveforms)
    shares = torch.where(is_mixed[:, None], r * targets + (1 - r) * targets[partner], targets)
    return replace(batch, waveforms=waveforms, padding=padding), shares


def _logits(model: nn.Module, recordings: Recordings, config: RunConfig, device: Device) -> Tensor:
    """Of every recording, (N, classes) on the CPU."""
    found: Tensor | None = None
    for batch in evaluation_inputs(recordings, config, device):
        with device.autocast():
            logits = model(batch.waveforms, batch.padding).cpu()
        found = torch.empty(len(recordings), logits.shape[1]) if found is None else found
        found[batch.indices] = logits
    assert found is not None
    return found


def _score(logits: Tensor, part: Recordings, kind: str, classes: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The metric's row, and the confusion matrix (true, predicted) of single classes."""
    targets = _targets(part, kind, classes)
    if kind == "labels":
        present = torch.nonzero(targets.sum(0)).flatten().tolist()  # the others have no average precision
        from sklearn.metrics import average_precision_score

        precisions = [average_precision_score(targets[:, c], logits[:, c].sigmoid()) for c in present]
        return {"metric": "map", "value": 100 * float(np.mean(precisions)), "unit": "%"}, {
            "classes_scored": len(present)
        }
    if unknown := sorted(set(_values(part, kind)) - set(classes)):
        log.warning("%s has classes that training has not, which count as errors: %s", part.name, ", ".join(unknown))
    is_right = (logits.argmax(1) == targets.argmax(1)) & (targets.sum(1) > 0)
    row = {"metric": "accuracy", "value": 100 * float(is_right.double().mean()), "unit": "%"}
    if len(classes) > LARGEST_CONFUSION:
        return row, {}
    known = targets.sum(1) > 0
    pairs = targets.argmax(1)[known] * len(classes) + logits.argmax(1)[known]
    confusion = torch.bincount(pairs, minlength=len(classes) ** 2).view(len(classes), -1)
    return row, {"confusion": confusion.tolist()}


def _facts(train: Recordings, classes: list[str], rule: str) -> dict[str, Any]:
    return {
        "classes": classes,
        "splits": rule,
        "train_recordings": len(train),
        "train_seconds": round(float(train.lengths.sum()) / SAMPLE_RATE, 1),
    }
