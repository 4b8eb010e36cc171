"""`python -m data2vec pretrain`: one pre-training run in one folder."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import torch

from data2vec import config as schema
from data2vec.config import RunConfig
from data2vec.data.tokenizer import load_tokenizer
from data2vec.errors import UserError
from data2vec.flops import update_flops
from data2vec.methods.build import Method, build_method
from data2vec.methods.dino import DINO
from data2vec.methods.hubert import Hubert
from data2vec.methods.step import Batch
from data2vec.training.batch_split import say_batch, split_pretraining
from data2vec.training.checkpoint import VOCABULARY, save_model
from data2vec.training.collapse import block_ranks
from data2vec.training.device import Device, choose_device, prepare_trunks
from data2vec.training.distributed import Processes, processes
from data2vec.training.loop import Plan, Progress, StepLoss, train
from data2vec.training.optim import Adam, parameter_groups
from data2vec.training.picture import save_picture
from data2vec.training.run_folder import RunFolder, write_atomic
from data2vec.training.schedules import LearningRate, ema_decay, stage_lengths
from data2vec.training.snapshots import save_snapshot, snapshot_updates
from data2vec.training.streams import Batches, micro_batches, pretraining_batches
from data2vec.training.transfer import start_trunk
from data2vec.training.units import set_units

log = logging.getLogger(__name__)

# Of the targets' spread, in three records on end: more, and the targets are the same whatever the input is. Single
# records of healthy runs, of a few samples, pass it too.
SHARED_MAX = 0.9
LABELS = ("scale", "experiment", "variant", "data_dir", "probe", "task", "finetune")  # do not change a training run


def pretrain(config: RunConfig, run_dir: Path) -> None:
    """Pre-train as configured; an unfinished run in `run_dir` is continued. Leaves the files of a run folder."""
    with processes(config.train.timeout_seconds) as together, RunFolder(run_dir, together.is_first) as folder:
        if together.any(together.is_first and _is_complete(folder, config), "the run folder"):
            log.info("%s is complete; delete it to run again", run_dir)
        else:
            _pretrain(config, folder, together)


def _pretrain(config: RunConfig, folder: RunFolder, together: Processes) -> None:
    if together.is_first:
        write_atomic(folder.path / "config.yaml", schema.dump(config))
    device = choose_device(config.train, together.local)
    published, config = config, split_pretraining(config, together.count)
    batches = pretraining_batches(config)
    meta = {"config": schema.dump(published)}
    if config.modality == "text":
        meta[VOCABULARY] = load_tokenizer(Path(config.data_dir) / config.data.name).fingerprint
    torch.manual_seed(config.seed)
    method = build_method(config).to(device.torch)
    if config.model.init_trunk is not None:
        start_trunk(method, Path(config.model.init_trunk))
    if isinstance(method, Hubert) and together.is_first:
        set_units(method, config, folder, identity(config))
    prepare_trunks(method, config.train)
    optimizer = Adam(
        parameter_groups(
            ((n, p) for n, p in method.named_parameters() if not n.startswith("teacher.")),
            config.optim.lr,
            config.optim.weight_decay,
            decay_1d=config.optim.weight_decay_on == "all",
        ),
        betas=config.optim.betas,
        eps=config.optim.eps,
    )
    plan = _plan(config, method, batches, device, together, folder)
    progress = train(plan, method, optimizer, device, folder, identity(config) + meta.get(VOCABULARY, ""))
    if not together.is_first:
        return
    # ---- final artefacts; metrics.json last, because its presence means complete
    save_model(folder.model, method, meta)
    with device.autocast():
        save_picture(folder.path / "masked.npz", method.eval(), config, device)
    facts = {
        "seed": config.seed,
        "pretrain_seconds": round(progress.seconds, 3),
        "cpu_seconds": round(progress.cpu_seconds, 3),
        "processes": together.count,
        "updates": progress.update,
        "samples": progress.samples,
        "parameters": sum(p.numel() for n, p in method.named_parameters() if not n.startswith("teacher.")),
    }
    folder.write_json("provenance.json", folder.provenance(device.name, device.torch, **facts))
    last = json.loads(folder.log.read_text().splitlines()[-1])
    rows = [
        {"metric": name, "value": last[name], "unit": "", "dataset": config.data.name}
        for name in ("loss", "target_var", "pred_var", "position_var")
        if name in last
    ]
    if config.method.startswith("data2vec"):
        with device.autocast():
            ranks = block_ranks(method, next(batches(0, 1)).to(device.torch))
        rows += [
            {"metric": f"effective_rank_{block}", "value": round(rank, 3), "unit": "", "dataset": config.data.name}
            for block, rank in enumerate(ranks, start=1)
        ]
    rows += _cost_rows(published, progress)
    folder.write_json("metrics.json", {"rows": rows})
    folder.state.unlink(missing_ok=True)


def _cost_rows(config: RunConfig, progress: Progress) -> list[dict[str, Any]]:
    """What an update took in FLOPs, from the configuration and as torch counted the first one; processor time."""
    costs = {"update_flops": update_flops(config), "counted_flops": progress.flops}
    rows = [{"metric": name, "value": value, "unit": "FLOP"} for name, value in costs.items() if value]
    rows.append({"metric": "cpu_seconds", "value": round(progress.cpu_seconds, 3), "unit": "s"})
    return [row | {"dataset": config.data.name} for row in rows]


def identity(config: RunConfig) -> str:
    """Digest of everything that determines the result of a run; a state of another one is not resumed."""
    values = config.model_dump(mode="json", exclude=set(LABELS))
    for key in ("log_every", "checkpoint_seconds", "workers", "timeout_seconds", "checkpointing"):
        values["train"].pop(key)
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _is_complete(folder: RunFolder, config: RunConfig) -> bool:
    names = ("config.yaml", "metrics.json", "provenance.json", "masked.npz")
    if folder.state.exists() or not all((folder.path / n).exists() for n in names) or not folder.model.exists():
        return False
    return identity(schema.load(folder.path / "config.yaml")) == identity(config)


def _plan(
    config: RunConfig, method: Method, batches: Batches, device: Device, together: Processes, folder: RunFolder
) -> Plan:
    t, o = config.train, config.optim
    accumulation = micro_batches(config)
    if config.modality == "speech":
        whole, unit = config.speech.batch_seconds, "s of audio"
    else:
        whole, unit = float(t.batch_size), "samples"
    say_batch(whole, unit, accumulation, together.count)

    def loss(batch: Batch, monitor: bool) -> StepLoss:
        output = method(batch, monitor=monitor)
        values: dict[str, Any] = {}
        if monitor:
            values = {f"loss_{k}": v / output.sample_size for k, v in output.terms.items()}
            values |= {**output.monitors, "masked_share": batch.masks.is_masked.float().mean()}
        return StepLoss(output.loss, output.sample_size, len(batch.inputs), values)

    def after_step(update: int) -> dict[str, float]:
        if isinstance(method, DINO):
            together.sum_tensor(method.seen, f"the centre of update {update}")
        decay = ema_decay(update, config.teacher.start, config.teacher.end, config.teacher.anneal_updates)
        method.update_teacher(decay)
        return {"ema_decay": decay}

    alike: list[int] = []

    def at_log(update: int, record: dict[str, Any]) -> dict[str, Any]:
        if record.get("position_var", 0.0) <= SHARED_MAX * record["target_var"]:
            alike.clear()
        else:
            alike.append(update)
            if len(alike) == 3:
                log.warning(
                    "the targets depend on the position and hardly on the input any more (position_var %.2f, "
                    "target_var %.2f): lower optim.lr or, in speech, speech.pos_conv_width "
                    "(docs/method.md, reading the curves)",
                    record["position_var"],
                    record["target_var"],
                )
        if update > 5000:
            for name, floor in zip(("target_var", "pred_var"), t.variance_floor, strict=True):
                if record[name] < floor:
                    raise UserError(
                        f"stopped after update {update}: {name} = {record[name]:.4f} fell below {floor}; the model has "
                        "collapsed (docs/method.md, reading the curves)"
                    )
        return {}

    stages = stage_lengths(o.phases, t.updates)
    schedule = LearningRate(o.schedule, o.lr, t.updates, o.warmup_updates, o.min_lr, stages=stages)
    return Plan(
        t.updates,
        accumulation,
        config.seed,
        o.clip_norm,
        t.log_every,
        t.checkpoint_seconds,
        t.max_bad_steps,
        schedule,
        lambda first, last, every=1: (batch.to(device.torch) for batch in batches(first, last, every)),
        loss,
        after_step,
        at_log,
        together,
        snapshot_updates(t.updates, t.snapshots),
        lambda p: save_snapshot(folder, method.encoder, p.update, p.samples, p.seconds),
    )
