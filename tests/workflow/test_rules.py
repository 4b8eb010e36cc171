"""What the workflow would do, without doing it: dry runs, lint, format, resources, environment files."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def job_counts(output: str) -> dict[str, int]:
    """Numbers of jobs by rule, from the table that Snakemake prints."""
    return {m.group(1): int(m.group(2)) for m in re.finditer(r"^(\w+) +(\d+)$", output, re.MULTILINE)}


@pytest.mark.parametrize(
    "words, counts",
    [
        (
            ["experiments=[k_layers, target_feature]"],
            {"prepare": 4, "pretrain": 19, "finetune": 10, "probe": 25, "report": 1},
        ),
        (
            ["scale=mini", "seeds=3", "budget=0.1", "modalities=[vision]", "experiments=[k_layers]"],
            {"prepare": 1, "pretrain": 30, "finetune": 12, "probe": 36, "report": 1},
        ),
        (
            ["scale=paper", "seeds=3", "modalities=[vision]", "experiments=[k_layers, model_size]"],
            {"prepare": 1, "finetune": 18},
        ),
    ],
    ids=["embedded", "mini", "paper"],
)
def test_a_dry_run_of_each_scale(shared_project: Any, words: list[str], counts: dict[str, int]) -> None:
    done = shared_project.snakemake("-n", "-p", *(["--config", *words] if words else []))
    assert done.returncode == 0, done.stdout
    assert counts.items() <= job_counts(done.stdout).items()
    assert "Pre-training data2vec2 (vision" in done.stdout and "seed0/pretrain.log" in done.stdout
    if "budget=0.1" in words:
        assert "--gpus 1 --state" in done.stdout and " budget=0.1 " in done.stdout


def test_one_run_and_one_experiment_by_name(shared_project: Any) -> None:
    run = shared_project.snakemake("-n", "results/embedded/vision/data2vec2/seed0/metrics.json")
    assert job_counts(run.stdout) == {"prepare": 1, "pretrain": 1, "total": 2}
    other_scale = shared_project.snakemake(
        "-n", "results/mini/vision/mask_ratio--0.8/seed1/probe/metrics.json", "experiment_k_layers"
    )
    assert {"prepare": 5, "pretrain": 10, "probe": 10}.items() <= job_counts(other_scale.stdout).items()


def test_mistakes_end_in_one_line(shared_project: Any) -> None:
    done = shared_project.snakemake("-n", "--config", "seedz=3")
    assert done.returncode == 2
    assert len(done.stdout.splitlines()) == 3  # after Snakemake's two lines on where the configuration comes from
    assert "data2vec: unknown configuration key 'seedz', did you mean 'seeds'?" in done.stdout.splitlines()[-1]
    typo = shared_project.snakemake("-n", "results/embedded/vision/data2vex2/seed0/metrics.json")
    assert typo.returncode == 2 and len(typo.stdout.splitlines()) == 2
    assert "unknown run of embedded/vision 'data2vex2', did you mean 'data2vec2'?" in typo.stdout


def test_lint_is_silent_and_format_is_clean(shared_project: Any) -> None:
    lint = shared_project.snakemake("--lint")
    assert lint.returncode == 0 and "Lints for" not in lint.stdout, lint.stdout
    formatted = subprocess.run(
        [str(Path(sys.executable).with_name("snakefmt")), "--check", "workflow"],
        cwd=ROOT,
        text=True,
        capture_output=True,
    )
    assert formatted.returncode == 0, formatted.stderr


def test_every_rule_says_what_it_needs() -> None:
    wanted = [
        "input",
        "output",
        "params",
        "log",
        "benchmark",
        "localrule",
        "conda",
        "threads",
        "resources",
        "message",
        "shell",
    ]
    for file in sorted((ROOT / "workflow" / "rules").glob("*.smk")):
        for rule in re.split(r"^rule ", file.read_text(), flags=re.MULTILINE)[1:]:
            directives = re.findall(r"^    (\w+):", rule, re.MULTILINE)
            assert directives == [name for name in wanted if name in directives], file
            assert set(wanted) - {"input", "localrule"} <= set(directives), file
            assert set(re.findall(r"^        (gpu|mem_mb|runtime)=", rule, re.MULTILINE)) == {
                "gpu",
                "mem_mb",
                "runtime",
            }
            assert re.search(r'conda:\n\s+"\.\./\.\./environment\.yml"', rule)


def test_the_snakefile_is_short() -> None:
    lines = [line for line in (ROOT / "workflow" / "Snakefile").read_text().splitlines() if line.strip()]
    assert len(lines) <= 40


GPU_RECIPE = {
    # CUDA_VISIBLE_DEVICES, further words -> gpu and threads of a run that asks for 8 GPUs and 64 threads
    "no card": ("", [], "--gpus 1 ", "gpu", 1),
    "one card": ("0", [], "--gpus 1 ", "gpu", 1),
    "four cards": ("0,1,2,3", [], "--gpus 4 ", "gpu", 4),
    "as told": ("0,1,2,3", ["--resources", "gpu=2"], "--gpus 2 ", "gpu", 2),
}


@pytest.mark.parametrize("cards, words, gpus, name, number", GPU_RECIPE.values(), ids=GPU_RECIPE)
def test_a_workstation_offers_the_cards_it_has(
    shared_project: Any, cards: str, words: list[str], gpus: str, name: str, number: int
) -> None:
    target = "results/paper/vision/data2vec2/seed0/metrics.json"
    done = shared_project.snakemake("-n", "-p", target, *words, CUDA_VISIBLE_DEVICES=cards)
    assert gpus in done.stdout, done.stdout


def test_requirements_and_environment_are_the_same_list() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    requirements = (ROOT / "requirements.txt").read_text().split()
    assert pip == requirements
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][\w.]*", line) for line in requirements)
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    assert environment["name"] == "data2vec"  # `conda env create -f` needs one; Snakemake gives a folder instead
    assert {"python=3.11", "pip"} <= {entry for entry in environment["dependencies"] if isinstance(entry, str)}


def test_what_the_package_needs_is_pinned() -> None:
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    pinned = {line.partition("==")[0].lower() for line in (ROOT / "requirements.txt").read_text().split()}
    assert {re.split(r"[<>=]", line)[0].lower() for line in needed} <= pinned


def test_the_profile_that_is_always_read_leaves_clusters_alone() -> None:
    always = yaml.safe_load((ROOT / "workflow/profiles/default/config.yaml").read_text())
    assert not {"default-resources", "resources", "executor", "jobs", "cores", "retries"} & set(always)


def test_the_plan_is_a_target_that_nothing_waits_for(shared_project: Any) -> None:
    done = shared_project.snakemake("-n", "-p", "plan", "--config", "scale=paper", "seeds=3", "modalities=[vision]")
    assert job_counts(done.stdout) == {"plan": 1, "total": 1}, done.stdout
    words = "scale=paper 'modalities=[vision]' experiments=default seeds=3 budget=1"
    assert f"python -m data2vec plan {words}" in done.stdout and "out=reports/plan.csv" in done.stdout
