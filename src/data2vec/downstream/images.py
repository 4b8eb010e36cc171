"""Fine-tuning for classes of images: augmentation, mixing, top-1 accuracy (algorithms.md 9.1, 9.2)."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.data import Mixup
from torch import Tensor

from data2vec.config import RunConfig
from data2vec.data.batches import BatchStream, evaluation_batches
from data2vec.data.images import load_images
from data2vec.data.loading import loader
from data2vec.downstream.augment import FinetuneImages
from data2vec.downstream.classifier import Classifier, cross_entropy
from data2vec.downstream.features import stratified
from data2vec.downstream.task import Scores, Task, start_encoder, task_data
from data2vec.errors import UserError
from data2vec.training.device import Device
from data2vec.training.loop import StepLoss


def build_task(config: RunConfig, init_run: Path, device: Device) -> Task:
    """Classification of the images of the task's data set; the test split is watched, the last weights are kept."""
    ft, t = config.finetune, config.train
    if ft.batch_size % 2 and (ft.mixup or ft.cutmix):
        raise UserError(f"finetune.batch_size = {ft.batch_size} is not allowed: mixup needs an even number")
    train_set, test_set = load_images(task_data(config), "train"), load_images(task_data(config), "test")
    classes = len(train_set.classes)
    model = Classifier(config, start_encoder(config, init_run), classes).to(device.torch)
    chosen = stratified(train_set.labels, ft.train_limit, config.seed)
    micro = math.gcd(ft.batch_size, t.micro_batch) if t.micro_batch else ft.batch_size
    stream = BatchStream(FinetuneImages(train_set, config.vision, ft, chosen), micro, config.seed)

    def batches(first: int, last: int, every: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        made = loader(stream, first, last, t.workers, every)
        for number, item in zip(range(first, last, every), made, strict=True):
            images, labels = item["images"], item["labels"]
            if ft.mixup > 0 or ft.cutmix > 0:
                images, labels = _mix(images, labels, config, classes, number)
            yield images.to(device.torch, non_blocking=True), labels.to(device.torch, non_blocking=True)

    def loss(batch: tuple[Tensor, Tensor], update: int) -> StepLoss:
        images, target = batch
        return StepLoss(cross_entropy(model(images), target, ft.label_smoothing).sum(), len(images), len(images))

    def evaluate(split: str) -> Scores:
        top1, confusion = top1_accuracy(model, test_set, config, device)
        row = {"metric": "finetune_top1", "value": top1, "unit": "%"}
        return Scores([row], {"classes": train_set.classes, "confusion": confusion.tolist()})

    return Task(model, batches, loss, evaluate, ft.batch_size // micro, watched="test")


def top1_accuracy(model: Classifier, dataset: Any, config: RunConfig, device: Device) -> tuple[float, np.ndarray]:
    """Top-1 accuracy in % on a whole split, and the confusion matrix (true, predicted)."""
    v, size = config.vision, config.probe.batch_size
    classes = len(dataset.classes)
    confusion = torch.zeros(classes * classes, dtype=torch.long)
    for batch in evaluation_batches(dataset, v.image_size, v.mean, v.std, size):
        with device.autocast():
            predicted = model(batch["images"].to(device.torch)).argmax(1).cpu()
        confusion += torch.bincount(batch["labels"] * classes + predicted, minlength=classes * classes)
    table = confusion.view(classes, classes)
    return 100 * float(table.diagonal().sum()) / float(table.sum()), table.numpy()


def _mix(images: Tensor, labels: Tensor, config: RunConfig, classes: int, number: int) -> tuple[Tensor, Tensor]:
    """Mixup or CutMix of one batch by timm, its draws determined by (seed, batch number)."""
    ft = config.finetune
    mixup = Mixup(
        mixup_alpha=ft.mixup,
        cutmix_alpha=ft.cutmix,
        prob=ft.mix_prob,
        switch_prob=0.5,
        mode="batch",
        label_smoothing=ft.label_smoothing,
        num_classes=classes,
    )
    state = np.random.get_state()  # timm draws from NumPy's global generator
    np.random.seed([config.seed, number])
    try:
        return mixup(images, labels)
    finally:
        np.random.set_state(state)
