"""The jobs behind a plan's targets, each once whatever the number of seeds, with the values it would run with.

What Snakemake finds through the rules, found from the plan alone, so that costs can be told before anything exists.
Standard library and PyYAML only.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from data2vec import costs, groups
from data2vec.planning import Plan
from data2vec.settings import Settings
from data2vec.targets import all_targets

TARGET = re.compile(r"results/([^/]+)/([^/]+)/([^/]+)/seed(\d+)/(?:(probe)|finetune/([^/]+))?/?metrics\.json")


@dataclass(frozen=True)
class Job:
    """One rule with its wildcards but for the seed."""

    kind: str  # a stage of `scales.STAGES`
    modality: str = ""
    run: str = ""
    task: str = ""
    dataset: str = ""
    seeds: int = field(default=1, compare=False)


def jobs(plan: Plan, settings: Settings) -> list[Job]:
    """All jobs of the settings in the order of the stages, `report` left out."""
    seeds: dict[Job, set[str]] = {}
    for target in all_targets(plan, settings):
        match = TARGET.fullmatch(target)
        assert match is not None, target
        _, modality, run, seed, probe, task = match.groups()
        for job in _needed(plan, settings.scale, modality, run, "probe" if probe else "finetune" if task else "", task):
            seeds.setdefault(job, set()).add("" if job.dataset else seed)
    order = {kind: i for i, kind in enumerate(("prepare", "pretrain", "probe", "finetune"))}
    found = sorted(seeds, key=lambda job: order[job.kind])
    return [Job(j.kind, j.modality, j.run, j.task, j.dataset, len(seeds[j])) for j in found]


def _needed(plan: Plan, scale: str, modality: str, run: str, stage: str, task: str | None) -> Iterator[Job]:
    """The job that makes a target, and those that it waits for."""
    if stage:
        yield Job(stage, modality, run, task or "")
        if task:
            data = plan.task_data(scale, modality, run, task)
        else:
            data = plan.probe_data(scale, modality, run)
        yield from (Job("prepare", dataset=name) for name in data)
        if plan.checkpoint(scale, modality, run):
            return
        run = plan.start(stage, scale, modality, run)[0]
    yield Job("pretrain", modality, run)
    yield from (Job("prepare", dataset=name) for name in plan.pretrain_data(plan.run(scale, modality, run)))


def job_values(plan: Plan, scale: str, budget: float, job: Job) -> dict[str, Any]:
    """Values of the run behind a job: composed, and scaled by the budget, as the job itself does it."""
    folder = plan.config_dir / "run"
    control = ""
    if plan.checkpoint(scale, job.modality, job.run):
        overrides = _imported(plan, scale, job)
    else:
        run = job.run
        if job.kind != "pretrain":
            run, control = plan.start(job.kind, scale, job.modality, run)
        overrides = plan.pretrain_overrides(plan.run(scale, job.modality, run))
    values = groups.composed(folder, overrides)
    if job.kind == "probe":
        changed = {"probe.features": control or "encoder", **plan.modality(scale, job.modality).probe}
    elif job.kind == "finetune":
        task, given = plan.task(scale, job.modality, job.task)
        changed = groups.flat(groups.task_values(folder, task, values["method"]))
        changed |= {"finetune.init": control or "pretrained", **given}
    else:
        changed = {}
    for key, value in changed.items():
        groups.set_key(values, key, value)
    groups.scale_updates(values, budget)
    return values


def requested(plan: Plan, scale: str, budget: float, job: Job) -> tuple[int, int]:
    """Main memory (MB) and time (minutes) that a scheduler is asked for, where the scale says `auto`."""
    config, given = groups.as_config(job_values(plan, scale, budget, job)), plan.scale(scale)
    gpus, card = given.resources[job.kind].gpus, costs.find_hardware(given.hardware.gpu)
    return costs.host_mb(config, gpus), costs.minutes(job.kind, config, card, gpus, given.hardware.utilisation)


def _imported(plan: Plan, scale: str, job: Job) -> dict[str, Any]:
    """Of weights that others trained: the recipe of the kind and size that their name tells."""
    name = job.run.partition("--")[2]
    method = "data2vec" if name.startswith("v1") else "data2vec2"
    size = next((size for size in ("large", "huge") if size in name), "base")
    return {"modality": job.modality, "method": method, "model": size, "data": plan.modality(scale, job.modality).data}
