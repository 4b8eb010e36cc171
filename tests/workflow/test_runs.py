"""Whole workflows with stand-in training: resume, rerun, report, kill, archive."""

import json
import os
import shutil
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

MAIN = ["--cores", "2", "--config", "experiments=[]", "modalities=[vision]"]
RUN = "results/embedded/vision/data2vec2/seed0"


def parts_of_the_report(page: str, name: str) -> dict[str, Any]:
    """A mapping that Snakemake's report keeps for its script."""
    script = page.index(f'<script id="{name}">')
    content, _ = json.JSONDecoder().raw_decode(page, page.index("{", script))
    return dict(content)


def kinds(commands: list[str]) -> list[str]:
    return sorted(line.split()[0] for line in commands)


def test_run_rerun_and_report(project: Any) -> None:
    # 1. From nothing to the report; the same again does nothing.
    done = project.snakemake(*MAIN)
    assert done.returncode == 0, done.stdout
    assert Counter(kinds(project.commands())) == {
        "evaluate": 5,
        "finetune": 3,
        "prepare": 1,
        "pretrain": 3,
        "report": 1,
    }
    for name in (
        "config.yaml",
        "provenance.json",
        "metrics.json",
        "checkpoint/model.safetensors",
        "masked.npz",
    ):
        assert (project.path / RUN / name).exists()
    assert len((project.path / "reports/results.csv").read_text().splitlines()) == 1 + 11
    again = project.snakemake(*MAIN)
    assert "Nothing to be done" in again.stdout

    # 2. Comments, unrelated modules, and where data would come from rerun nothing.
    project.forget_commands()
    source = project.path / "src" / "data2vec"
    trainer = source / "training" / "pretrain.py"
    trainer.write_text(trainer.read_text() + "# a comment\n")
    (source / "training" / "other.py").write_text("x = 1\n")
    recipe = project.path / "config/run/method/data2vec2.yaml"
    recipe.write_text(recipe.read_text() + "# a comment\n")
    (project.path / "mirror").mkdir()
    done = project.snakemake(*MAIN, "data_mirror=mirror", "offline=true")
    assert "Nothing to be done" in done.stdout, done.stdout

    # 3. Code of the training reruns it and what follows, from the start, with the earlier state put aside.
    trainer.write_text(trainer.read_text().replace("STEPS = 1", "STEPS = 2"))
    done = project.snakemake(*MAIN)
    assert done.returncode == 0, done.stdout
    assert kinds(project.commands()).count("pretrain") == 3 and "prepare" not in kinds(project.commands())
    assert (project.path / RUN / "checkpoint/state.pt.previous").exists()
    assert "earlier training state is put aside" in (project.path / RUN / "pretrain.log").read_text()

    # 4. A file of config/run that only one method composes reruns that method; so does a seed or a budget.
    project.forget_commands()
    recipe.write_text("# @package _global_\nmethod: data2vec2\noptim: {lr: 0.5}\n")
    done = project.snakemake("-n", "--quiet", "progress", *MAIN)
    assert "Pre-training data2vec2 " in done.stdout and "Pre-training data2vec " not in done.stdout

    # 5. Snakemake's own report opens without a network and has a caption for each of its parts.
    done = project.snakemake("--cores", "1", "paper_v2_table8", *MAIN[2:])
    assert done.returncode == 0, done.stdout
    done = project.snakemake("--report", "report.html", "all", "paper_v2_table8", *MAIN[2:])
    assert done.returncode == 0, done.stdout
    page = (project.path / "report.html").read_text()
    shown = parts_of_the_report(page, "results")
    assert set(shown) == {
        *("reports/index.html", "reports/results.csv", "reports/claims.md", "reports/papers/v2_table8.html"),
        *("reports/tables/main.html", "reports/figures/loss.svg"),
    }
    for part in shown.values():
        assert (part["labels"]["scale"], part["labels"]["seeds"]) == ("embedded", "1")
        assert "scale embedded" in part["caption"] and "{" not in part["caption"]
    assert [shown[f"reports/{name}"]["labels"][key] for name, key in (
        ("tables/main.html", "table"), ("figures/loss.svg", "figure"), ("papers/v2_table8.html", "what"))] == [
        "main", "loss", "Settings on images"]  # fmt: skip
    categories = parts_of_the_report(page, "categories")
    assert {name: sorted(parts) for name, parts in categories.items()} == {
        **{name: ["Other"] for name in ("Report", "Tables", "Figures")},
        "Papers": ["data2vec 2.0, table 8"],
    }


def test_a_failed_run_continues_and_says_why_it_failed(project: Any) -> None:
    (project.path / "fail_at").write_text("3 5")
    target = f"{RUN}/metrics.json"
    failed = project.snakemake("--cores", "1", "--retries", "1", target)
    assert failed.returncode != 0
    assert "not finite at update 3" in failed.stdout and "not finite at update 5" in failed.stdout
    assert f"End of its log, {RUN}/pretrain.log" in failed.stdout
    state = project.path / RUN / "checkpoint" / "state.pt"
    assert len(json.loads(state.read_text())) == 5
    assert not (project.path / RUN / "config.yaml").exists()  # declared outputs are gone, the state is not
    done = project.snakemake("--cores", "1", target)
    assert done.returncode == 0, done.stdout
    assert json.loads((project.path / RUN / "provenance.json").read_text())["processes"] == 3
    assert "start at 5" in (project.path / RUN / "pretrain.log").read_text()


def test_the_same_command_continues_after_kill_9_of_snakemake(project: Any) -> None:
    (project.path / "step_seconds").write_text("0.4")
    state = project.path / RUN / "checkpoint" / "state.pt"
    command = ("--cores", "1", f"{RUN}/metrics.json")
    process = project.start(*command)
    deadline = time.monotonic() + 60
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    trail = json.loads(state.read_text())
    assert list((project.path / ".snakemake" / "locks").iterdir())  # the lock that the kill left behind
    (project.path / "step_seconds").write_text("0")
    done = project.snakemake(*command)
    assert done.returncode == 0, done.stdout
    processes = json.loads(state.read_text())
    assert processes[: len(trail)] == trail and len(set(processes)) == 2  # the first never ran beside the second


def test_gpu_runs_do_not_share_a_card(project: Any) -> None:
    (project.path / "step_seconds").write_text("0.1")
    runs = ("data2vec2", "mae", "k_layers--1")  # also those whose times are compared
    targets = [f"results/mini/vision/{run}/seed0/metrics.json" for run in runs]
    done = project.snakemake("--cores", "4", *targets, CUDA_VISIBLE_DEVICES="6,7", TMPDIR=str(project.path))
    assert done.returncode == 0, done.stdout
    logs = [(project.path / t).with_name("pretrain.log").read_text() for t in targets]
    cards = [log.split("device ")[1].split()[0] for log in logs]
    assert set(cards) == {"6", "7"}, cards  # two at a time, each on its own card
    first, second = (json.loads((project.path / t).with_name("provenance.json").read_text()) for t in targets[:2])
    assert max(first["began"], second["began"]) < min(first["ended"], second["ended"])
    assert "waiting for" not in done.stdout


@pytest.mark.parametrize(("words", "alone"), [((), True), (("--resources", "timed_vision=3"), False)])
def test_runs_whose_times_are_compared_do_not_share_the_machine(
    project: Any, words: tuple[str, ...], alone: bool
) -> None:
    (project.path / "step_seconds").write_text("0.2")
    runs = ("data2vec2", "mae", "k_layers--1", "k_layers--2")
    targets = [f"results/embedded/vision/{run}/seed0/provenance.json" for run in runs]
    done = project.snakemake("--cores", "4", *targets, *words)
    assert done.returncode == 0, done.stdout
    assert ("timed_vision=4" in done.stdout) == alone  # says why cores are idle, and how to use them
    times = [json.loads((project.path / target).read_text()) for target in targets]
    (first, second), points = sorted(times[:2], key=lambda t: float(t["began"])), times[2:]
    assert (first["ended"] <= second["began"]) == alone, (first, second)
    assert max(t["began"] for t in points) < min(t["ended"] for t in points)  # these may


def test_an_archive_is_enough_and_conda_runs_it(project: Any, tmp_path: Path) -> None:
    """A copy in a folder with a space in its name runs with --use-conda, which takes PYTHONPATH away."""
    elsewhere = tmp_path / "else where"
    shutil.copytree(project.path, elsewhere)
    assert not [p for p in elsewhere.rglob("*") if p.is_symlink()]
    conda = tmp_path / "conda"
    (conda / "bin").mkdir(parents=True)
    (conda / "bin" / "conda").write_text(CONDA.format(prefix=conda))
    (conda / "bin" / "conda").chmod(0o755)
    (conda / "bin" / "activate").write_text("export CONDA_PREFIX=$1\n")
    moved = type(project)(elsewhere)
    done = moved.snakemake("--cores", "1", "--use-conda", f"{RUN}/metrics.json", PATH=str(conda / "bin"))
    assert done.returncode == 0, done.stdout
    assert "Creating conda environment" in done.stdout and "environment.yml" in done.stdout
    assert (elsewhere / RUN / "metrics.json").exists()


CONDA = """#!/bin/sh
case "$*" in
--version) echo "conda 25.1.0" ;;
"info --json") echo '{{"conda_prefix": "{prefix}", "platform": "linux-64"}}' ;;
"clean"*) ;;
"config --get"*) echo '{{"get": {{"channel_priority": "strict"}}}}' ;;
"env create"*) for word; do case "$word" in */.snakemake/conda/*) mkdir -p "$word" ;; esac; done ;;
*) echo "unexpected: $*" >&2; exit 1 ;;
esac
"""
