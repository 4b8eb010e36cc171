"""Failures of the machine that the workflow runs on: a second Snakemake, a read-only folder, a clock that goes back."""

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

METRICS = "results/embedded/vision/data2vec2/seed0/metrics.json"


@pytest.mark.slow
def test_a_second_snakemake_is_refused_and_the_first_ends_well(project: Any) -> None:
    (project.path / "step_seconds").write_text("5")
    first = project.start("--cores", "1", METRICS)
    deadline = time.monotonic() + 60
    while not any(line.startswith("pretrain") for line in project.commands()) and time.monotonic() < deadline:
        time.sleep(0.05)
    second = project.snakemake("--cores", "1", METRICS)
    (project.path / "step_seconds").write_text("0")
    assert first.wait(timeout=60) == 0
    assert second.returncode != 0
    assert "LockException" in second.stdout and "no other Snakemake process" in second.stdout
    assert len([line for line in project.commands() if line.startswith("pretrain")]) == 1


@pytest.mark.slow
def test_a_clock_that_went_back_repeats_nothing(project: Any) -> None:
    words = ("--cores", "2", METRICS)
    assert project.snakemake(*words).returncode == 0
    tomorrow = time.time() + 86400
    os.utime(project.path / "results/data/digits/manifest.json", (tomorrow, tomorrow))  # prepared before it went back
    project.forget_commands()
    done = project.snakemake(*words)
    assert done.returncode == 0 and "Nothing to be done" in done.stdout, done.stdout
    assert project.commands() == []


@pytest.mark.slow
@pytest.mark.parametrize("place", ["results", "."])
def test_a_read_only_folder_is_named(project: Any, place: str) -> None:
    folder: Path = project.path / place
    folder.mkdir(exist_ok=True)
    for words in (["--bind"], ["-o", "remount,ro,bind"]):
        made = subprocess.run(["mount", *words, str(folder), str(folder)], capture_output=True, text=True)
        if made.returncode != 0:
            pytest.skip(f"mounting is not permitted here: {made.stderr.strip()}")
    try:
        done = project.snakemake("--cores", "1", METRICS)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
    assert done.returncode != 0 and "Read-only file system" in done.stdout, done.stdout
    if place == ".":
        assert done.stdout.splitlines()[-1].startswith("data2vec: ") and done.returncode == 2, done.stdout
