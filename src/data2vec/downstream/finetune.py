"""`python -m data2vec finetune`: the whole network on a task, from pre-trained weights or from scratch."""

import json
import logging
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from data2vec import config as schema
from data2vec.config import RunConfig
from data2vec.downstream.task import Scores, Task, task_data
from data2vec.errors import UserError
from data2vec.training.batch_split import say_batch, split_finetuning
from data2vec.training.checkpoint import load_model, save_model
from data2vec.training.device import Device, choose_device, prepare_trunks
from data2vec.training.distributed import Processes, processes
from data2vec.training.layer_decay import layer_decay_scales
from data2vec.training.loop import Plan, StepLoss, train
from data2vec.training.optim import Adam, parameter_groups
from data2vec.training.pretrain import identity
from data2vec.training.run_folder import RunFolder, write_atomic
from data2vec.training.schedules import LearningRate, stage_lengths

log = logging.getLogger(__name__)

# Kind of task -> module with `build_task`. Each brings libraries that take seconds to import: only one is.
KINDS = {
    "images": "data2vec.downstream.images",
    "recordings": "data2vec.downstream.recordings",
    "ctc": "data2vec.downstream.recognition",
    "sentences": "data2vec.downstream.sentences",
}
MODALITY_OF = {"images": "vision", "recordings": "speech", "ctc": "speech", "sentences": "text"}


def finetune(config: RunConfig, init_run: Path, run_dir: Path) -> None:
    """Fine-tune the encoder of `init_run` in `run_dir`; an unfinished run is continued."""
    with processes(config.train.timeout_seconds) as together, RunFolder(run_dir, together.is_first) as folder:
        if config.finetune.init != "tfidf":
            _finetune(config, init_run, folder, together)
        elif together.is_first:
            from data2vec.downstream.tfidf import fit_control

            fit_control(config, folder)


def _finetune(config: RunConfig, init_run: Path, folder: RunFolder, together: Processes) -> None:
    if together.is_first:
        write_atomic(folder.path / "config.yaml", schema.dump(config))
    device = choose_device(config.train, together.local)
    torch.manual_seed(config.seed)
    config = split_finetuning(_for_finetuning(config), together.count)
    ft = config.finetune
    if config.modality != MODALITY_OF[config.task.kind]:
        raise UserError(
            f"task {config.task.name} is about {MODALITY_OF[config.task.kind]}, and {init_run} was pre-trained on "
            f"{config.modality}: choose another with task=NAME"
        )
    build_task: Callable[[RunConfig, Path, Device], Task] = import_module(KINDS[config.task.kind]).build_task
    task = build_task(config, init_run, device)
    prepare_trunks(task.model, config.train)
    names = [name for name, _ in task.model.named_parameters()]
    # a network from scratch has no layers worth protecting
    scales = layer_decay_scales(names, ft.layer_decay_rule, ft.layer_decay if ft.init == "pretrained" else 1.0)
    decay_1d = config.optim.weight_decay_on == "all"
    groups = parameter_groups(task.model.named_parameters(), ft.lr, ft.weight_decay, scales, decay_1d=decay_1d)
    optimizer = Adam(groups, betas=ft.betas, eps=ft.eps or config.optim.eps)
    best = Best(folder, task, f"{identity(config)} {config.task!r} {ft!r}")
    plan = _plan(config, task, best, together)
    progress = train(plan, task.model, optimizer, device, folder, best.identity)
    if not together.is_first:
        return
    # ---- final artefacts; metrics.json last, because its presence means complete
    chosen = best.restore(ft.updates)
    scores = _evaluate(task, task.reported)
    save_model(folder.model, task.model, {"config": schema.dump(config)})
    with torch.no_grad():
        task.model.eval()
        task.finish(folder.path)
    facts = {
        "seed": config.seed,
        "pretrain_seconds": round(progress.seconds, 3),
        "processes": together.count,
        "updates": progress.update,
        "samples": progress.samples,
        "parameters": sum(p.numel() for p in task.model.parameters()),
    }
    folder.write_json("provenance.json", folder.provenance(device.name, device.torch, **facts))
    rows = [{"dataset": task_data(config).name} | row for row in scores.rows]
    log.info("%s", ", ".join(f"{row['metric']} {row['value']:.2f} {row['unit']}" for row in rows))
    folder.write_json("metrics.json", {"rows": rows, "init": ft.init, "weights_of_update": chosen, **scores.details})
    best.forget()
    folder.state.unlink(missing_ok=True)


def _for_finetuning(config: RunConfig) -> RunConfig:
    """The run's configuration with fine-tuning's dropouts and stochastic depth in place of pre-training's.

    A network from scratch has nothing worth freezing: its waveform convolutions learn, and all of it from the start.
    """
    ft = config.finetune
    everywhere = dict.fromkeys(("dropout", "post_mlp_dropout", "input_dropout"), ft.dropout)
    own = {key: getattr(ft, key) for key in ("attention_dropout", "activation_dropout", "layer_drop", "drop_path")}
    changed: dict[str, Any] = {"model": config.model.model_copy(update=everywhere | own)}
    if ft.init == "scratch":
        changed["speech"] = config.speech.model_copy(update={"feature_grad_mult": 1.0})
        changed["finetune"] = ft.model_copy(update={"freeze_updates": 0})
    return config.model_copy(update=changed)


@torch.no_grad()
def _evaluate(task: Task, split: str) -> Scores:
    task.model.eval()
    scores = task.evaluate(split)
    task.model.train()
    return scores


class Best:
    """The weights that did best on the watched split, kept on disk while the run goes on.

    Of equal scores the later counts: a small split gives few different ones, and the later weights have learned longer
    at a lower rate. They are those of the same updates however often the run was killed: evaluations are deterministic,
    and those that are repeated come in the same order.
    """

    def __init__(self, folder: RunFolder, task: Task, identity: str) -> None:
        self.task, self.identity = task, identity
        self.weights, self.record = folder.checkpoint / "best.safetensors", folder.checkpoint / "best.json"

    def consider(self, update: int, scores: Scores) -> None:
        """Keep the present weights if none before are better."""
        if self.task.select is None:
            return
        value, kept = scores.value(self.task.select), self._kept()
        if kept is None or (value >= kept["value"] if self.task.select_highest else value <= kept["value"]):
            # The record goes first and comes last: it never stands beside weights of another update.
            self.record.unlink(missing_ok=True)
            save_model(self.weights, self.task.model, {"update": str(update)})
            write_atomic(self.record, json.dumps({"update": update, "value": value, "identity": self.identity}) + "\n")

    def restore(self, last: int) -> int:
        """Go back to the best weights; the update they are from, `last` if none are kept."""
        kept = self._kept()
        if kept is None:
            return last
        self.task.model.load_state_dict(load_model(self.weights))
        return int(kept["update"])

    def forget(self) -> None:
        """Remove the kept weights: the final ones are saved."""
        self.record.unlink(missing_ok=True)
        self.weights.unlink(missing_ok=True)

    def _kept(self) -> dict[str, Any] | None:
        if not self.record.is_file():
            return None
        record: dict[str, Any] = json.loads(self.record.read_text())
        return record if record["identity"] == self.identity else None


def _plan(config: RunConfig, task: Task, best: Best, together: Processes) -> Plan:
    ft, t = config.finetune, config.train
    whole, unit = (ft.batch_seconds, "s of audio") if config.modality == "speech" else (ft.batch_size, "samples")
    say_batch(whole, unit, task.accumulation, together.count)
    every = ft.eval_every or max(1, ft.updates // 10)

    def batches(first: int, last: int, every: int = 1) -> Iterator[tuple[int, Any]]:
        for number, batch in zip(range(first, last, every), task.batches(first, last, every), strict=True):
            yield number // task.accumulation, batch

    def loss(item: tuple[int, Any], monitor: bool) -> StepLoss:
        update, batch = item
        return task.loss(batch, update)

    def at_log(update: int, record: dict[str, Any]) -> dict[str, Any]:
        is_last = update == ft.updates
        if update % every >= t.log_every and not is_last:
            return {}
        if is_last and task.select is None:
            return {}
        scores = _evaluate(task, task.watched)
        best.consider(update, scores)
        return scores.logged | {
            f"{task.watched}_{row['metric'].removeprefix('finetune_')}": row["value"] for row in scores.rows
        }

    warmup = min(ft.warmup_updates, ft.updates)
    stages = stage_lengths(ft.phases, ft.updates)
    schedule = LearningRate(
        ft.schedule, ft.lr, ft.updates, warmup, ft.min_lr, stages=stages, final_scale=ft.final_lr_scale
    )
    return Plan(
        ft.updates,
        task.accumulation,
        config.seed,
        ft.clip_norm,
        t.log_every,
        t.checkpoint_seconds,
        t.max_bad_steps,
        schedule,
        batches,
        loss,
        at_log=at_log,
        processes=together,
    )
