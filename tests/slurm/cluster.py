"""A Slurm of its own on one host: munge, slurmctld and two nodes, all in one temporary folder.

Needs Debian's packages slurm-wlm and munge, nothing of their configuration. There is no accounting (slurmdbd
would need a MariaDB server), as on many small clusters: `sacct` is there and answers with an error.
"""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")
CONFIGURATION = """\
ClusterName=drill
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={folder}/%n
SlurmdPidFile={folder}/%n.pid
SlurmdLogFile={folder}/%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
KillWait=20
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=8000
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=8000
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE
"""


def missing_programs() -> list[str]:
    """Programs of Slurm and munge that this machine lacks."""
    return [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]


class Cluster:
    """Starts at once; `stop` ends every process of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        (folder / "state").mkdir()
        host = socket.gethostname().partition(".")[0]
        text = CONFIGURATION.format(folder=folder, user=getpass.getuser(), host=host, ports=_free_ports(3))
        (folder / "slurm.conf").write_text(text)
        (folder / "munge.key").write_bytes(os.urandom(128))
        (folder / "munge.key").chmod(0o600)
        self.variables = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": f"{folder}:{_path()}"}
        # Snakemake's plugin takes SLURM_CONF off the environment of the srun inside a job.
        srun = folder / "srun"
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun", path=_path())} "$@"\n')
        srun.chmod(0o755)
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        try:
            self._start_munge()
            self._start("slurmctld", "slurmctld", "-D")
            for node in ("node1", "node2"):
                self.start_node(node)
            wait_until(lambda: self.ask("sinfo", "-h", "-t", "idle", "-o", "%D").strip() == "2", 60, self.messages)
        except BaseException:
            self.stop()
            raise

    def _start_munge(self) -> None:
        words = {name: f"--{name}={self.folder}/munge.{end}" for name, end in MUNGE_FILES.items()}
        # --force: the folders above a temporary one are open to others
        self._start(
            "munged", "munged", "--foreground", "--force", f"--socket={self.folder}/munge.socket", *words.values()
        )
        wait_until(lambda: (self.folder / "munge.socket").exists(), 20, self.messages)

    def _start(self, name: str, *words: str) -> None:
        with (self.folder / f"{name}.out").open("ab") as out:
            self._daemons[name] = subprocess.Popen(
                words, env=self.environment(), stdout=out, stderr=out, start_new_session=True
            )

    def environment(self) -> dict[str, str]:
        """This process's variables with those of the cluster."""
        return os.environ | self.variables

    def start_node(self, node: str) -> None:
        """Start a node, or start it again."""
        self._start(node, "slurmd", "-D", "-N", node)

    def lose_node(self, node: str) -> None:
        """What a power cut does: nothing on the node lives on, and the controller learns that it is gone."""
        slurmd = self._daemons.pop(node)
        tasks = [pid for pid in processes() if f"SLURMD_NODENAME={node}" in _environment(pid)]
        for pid in [slurmd.pid, *self._steps(tasks), *tasks]:
            kill(pid)
        slurmd.wait()
        self.ask("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=drill")

    def ask(self, *words: str) -> str:
        """Output of one of Slurm's commands; what it complains about is part of it."""
        done = subprocess.run(words, env=self.environment(), capture_output=True, text=True, timeout=30)
        return done.stdout + done.stderr

    def jobs(self, states: str = "all") -> list[list[str]]:
        """Number, state, comment and node of each job."""
        lines = self.ask("squeue", "-h", "-t", states, "-o", "%i|%T|%k|%N").splitlines()
        return [line.split("|") for line in lines]

    def messages(self) -> str:
        """The end of each daemon's log."""
        files = [*self.folder.glob("*.log"), *self.folder.glob("*.out")]
        return "\n".join(f"== {f.name}\n" + "\n".join(f.read_text().splitlines()[-10:]) for f in files)

    def stop(self) -> None:
        """End the jobs, then the daemons."""
        tasks = [pid for pid in processes() if f"SLURM_CONF={self.folder}/slurm.conf" in _environment(pid)]
        for pid in [*self._steps(tasks), *tasks]:
            kill(pid)
        for daemon in self._daemons.values():
            daemon.wait()

    @staticmethod
    def _steps(tasks: Iterable[int]) -> list[int]:
        """The slurmstepd processes that started tasks."""
        return [pid for pid in {_parent(task) for task in tasks} if command(pid).startswith("slurmstepd")]


MUNGE_FILES = {"key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}


def wait_until(holds: Callable[[], bool], seconds: float, messages: Callable[[], str]) -> float:
    """Wait for something; returns the seconds that it took. Raises TimeoutError with the messages."""
    start = time.monotonic()
    while not holds():
        if time.monotonic() - start > seconds:
            raise TimeoutError(f"not within {seconds} s\n{messages()}")
        time.sleep(0.1)
    return time.monotonic() - start


def processes() -> list[int]:
    """Every process of this machine."""
    return [int(p.name) for p in Path("/proc").iterdir() if p.name.isdecimal()]


def command(pid: int) -> str:
    """Words of a process; empty if it is gone."""
    return _read(pid, "cmdline").replace("\0", " ")


def kill(pid: int) -> None:
    """`kill -9`, of a process that may be gone."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _parent(pid: int) -> int:
    fields = _read(pid, "stat").rpartition(")")[2].split()
    return int(fields[1]) if fields else 0


def _environment(pid: int) -> list[str]:
    return _read(pid, "environ").split("\0")


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""


def _path() -> str:
    return os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
