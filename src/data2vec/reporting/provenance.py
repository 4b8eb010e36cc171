"""Which code, machine and packages made the runs, and the command that makes a figure of them again."""

import math
import shlex
from collections.abc import Iterable
from typing import Any

import pandas as pd

from data2vec.reporting.files import number
from data2vec.reporting.names import count, join, modality_rank
from data2vec.reporting.runs import Run


def provenance(runs: list[Run]) -> list[tuple[str, str]]:
    """(what, value) pairs from the runs' provenance.json; differing values are listed, not chosen from."""
    records = [run.provenance for run in runs if run.provenance]
    if not records:
        return [("provenance", "no run has a provenance.json")]
    commits = sorted({_commit(record) for record in records if record.get("commit")})
    packages: dict[str, set[str]] = {}
    for record in records:
        listed = record.get("packages")
        for name, version in (listed if isinstance(listed, dict) else {}).items():
            packages.setdefault(str(name), set()).add(str(version))
    days = sorted(str(record[key])[:10] for record in records for key in ("started", "finished") if record.get(key))
    pairs = [
        ("commit", join(commits)),
        ("date of the runs", days[0] if days and days[0] == days[-1] else " to ".join(days[:1] + days[-1:])),
        ("hardware", join(sorted({words for record in records if (words := hardware(record))}))),
        (
            "Python",
            join(sorted({str(record["python"]).split()[0] for record in records if record.get("python")})),
        ),
        (
            "packages",
            ", ".join(f"{name} {' / '.join(sorted(found))}" for name, found in sorted(packages.items())),
        ),
        ("seeds", join(sorted({str(run.seed) for run in runs}, key=int))),
    ]
    return [(what, value) for what, value in pairs if value]


def remake(frame: pd.DataFrame, runs: list[Run], experiments: Iterable[str], target: str = "reports/figures") -> str:
    """The Snakemake command, one a scale, that makes the runs behind `frame` and writes `target`.

    Where data lie on a machine (`data_mirror`, `data_paths`) no run tells.
    """
    said = []
    for scale, rows in frame.groupby("scale", sort=True):
        words = [f"scale={scale}", f"seeds={rows['seed'].nunique()}"]
        budgets = {number(run.config.get("budget", 1)) for run in runs if run.scale == scale and run.config}
        if len(budgets) == 1 and budgets != {1.0}:
            words.append(f"budget={budgets.pop():g}")
        modalities = sorted(set(rows["modality"]), key=modality_rank)
        words += [f"modalities=[{','.join(modalities)}]", f"experiments=[{','.join(experiments)}]"]
        said.append(shlex.join(["snakemake", "--cores", "all", target, "--config", *words]))
    return " && ".join(said)


def hardware(record: dict[str, Any]) -> str:
    """The machine in words: "AMD EPYC (2 cores, no GPU used)"."""
    found = record.get("hardware")
    if not isinstance(found, dict):
        return ""
    cores, gpus = number(found.get("cores")), number(found.get("gpus"))
    device = str(found.get("device") or "")
    words = [] if math.isnan(cores) else [count(int(cores), "core")]
    on_cpu = device == "cpu" or not gpus
    words.append("no GPU used" if on_cpu else count(int(gpus) if gpus == gpus else 1, "GPU"))
    return f"{found.get('name') or 'an unnamed processor'} ({', '.join(words)})"


def _commit(record: dict[str, Any]) -> str:
    short = str(record["commit"])[:12]
    return f"{short} with uncommitted changes" if record.get("dirty") else short
