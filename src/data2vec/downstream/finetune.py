"""`python -m data2vec finetune`: end-to-end fine-tuning for image classification, or the same from scratch."""

import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.data import Mixup
from torch import Tensor

from data2vec import config as schema
from data2vec.config import RunConfig
from data2vec.data.batches import BatchStream, evaluation_batches, loader
from data2vec.data.images import load_images
from data2vec.downstream.augment import FinetuneImages
from data2vec.downstream.classifier import Classifier, cross_entropy
from data2vec.downstream.features import load_encoder, stratified
from data2vec.errors import UserError
from data2vec.methods.build import build_encoder
from data2vec.training.checkpoint import save_model
from data2vec.training.device import Device, choose_device
from data2vec.training.layer_decay import layer_decay_scales
from data2vec.training.loop import Plan, StepLoss, train
from data2vec.training.optim import Adam, parameter_groups
from data2vec.training.pretrain import identity
from data2vec.training.run_folder import RunFolder, write_atomic
from data2vec.training.schedules import LearningRate

log = logging.getLogger(__name__)


def finetune(config: RunConfig, init_run: Path, run_dir: Path) -> None:
    """Fine-tune the encoder of `init_run` in `run_dir`; an unfinished run is continued."""
    with RunFolder(run_dir) as folder:
        _finetune(config, init_run, folder)


def _finetune(config: RunConfig, init_run: Path, folder: RunFolder) -> None:
    ft = config.finetune
    write_atomic(folder.path / "config.yaml", schema.dump(config))
    device = choose_device(config.train)
    data = Path(config.data_dir) / config.data.name
    train_set, test_set = load_images(data, "train"), load_images(data, "test")
    torch.manual_seed(config.seed)
    config = _for_finetuning(config)
    encoder = load_encoder(config, init_run) if ft.init == "pretrained" else build_encoder(config)
    model = Classifier(config, encoder, len(train_set.classes)).to(device.torch)
    names = [name for name, _ in model.named_parameters()]
    # a network from scratch has no layers worth protecting
    scales = layer_decay_scales(names, ft.layer_decay_rule, ft.layer_decay if ft.init == "pretrained" else 1.0)
    optimizer = Adam(
        parameter_groups(
            model.named_parameters(),
            ft.lr,
            ft.weight_decay,
            scales,
            decay_1d=config.optim.weight_decay_on == "all",
        ),
        betas=ft.betas,
        eps=config.optim.eps,
    )
    chosen = stratified(train_set.labels, ft.train_limit, config.seed)
    plan = _plan(config, model, train_set, test_set, chosen, device)
    progress = train(plan, model, optimizer, device, folder, f"{identity(config)} {ft!r}")
    # ---- final artefacts; metrics.json last, because its presence means complete
    top1, confusion = evaluate_top1(model, test_set, config, device)
    save_model(folder.model, model, {"config": schema.dump(config)})
    facts = {
        "seed": config.seed,
        "pretrain_seconds": round(progress.seconds, 3),
        "updates": progress.update,
        "samples": progress.samples,
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    folder.write_json("provenance.json", folder.provenance(device.name, device.torch, **facts))
    rows = [{"metric": "finetune_top1", "value": top1, "unit": "%", "dataset": config.data.name}]
    content = {"rows": rows, "classes": train_set.classes, "confusion": confusion.tolist(), "init": ft.init}
    folder.write_json("metrics.json", content)
    folder.state.unlink(missing_ok=True)


def _for_finetuning(config: RunConfig) -> RunConfig:
    """The run's configuration with pre-training's dropouts replaced by fine-tuning's (all 0, stochastic depth)."""
    off = dict.fromkeys(
        ("dropout", "attention_dropout", "activation_dropout", "post_mlp_dropout", "input_dropout"), 0.0
    )
    model = config.model.model_copy(update={**off, "layer_drop": 0.0, "drop_path": config.finetune.drop_path})
    return config.model_copy(update={"model": model})


@torch.no_grad()
def evaluate_top1(model: Classifier, dataset: Any, config: RunConfig, device: Device) -> tuple[float, np.ndarray]:
    """Top-1 accuracy in % on a whole split, and the confusion matrix (true, predicted)."""
    model.eval()
    v, size = config.vision, config.probe.batch_size
    classes = len(dataset.classes)
    confusion = torch.zeros(classes * classes, dtype=torch.long)
    for batch in evaluation_batches(dataset, v.image_size, v.mean, v.std, size):
        with device.autocast():
            predicted = model(batch["images"].to(device.torch)).argmax(1).cpu()
        confusion += torch.bincount(batch["labels"] * classes + predicted, minlength=classes * classes)
    model.train()
    table = confusion.view(classes, classes)
    return 100 * float(table.diagonal().sum()) / float(table.sum()), table.numpy()


def _plan(
    config: RunConfig, model: Classifier, train_set: Any, test_set: Any, chosen: np.ndarray, device: Device
) -> Plan:
    ft, t = config.finetune, config.train
    if ft.batch_size % 2 and (ft.mixup or ft.cutmix):
        raise UserError(f"finetune.batch_size = {ft.batch_size} is not allowed: mixup needs an even number")
    micro = math.gcd(ft.batch_size, t.micro_batch) if t.micro_batch else ft.batch_size
    stream = BatchStream(FinetuneImages(train_set, config.vision, ft, chosen), micro, config.seed)
    classes = len(train_set.classes)
    mixing = ft.mixup > 0 or ft.cutmix > 0
    every = ft.eval_every or max(1, ft.updates // 10)

    def batches(first: int, last: int) -> Iterator[tuple[Tensor, Tensor]]:
        for number, item in enumerate(loader(stream, first, last, t.workers), start=first):
            images, labels = item["images"], item["labels"]
            if mixing:
                images, labels = _mix(images, labels, config, classes, number)
            yield images.to(device.torch, non_blocking=True), labels.to(device.torch, non_blocking=True)

    def loss(batch: tuple[Tensor, Tensor], monitor: bool) -> StepLoss:
        images, target = batch
        return StepLoss(cross_entropy(model(images), target, ft.label_smoothing).sum(), len(images), len(images))

    def at_log(update: int, record: dict[str, Any]) -> dict[str, Any]:
        if update % every < t.log_every and update < ft.updates:
            return {"test_top1": evaluate_top1(model, test_set, config, device)[0]}
        return {}

    schedule = LearningRate("cosine", ft.lr, ft.updates, min(ft.warmup_updates, ft.updates), ft.min_lr)
    return Plan(
        ft.updates,
        ft.batch_size // micro,
        config.seed,
        ft.clip_norm,
        t.log_every,
        t.checkpoint_seconds,
        t.max_bad_steps,
        schedule,
        batches,
        loss,
        at_log=at_log,
    )


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
