"""What is told before it is paid: jobs as Snakemake counts them, hours by formula, measured steps preferred."""

import csv
import dataclasses
import io
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from data2vec import jobs as listing
from data2vec import plan as module
from data2vec.compose import CONFIG_DIR, compose
from data2vec.costs import HARDWARE, cost, find_hardware, host_mb, minutes
from data2vec.errors import UserError
from data2vec.flops import passes, update_flops
from data2vec.jobs import Job
from data2vec.plan import Choice, as_csv, choice_of, estimate, is_card, keep_measurement, measurements, step_key, table
from data2vec.planning import Plan
from data2vec.settings import Settings, check

ROOT = CONFIG_DIR.parents[1]
A100 = HARDWARE["a100"]


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan(ROOT / "config")


def settings_of(**config: object) -> Settings:
    return check(config, ROOT / "workflow/schemas/config.schema.yaml")


def test_hours_are_operations_over_what_the_cards_do() -> None:
    config = compose({"method": "data2vec2", "train.updates": "100"})
    one, eight = (cost("pretrain", config, A100, n, 0.5) for n in (1, 8))
    assert one.hours == pytest.approx(100 * update_flops(config) / (0.5 * 312e12) / 3600)
    assert one.hours == pytest.approx(8 * (eight.hours or 0))
    assert one.samples == 100 * 256 and one.source == "FLOPs at 50% of 312 TFLOP/s"


def test_tiny_steps_wait_for_their_kernels() -> None:
    config = compose({"model": "tiny", "data": "digits", "vision.patch_size": "2", "train.updates": "3600"})
    found = cost("pretrain", config, A100, 1)
    assert found.hours == pytest.approx(4 * 0.002) and "each block" in found.source
    assert "FLOPs" in cost("pretrain", config, HARDWARE["cpu"], 1).source


def test_published_base_models_fit_the_card_and_take_what_is_asked_for() -> None:
    config = compose({"method": "data2vec2"})
    assert cost("pretrain", config, A100, 8).gpu_gb < 80
    hours = cost("pretrain", config, A100, 8, 0.15).hours or 0
    assert 1.5 * 60 * hours < minutes("pretrain", config, A100, 8, 0.15) < 7 * 24 * 60
    assert minutes("pretrain", config, HARDWARE["t4"], 1, 0.1) == 7 * 24 * 60
    assert host_mb(config, 8) > host_mb(config, 1) > 8000


def test_a_scheduler_is_asked_for_what_the_job_is_estimated_to_take(plan: Plan) -> None:
    jobs = {run: Job("pretrain", "vision", run) for run in ("data2vec2", "model_size--huge")}
    base, huge = (listing.requested(plan, "paper", 1.0, job) for job in jobs.values())
    assert base[0] < huge[0] and base[1] < huge[1] <= 7 * 24 * 60
    assert listing.requested(plan, "paper", 0.1, jobs["data2vec2"])[1] < base[1] / 5
    assert plan.scale("paper").resources["pretrain"].runtime == "auto"


@pytest.mark.parametrize("share", [0, 1.5, -1])
def test_an_impossible_utilisation_is_refused(share: float) -> None:
    with pytest.raises(UserError, match="utilisation"):
        cost("pretrain", compose({}), A100, 1, share)


def test_an_unknown_card_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'h100'"):
        find_hardware("h1000")


def test_seeds_share_a_row_and_prepared_data_has_one(plan: Plan) -> None:
    found = listing.jobs(plan, settings_of(scale="mini", seeds=3, modalities=["vision"]))
    assert Counter({j.kind: j.seeds for j in found if j.kind == "prepare"}) == {"prepare": 1}
    assert {j.seeds for j in found if j.kind != "prepare"} == {3}
    assert {(j.kind, j.run) for j in found} >= {("probe", "pixels"), ("finetune", "scratch"), ("pretrain", "data2vec")}


def test_what_starts_from_weights_of_others_has_no_pretraining(plan: Plan, tmp_path: Path) -> None:
    name = next(iter(plan.checkpoints))
    experiment = next(e.name for e in plan.experiments.values() if name in e.checkpoints)
    (tmp_path / "w.pt").touch()
    config = {"scale": "paper", "experiments": [experiment], "checkpoints": {name: str(tmp_path / "w.pt")}}
    found = listing.jobs(plan, settings_of(**config))
    of_weights = {job.kind for job in found if job.run.endswith(name)}
    assert of_weights and "pretrain" not in of_weights


def test_a_measured_step_wins_over_operations(plan: Plan, tmp_path: Path) -> None:
    settings, file = settings_of(scale="mini", modalities=["vision"], experiments=[]), tmp_path / "b.jsonl"
    config = compose({"method": "data2vec2", "data": "cifar10", "model": "mini"})
    assert estimate(plan, settings, Choice(A100), measurements(A100, file))[1].cost.source != "measured step"
    job = next(j for j in listing.jobs(plan, settings) if j.kind == "pretrain" and j.run == "data2vec2")
    from data2vec.config import validate

    config = validate(listing.job_values(plan, "mini", 1.0, job))
    keep_measurement(config, "NVIDIA A100-SXM4-80GB", 9.0, file)
    keep_measurement(config, "NVIDIA A100-SXM4-80GB", 0.5, file)
    keep_measurement(config, "NVIDIA H100 80GB HBM3", 0.1, file)
    rows = estimate(plan, settings, Choice(A100, gpus=2), measurements(A100, file))
    row = next(r for r in rows if r.job == job)
    assert row.cost.source == "measured step"
    assert row.cost.hours == pytest.approx(0.5 * passes(config) * config.train.updates / 2 / 3600)


def test_a_step_depends_on_the_network_and_not_on_the_length() -> None:
    base, longer, wider = (
        step_key(compose({"seed": "3", **words})) for words in ({}, {"train.updates": "7"}, {"model.dim": "384"})
    )
    assert base == longer != wider


@pytest.mark.parametrize(
    ("name", "hardware", "same"),
    [("h100", "NVIDIA H100 80GB HBM3", True), ("h100", "NVIDIA H200", False), ("cpu", "AMD EPYC", True),
     ("rtx4090", "NVIDIA GeForce RTX 4090", True), ("cpu", "NVIDIA H100", False), ("a100", "AMD EPYC", False)],
)  # fmt: skip
def test_measurements_are_of_the_card(name: str, hardware: str, same: bool) -> None:
    assert is_card(HARDWARE[name], hardware) == same


def test_the_table_adds_up_and_names_its_sources(plan: Plan) -> None:
    settings = settings_of(scale="paper", experiments=["k_layers"], seeds=2, modalities=["vision"])
    choice = choice_of(plan, settings, {"gpu": "h100", "gpus": 16, "rate": 2.5, "power_w": 500, "utilisation": 0.3})
    rows = estimate(plan, settings, choice, {})
    text, lines = table(rows, choice), list(csv.DictReader(io.StringIO(as_csv(rows))))
    hours = sum(float(line["gpu_hours"]) for line in lines)
    assert f"{hours:,.1f} GPU-hours on h100" in text
    money = float(text.split("money: ")[1].split()[0].replace(",", ""))
    assert money == pytest.approx(2.5 * hours, rel=1e-4)
    assert f"{0.5 * hours:,.0f} kWh" in text
    assert "vision/k_layers--3" in text and "FLOPs at 30% of 989 TFLOP/s" in text
    assert len(lines) == len(rows) == len(set(rows))


def test_what_does_not_fit_the_card_is_said(plan: Plan) -> None:
    settings = settings_of(scale="paper", experiments=[], modalities=["vision"])
    small = Choice(dataclasses.replace(A100, memory_gb=8), gpus=1)
    assert "need more than 8 GB" in table(estimate(plan, settings, small, {}), small)


@pytest.mark.parametrize(
    ("word", "reason"),
    [("gpus=0", "gpus = 0"), ("gpus=1.5", "gpus = 1.5"), ("rate=none", "rate = none"), ("rate=.inf", "rate = inf"),
     ("out=plan.md", "must be a .csv file"), ("out=5", "must be a .csv file"), ("rate=[", "cannot be read as YAML"),
     ("measure=5", "must be true or false")],
)  # fmt: skip
def test_a_word_of_the_wrong_kind_is_refused(word: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match=reason):
        module.command(dict([word.split("=", 1)]))


def test_steps_are_not_measured_on_another_card(plan: Plan) -> None:
    with pytest.raises(UserError, match="not gpu=t4"):
        module.measure(plan, settings_of(), HARDWARE["t4"])


def test_a_torn_line_of_measurements_is_named(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text('{"key": "a", "hardware": "EPYC", "seconds": 1}\n{"key": "b", "ha')
    with pytest.raises(UserError, match="line 2 is no measurement"):
        measurements(HARDWARE["cpu"], tmp_path / "b.jsonl")


@pytest.mark.parametrize("word", ["gpuz=h100", "rate=[", "scale=papre"])
def test_a_mistake_is_one_line(word: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "data2vec", "plan", word],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and done.stderr.startswith("error: ")


def test_the_command_writes_both_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    module.command({"scale": "embedded", "out": str(tmp_path / "new" / "plan.csv")})
    assert (tmp_path / "new" / "plan.csv").read_text().startswith("kind,modality,run")
    assert "| pretrain | vision/data2vec2 |" in (tmp_path / "new" / "plan.md").read_text()
