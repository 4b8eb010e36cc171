"""What `snakemake --profile slurm` submits, read by stand-ins for Slurm's commands that also run it."""

import re
import time
from pathlib import Path
from typing import Any

import pytest

TOOLS = {
    "sbatch": """\
#!/usr/bin/env python3
import os, subprocess, sys, pathlib
box = pathlib.Path(os.environ["FAKE_SLURM"])
number = len(list(box.glob("*.submitted"))) + 1
words = sys.argv[1:]
(box / f"{number}.submitted").write_text("\\n".join(words))
(wrap,) = [w.removeprefix("--wrap=") for w in words if w.startswith("--wrap=")]
environment = {**os.environ, "SLURM_JOB_ID": str(number), "CUDA_VISIBLE_DEVICES": "0"}
with (box / f"{number}.out").open("w") as out:  # the plugin submits in threads: jobs still run side by side
    code = subprocess.run(["bash", "-c", wrap], env=environment, stdout=out, stderr=out).returncode
(box / f"{number}.code").write_text(str(code))
print(number)
""",
    "srun": """\
#!/usr/bin/env python3
import os, sys, pathlib
words = sys.argv[1:]
while words[0].startswith("-"):
    words.pop(0)
os.execvp(words[0], words)
""",
    "squeue": """\
#!/usr/bin/env python3
import os, pathlib, sys
if "--states=all" not in sys.argv:
    sys.exit(0)
box = pathlib.Path(os.environ["FAKE_SLURM"])
for job in box.glob("*.submitted"):
    code = job.with_suffix(".code")
    state = "RUNNING" if not code.exists() else "COMPLETED" if code.read_text().strip() == "0" else "FAILED"
    print(f"{job.stem}|{state}")
""",
    "sacct": "#!/bin/sh\necho 'Slurm accounting storage is disabled' >&2\nexit 1\n",
    "sinfo": "#!/bin/sh\necho 'PARTITION'\necho 'gpu*'\n",
    "scontrol": "#!/bin/sh\necho 'MinJobAge = 300 sec'\necho 'MaxArraySize = 1001'\n",
    "scancel": "#!/bin/sh\n",
}


@pytest.fixture
def cluster(project: Any, tmp_path: Path) -> dict[str, str]:
    """Variables that put the stand-ins on PATH."""
    tools, box = tmp_path / "tools", tmp_path / "box"
    tools.mkdir()
    box.mkdir()
    for name, text in TOOLS.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    return {"PATH": str(tools), "FAKE_SLURM": str(box), "USER": "someone"}


def submitted(cluster: dict[str, str]) -> list[str]:
    """The options of every submission, without the wrapped command."""
    files = sorted(Path(cluster["FAKE_SLURM"]).glob("*.submitted"))
    return [" ".join(w for w in f.read_text().split("\n") if not w.startswith("--wrap=")) for f in files]


def test_the_literal_command_plans_a_dry_run(project: Any, cluster: dict[str, str]) -> None:
    done = project.snakemake("--profile", "slurm", "-n", "-p", "--config", "scale=paper", **cluster)
    assert done.returncode == 0, done.stdout
    assert "--gpus 8 --state" in done.stdout  # not cut to a workstation's cards
    assert not submitted(cluster)


@pytest.mark.slow
def test_gpu_jobs_are_submitted_side_by_side_and_run(project: Any, cluster: dict[str, str]) -> None:
    folders = [f"results/paper/vision/{m}/seed0" for m in ("data2vec", "data2vec2")]
    done = project.snakemake(
        "--profile", "slurm", "--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "5",
        *(f"{f}/metrics.json" for f in folders), "--config", "budget=0.5", **cluster,
    )  # fmt: skip
    outputs = "\n".join(f.read_text() for f in Path(cluster["FAKE_SLURM"]).glob("*.out"))
    assert done.returncode == 0, done.stdout + outputs
    jobs = submitted(cluster)
    assert len(jobs) == 2  # preparing data stays on the login node, which has the network
    box = Path(cluster["FAKE_SLURM"])
    assert max(f.stat().st_mtime for f in box.glob("*.submitted")) < min(f.stat().st_mtime for f in box.glob("*.code"))
    for job in jobs:
        assert "rule_pretrain" in job and " -p gpu " in job
        assert int(re.search(r"--mem (\d+)\b", job)[1]) > 8_000  # as estimated: the scale says auto
        assert 30 < int(re.search(r" -t (\d+)\b", job)[1]) < 60 * 24 * 60
        assert "--nodes=1" in job and "--cpus-per-task=64" in job and "--gpus=8" in job
        assert "ntasks-per-gpu" not in job and "--ntasks" not in job  # the script would run once for each task
    for folder in folders:
        assert (project.path / folder / "metrics.json").exists()
        assert "device 0 " in (project.path / folder / "pretrain.log").read_text()  # Slurm's choice of cards stands
    commands = [line for line in project.commands() if line.startswith("pretrain")]
    assert len(commands) == 2  # nothing ran twice
    assert all(" budget=0.5 " in line for line in commands)


@pytest.mark.slow
def test_probes_that_need_no_gpu_wait_in_no_queue(project: Any, cluster: dict[str, str]) -> None:
    done = project.snakemake(
        "--profile", "slurm", "--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "5",
        "results/embedded/vision/data2vec2/seed0/probe/metrics.json", **cluster,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert [line.split()[0] for line in project.commands()] == ["prepare", "pretrain", "evaluate"]
    (job,) = submitted(cluster)
    assert "rule_pretrain" in job


def test_sites_that_give_gpus_by_gres(project: Any, cluster: dict[str, str]) -> None:
    profile = project.path / "slurm" / "config.yaml"
    text = profile.read_text()
    block = '# set-resources:\n#   pretrain:\n#     gpu: 0\n#     gres: "gpu:a100:1"\n'
    assert block in text
    profile.write_text(text.replace(block, re.sub(r"^# ", "", block, flags=re.MULTILINE)))
    snakemake = project.start("--profile", "slurm", "results/mini/vision/data2vec2/seed0/metrics.json", **cluster)
    deadline = time.monotonic() + 60
    while not (jobs := submitted(cluster)) and time.monotonic() < deadline:
        time.sleep(0.1)
    snakemake.kill()
    snakemake.wait()
    (job,) = jobs
    assert "--gres=gpu:a100:1" in job and "--gpus" not in job and "ntasks-per-gpu" not in job
