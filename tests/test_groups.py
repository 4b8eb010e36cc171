"""Groups put together here are those that Hydra composes, and the defaults are the schema's."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from data2vec import groups, jobs
from data2vec.compose import CONFIG_DIR, compose
from data2vec.config import RunConfig, validate
from data2vec.costs import HARDWARE, cost
from data2vec.jobs import Job
from data2vec.planning import Plan, override_text
from data2vec.settings import check

ROOT = CONFIG_DIR.parents[1]
SCALES = sorted(file.stem for file in (ROOT / "config" / "scale").glob("*.yaml"))


@cache
def plan() -> Plan:
    return Plan(ROOT / "config")


def all_jobs(scale: str) -> list[Job]:
    settings = check({"scale": scale, "experiments": "all"}, ROOT / "workflow/schemas/config.schema.yaml")
    return [job for job in jobs.jobs(plan(), settings) if job.kind != "prepare"]


def recipes(scale: str) -> list[Job]:
    """One pre-training for each choice of groups."""
    found: dict[tuple[Any, ...], Job] = {}
    for job in all_jobs(scale):
        if job.kind == "pretrain":
            overrides = plan().pretrain_overrides(plan().run(scale, job.modality, job.run))
            chosen = ("modality", "method", "model", "data", "recipe", "preset", "variant")
            key = tuple(overrides.get(name) for name in chosen if name != "variant")
            found.setdefault((*key, overrides["variant"] == "released"), job)
    return list(found.values())


CASES = [(scale, job) for scale in SCALES for job in recipes(scale)]


@pytest.mark.parametrize(("scale", "job"), CASES, ids=[f"{s}-{j.modality}-{j.run}" for s, j in CASES])
def test_a_run_is_composed_as_hydra_does_it(scale: str, job: Job) -> None:
    overrides = plan().pretrain_overrides(plan().run(scale, job.modality, job.run))
    words = dict(override_text(key, value).split("=", 1) for key, value in overrides.items())
    assert validate(jobs.job_values(plan(), scale, 0.25, job)) == compose(words | {"budget": "0.25"}).model_copy(
        update={"budget": 1.0}
    )


def test_defaults_are_those_of_the_schema() -> None:
    schema = RunConfig().model_dump()
    for section, values in groups.DEFAULTS.items():
        if isinstance(values, dict):
            assert values == {key: schema[section][key] for key in values}, section
        else:
            assert values == schema[section]


@pytest.mark.parametrize("scale", SCALES)
def test_every_job_costs_the_same_with_and_without_the_schema(scale: str) -> None:
    for job in all_jobs(scale):
        values = jobs.job_values(plan(), scale, 1.0, job)
        light, full = groups.as_config(values), validate(values)
        card = HARDWARE["a100"]
        assert cost(job.kind, light, card, 8, 0.25) == cost(job.kind, full, card, 8, 0.25), job


def test_task_files_build_on_shared_ones(tmp_path: Path) -> None:
    (tmp_path / "task" / "shared").mkdir(parents=True)
    (tmp_path / "task" / "data2vec2").mkdir()
    (tmp_path / "task" / "shared" / "a.yaml").write_text("task: {kind: ctc, name: a}\nfinetune: {lr: 1.0}\n")
    (tmp_path / "task" / "b.yaml").write_text("defaults: [shared/a, _self_]\ntask: {name: b}\n")
    (tmp_path / "task" / "data2vec2" / "b.yaml").write_text("finetune: {lr: 2.0}\n")
    assert groups.task_values(tmp_path, "b", "data2vec") == {
        "task": {"kind": "ctc", "name": "b"},
        "finetune": {"lr": 1.0},
    }
    assert groups.task_values(tmp_path, "b", "data2vec2")["finetune"] == {"lr": 2.0}
