"""`snakemake --profile slurm` on a real Slurm without accounting, while jobs and nodes are lost.

Run by `bash tests/slurm/run`. Every drill ends with the same bits as a run that nothing happened to.
"""

import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COPIED = ("workflow", "config", "slurm", "src", "environment.yml", "requirements.txt")
RUN = Path("results/embedded/vision/data2vec2/seed0")
WEIGHTS, STATE, LOG = RUN / "checkpoint/model.safetensors", RUN / "checkpoint/state.pt", RUN / "pretrain.log"
SMALL = ("--profile", "slurm", "--config", "modalities=[vision]", "experiments=[]")
TARGET = (*SMALL, "--", str(RUN / "metrics.json"))

log = logging.getLogger(__name__)
pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def load_cluster_module():  # type: ignore[no-untyped-def]
    spec = importlib.util.spec_from_file_location("slurm_cluster", HERE / "cluster.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


slurm = load_cluster_module()


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[slurm.Cluster]:
    if "slurm" not in request.config.getoption("markexpr"):
        pytest.skip("starts a Slurm of its own: bash tests/slurm/run")
    if missing := slurm.missing_programs():
        pytest.skip(f"needs {', '.join(missing)} (Debian: apt-get install slurm-wlm munge)")
    started = slurm.Cluster(tmp_path_factory.mktemp("slurm") / "cluster")
    yield started
    started.stop()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh copy of the project that saves its training state every second."""
    folder = tmp_path_factory.mktemp("slurm") / "project"
    folder.mkdir()
    for name in COPIED:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    scale = folder / "config/scale/embedded.yaml"
    text = scale.read_text()
    assert "      vision.patch_size: 2\n" in text
    scale.write_text(
        text.replace("      vision.patch_size: 2\n", "      vision.patch_size: 2\n      train.checkpoint_seconds: 1\n")
    )
    return folder


@pytest.fixture(scope="module")
def reference(project: Path, cluster: slurm.Cluster) -> bytes:
    """Weights of a run that nothing happened to."""
    start = time.monotonic()
    Snakemake(project, cluster, *TARGET).succeeds()
    report_time("nothing happens", start, "")
    return (project / WEIGHTS).read_bytes()


class Snakemake:
    """One run of the workflow."""

    def __init__(self, project: Path, cluster: slurm.Cluster, *words: str) -> None:
        self.project, self.cluster = project, cluster
        hidden = ("SLURM_", "SNAKEMAKE", "PYTHON")
        environment = {k: v for k, v in cluster.environment().items() if k == "SLURM_CONF" or not k.startswith(hidden)}
        environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
        self.out = project / "snakemake.out"
        with self.out.open("w") as out:
            self.process = subprocess.Popen(
                ["snakemake", *words], cwd=project, env=environment, stdout=out, stderr=out, start_new_session=True
            )

    def succeeds(self) -> None:
        """Wait for the end, which must be a good one."""
        try:
            code = self.process.wait(timeout=400)
        except subprocess.TimeoutExpired:
            raise TimeoutError(self.messages()) from None
        finally:
            self.process.kill()
            self.process.wait()
        assert code == 0, self.messages()

    def messages(self) -> str:
        """What to read when a drill fails."""
        own = "".join(f.read_text() for f in (self.out, self.project / LOG) if f.exists())
        return f"{own}{self.cluster.jobs()}\n{self.cluster.messages()}"


def report_time(what: str, start: float, facts: str) -> None:
    log.warning("%-28s %5.1f s   %s", what, time.monotonic() - start, facts)


def training_process(project: Path) -> int:
    """The process that trains, not what started it."""
    found = [
        p
        for p in slurm.processes()
        if "-m data2vec pretrain" in slurm.command(p) and "data2vec.job" not in slurm.command(p)
    ]
    (pid,) = [
        p
        for p in found
        if os.path.realpath(f"/proc/{p}/cwd") == str(project.resolve())
        and "sh -c" not in slurm.command(p)
        and "snakemake" not in slurm.command(p).split()[:3]
    ]
    return pid


def scancel(cluster: slurm.Cluster, project: Path, job: str, node: str) -> None:
    cluster.ask("scancel", job)


def kill_9(cluster: slurm.Cluster, project: Path, job: str, node: str) -> None:
    slurm.kill(training_process(project))


def requeue(cluster: slurm.Cluster, project: Path, job: str, node: str) -> None:
    cluster.ask("scontrol", "requeue", job)


def lose_node(cluster: slurm.Cluster, project: Path, job: str, node: str) -> None:
    cluster.lose_node(node)


def warn_of_time_limit(cluster: slurm.Cluster, project: Path, job: str, node: str) -> None:
    """What `--signal=USR1@60` sends."""
    cluster.ask("scancel", "--signal=USR1", job)


Drill = Callable[[slurm.Cluster, Path, str, str], None]


@pytest.mark.parametrize("drill", [scancel, kill_9, requeue, lose_node, warn_of_time_limit])
def test_a_run_that_was_hit_ends_with_the_same_bits(
    drill: Drill, cluster: slurm.Cluster, project: Path, reference: bytes
) -> None:
    shutil.rmtree(project / RUN)
    before = {job[0] for job in cluster.jobs()}
    start = time.monotonic()
    snakemake = Snakemake(project, cluster, *TARGET)
    slurm.wait_until(lambda: (project / STATE).exists() or snakemake.process.poll() is not None, 90, snakemake.messages)
    assert snakemake.process.poll() is None, snakemake.messages()
    ((job, _, _, node),) = cluster.jobs("running")
    drill(cluster, project, job, node)
    hit = time.monotonic()
    if drill is requeue or drill is lose_node:
        slurm.wait_until(lambda: job not in [j[0] for j in cluster.jobs("running")], 60, snakemake.messages)
        cluster.ask("scontrol", "update", f"JobId={job}", "StartTime=now")  # Slurm waits two minutes to be sure
    snakemake.succeeds()
    jobs = [j for j in cluster.jobs() if j[0] not in before]
    resumed = [line for line in (project / LOG).read_text().splitlines() if "resuming after update" in line]
    report_time(
        drill.__name__,
        start,
        f"{time.monotonic() - hit:.1f} s after the event, {resumed}, jobs {[j[:2] for j in jobs]}",
    )
    assert (project / WEIGHTS).read_bytes() == reference
    assert len(resumed) == 1
    assert len(jobs) == (1 if drill in (requeue, lose_node) else 2)
    if drill is lose_node:
        cluster.start_node(node)
        cluster.ask("scontrol", "update", f"NodeName={node}", "State=RESUME")


def test_the_command_of_the_readme_runs_everything(cluster: slurm.Cluster, project: Path, reference: bytes) -> None:
    before = {job[0] for job in cluster.jobs()}
    start = time.monotonic()
    Snakemake(project, cluster, *SMALL).succeeds()
    jobs = [job for job in cluster.jobs() if job[0] not in before]
    report_time("the rest of the workflow", start, f"{len(jobs)} Slurm jobs")
    assert (project / "reports/index.html").stat().st_size > 100_000
    assert len(jobs) == 5 and {job[1] for job in jobs} == {"COMPLETED"}  # two pre-trainings, three fine-tunings
    assert (project / WEIGHTS).read_bytes() == reference
