"""Run folders -> `results.csv`: tidy, one measurement a row, the only source of tables and score figures.

Reading it back with `load_results` gives the same frame on any machine: text columns stay text (a
variant "None" or "0.50" is not a number), and an absent number is NaN.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from data2vec.reporting.files import Issue, number, short_path, to_csv_text, write_text
from data2vec.reporting.runs import Run, find_runs

TEXT = ("scale", "modality", "dataset", "method", "model", "experiment", "variant")
COST = ("updates", "samples", "pretrain_seconds", "peak_memory_bytes")
COLUMNS = (*TEXT, "seed", "metric", "value", "unit", *COST, "commit")
KEY = (*TEXT, "seed", "metric")


@dataclass(frozen=True)
class Collected:
    """The rows of results.csv, the folders they come from, and what could not be read."""

    frame: pd.DataFrame
    runs: list[Run]
    issues: list[Issue]


def collect(results: Path, scale: str | None = None) -> Collected:
    """Every measurement under `results`; a doubled one is kept once, and said."""
    issues: list[Issue] = []
    runs = find_runs(results, scale, issues)
    models = _models(runs)
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    # A copied folder's config names another seed than its path: the original is to win.
    for run in sorted(runs, key=lambda run: run.path.name != f"seed{run.seed}"):
        doubled = []
        for row in _rows_of(run, models, issues):
            kept = rows.setdefault(tuple(row[column] for column in KEY), row)
            if kept is not row:
                doubled.append(f"{row['metric']} (kept {kept['value']:g}, left out {row['value']:g})")
        if doubled:
            issues.append(Issue("doubled", f"{short_path(run.path)}, seed {run.seed}: {', '.join(doubled)}"))
    frame = pd.DataFrame(list(rows.values()), columns=list(COLUMNS))
    return Collected(frame.sort_values(list(KEY), kind="stable", ignore_index=True), runs, sorted(set(issues)))


def save_results(frame: pd.DataFrame, path: Path) -> None:
    """Write results.csv; the same frame gives the same bytes."""
    write_text(path, to_csv_text(frame))


def load_results(path: Path) -> pd.DataFrame:
    """Read results.csv back as `collect` made it."""
    return _typed(pd.read_csv(path, dtype=str, keep_default_na=False))


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    for column in ("seed", "value", *COST):
        frame[column] = pd.to_numeric(frame[column], errors="coerce")
    return frame


def _models(runs: list[Run]) -> dict[tuple[str, str], str]:
    """(scale, modality) -> the model of its main runs: a probed control has no config of its own."""
    found: dict[tuple[str, str], set[str]] = {}
    for run in runs:
        if run.model and run.experiment == "main":
            found.setdefault((run.scale, run.modality), set()).add(run.model)
    return {group: models.pop() for group, models in found.items() if len(models) == 1}


def _rows_of(run: Run, models: dict[tuple[str, str], str], issues: list[Issue]) -> list[dict[str, Any]]:
    cost = {column: math.nan if not run.is_control else 0.0 for column in COST[:3]}
    if not run.is_control:  # a control was not pre-trained: its updates, samples and seconds are 0
        cost = {column: number(run.provenance.get(column)) for column in COST[:3]}
    rows = []
    for stage, metrics in run.metrics.items():
        # A fine-tuning of a main run may be a point of an experiment of its own: finetune/<experiment>--<value>.
        named, is_point, value = stage.rpartition("/")[2].partition("--")
        experiment, variant = (named, value) if is_point else (run.experiment, run.variant)
        entries = metrics.get("rows")
        if not isinstance(entries, list):
            issues.append(Issue("unreadable", f"{short_path(run.path / stage)}/metrics.json: no list `rows`"))
            continue
        for entry in entries:
            if not isinstance(entry, dict) or not entry.get("metric"):
                issues.append(Issue("unreadable", f"{short_path(run.path / stage)}/metrics.json: row {entry!r:.60}"))
                continue
            rows.append(
                {
                    "scale": run.scale,
                    "modality": run.modality,
                    "dataset": score_dataset(
                        stage, str(entry.get("dataset") or run.dataset or metrics.get("dataset") or "")
                    ),
                    "method": run.method,
                    "model": str(run.model or metrics.get("model") or models.get((run.scale, run.modality), "")),
                    "experiment": experiment,
                    "variant": variant,
                    "seed": run.seed,
                    "metric": _metric(stage, str(entry["metric"])),
                    "value": _value(run, stage, entry, issues),
                    "unit": str(entry.get("unit") or ""),
                    **{column: number(entry[column]) if column in entry else cost[column] for column in cost},
                    "peak_memory_bytes": number(run.provenance.get("peak_memory_bytes")),
                    "commit": str(run.provenance.get("commit") or metrics.get("commit") or ""),
                }
            )
    return rows


def score_dataset(stage: str, dataset: str) -> str:
    """The data set of a score, named after its task where that says more: `librispeech-100h/test-other`.

    One data set may have several tasks with the same metric (FSDD: digits and speakers; LibriSpeech: 100 h and 960 h).
    """
    base, _, split = dataset.partition("/")
    task = stage.removeprefix("finetune/")
    says_more = stage != task and "--" not in task and task.startswith(f"{base}-")
    return "/".join(filter(None, (task, split))) if says_more else dataset


def _metric(stage: str, metric: str) -> str:
    """The metric's name; a fine-tuning's loss is not the pre-training's."""
    return f"{stage.partition('/')[0]}_{metric}" if stage and metric == "loss" else metric


def _value(run: Run, stage: str, entry: dict[str, Any], issues: list[Issue]) -> float:
    value = number(entry.get("value"))
    if math.isnan(value):
        where = short_path(run.path / stage) if stage else short_path(run.path)
        issues.append(
            Issue(
                "not a number",
                f"{where}: {entry['metric']} is {entry.get('value')!r}; left out of every mean",
            )
        )
    return value
