"""The page's first paragraph and its provenance: sentences made of real values, and nothing else."""

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from data2vec.reporting import stats
from data2vec.reporting.files import number
from data2vec.reporting.ladders import ABOVE, BELOW, control_verdict, ladders, strongest_control
from data2vec.reporting.names import duration, fmt, is_control, method_label, metric_label
from data2vec.reporting.published import same_data, size_of
from data2vec.reporting.runs import Run

# The scores that the first paragraph and the tiles name.
OPENINGS = {"linear_top1": "A linear probe on the frozen features", "finetune_top1": "Fine-tuning"}
PUBLISHED_ON = ("ImageNet-1K", ("base", "large", "huge"))


@dataclass(frozen=True)
class Tile:
    """One number that a reader should take away."""

    value: str
    unit: str
    label: str


def sentences(frame: pd.DataFrame, runs: list[Run]) -> list[str]:
    """What was run, on what, at what cost, and what came out."""
    return [*_what(frame), *_price(frame, runs), *_outcome(frame), *_comparable(frame)]


def _what(frame: pd.DataFrame) -> list[str]:
    runs = stats.per_run(frame)
    trained = runs[runs["experiment"] == "main"]
    said = []
    for (scale, model, data), part in trained.groupby(["scale", "model", "dataset"], sort=True):
        methods = join([method_label(method) for method in sorted(set(part["method"]))])
        verb = "was" if part["method"].nunique() == 1 else "were"
        seeds = part["seed"].nunique()
        said.append(
            f"{methods} {verb} pre-trained on {data or 'unnamed data'} "
            f"with the {model or 'unnamed'} model ({scale} scale), {_count(seeds, 'seed')} each: "
            f"{_range(part['updates'])} updates, {_range(part['samples'])} samples seen in a run."
        )
    others = runs[runs["experiment"] != "main"]
    if len(others):
        names = others["experiment"].nunique()
        said.append(f"{_count(names, 'ablation')} took {_count(len(others), 'further run')}.")
    return said or ["No finished pre-training run was found."]


def _price(frame: pd.DataFrame, runs: list[Run]) -> list[str]:
    total = stats.per_run(frame)["pretrain_seconds"]
    machines = join(sorted({words for run in runs if (words := hardware(run.provenance))}))
    if not total.notna().any():
        return []
    return [f"All pre-training together took {duration(total.sum())}" + (f" on {machines}." if machines else ".")]


def _outcome(frame: pd.DataFrame) -> list[str]:
    """The leading method of each first-choice score against its strongest control."""
    said = []
    for (metric, unit), ladder in ladders(frame):
        trained = ladder[~ladder["method"].map(is_control)]
        if trained.empty or metric not in OPENINGS:
            continue
        first = trained.iloc[0].to_dict()
        best = strongest_control(ladder)
        verdict, difference = control_verdict(first, ladder)
        words = f"{OPENINGS[metric]} reaches {_value(first, unit)} with {method_label(first['method'])}"
        if best is not None:
            words += f" and {_value(best, unit)} with the strongest control, {best['method']}: "
            words += _against(difference, verdict)
        said.append(words + ".")
    return said


def _against(difference: float, verdict: str) -> str:
    side = {ABOVE: "more than the control", BELOW: "less than the control"}.get(verdict)
    if side is None:
        return f"a difference of {fmt(difference, 'points', signed=True)} points ({verdict})"
    return f"{fmt(abs(difference), 'points')} points {side}, and more than the spread over seeds explains"


def _comparable(frame: pd.DataFrame) -> list[str]:
    data, models = PUBLISHED_ON
    vision = stats.per_run(frame).query("modality == 'vision'")
    pairs = set(zip(vision["dataset"], vision["model"], strict=True))
    if not pairs or any(same_data(ours, data) and size_of(model) in models for ours, model in pairs):
        return []
    return [
        f"The published numbers are for {data} with models of the size ViT-B and up: they stand beside ours "
        "for orientation, and no row here is a reproduction of them."
    ]


def tiles(frame: pd.DataFrame) -> list[Tile]:
    """Three or four numbers for the top of the page."""
    found = []
    for (metric, unit), ladder in ladders(frame):
        trained = ladder[~ladder["method"].map(is_control)]
        if metric not in OPENINGS or trained.empty:
            continue
        first = trained.iloc[0].to_dict()
        found.append(Tile(_value(first, ""), unit, f"{metric_label(metric)}, {method_label(first['method'])}"))
        best = strongest_control(ladder)
        if best is not None and metric == "linear_top1":
            _, difference = control_verdict(first, ladder)
            found.append(
                Tile(
                    fmt(difference, "points", signed=True),
                    "points",
                    f"against {best['method']}, the strongest control",
                )
            )
    seconds = stats.per_run(frame)["pretrain_seconds"]
    if seconds.notna().any():
        value, _, unit = duration(seconds.sum()).partition(" ")
        found.append(Tile(value, unit, f"of pre-training, {_count(len(seconds), 'run')} together"))
    return found[:4]


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


def hardware(record: dict[str, Any]) -> str:
    """The machine in words: "AMD EPYC (2 cores, no GPU used)"."""
    found = record.get("hardware")
    if not isinstance(found, dict):
        return ""
    cores, gpus = number(found.get("cores")), number(found.get("gpus"))
    device = str(found.get("device") or "")
    words = [] if math.isnan(cores) else [_count(int(cores), "core")]
    on_cpu = device == "cpu" or not gpus
    words.append("no GPU used" if on_cpu else _count(int(gpus) if gpus == gpus else 1, "GPU"))
    return f"{found.get('name') or 'an unnamed processor'} ({', '.join(words)})"


def _commit(record: dict[str, Any]) -> str:
    short = str(record["commit"])[:12]
    return f"{short} with uncommitted changes" if record.get("dirty") else short


def join(words: list[str]) -> str:
    """Words as a list in prose: one, two with "and", more with commas."""
    return words[0] if len(words) == 1 else " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _value(record: dict[str, Any], unit: str) -> str:
    spread = "" if math.isnan(record["std"]) else f" ± {fmt(record['std'], record['unit'])}"
    return f"{fmt(record['mean'], record['unit'])}{spread}" + (f" {unit}" if unit else "")


def _count(number_of: int, noun: str) -> str:
    return f"{number_of} {noun}" if number_of == 1 else f"{number_of} {noun}s"


def _range(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    if math.isnan(low):
        return "an unknown number of"
    return f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"
