"""`python -m data2vec plan`: what every job of the workflow will cost, before anything is started.

Hours of a pre-training come from a step measured on the card (`python -m data2vec benchmark` keeps it in
results/benchmarks.jsonl), else from operations and a stated utilisation; the last column says which.
"""

import csv
import dataclasses
import hashlib
import io
import json
import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from data2vec import jobs as listing
from data2vec.config import RunConfig, validate
from data2vec.costs import UTILISATION, Cost, Hardware, cost, find_hardware, preparation
from data2vec.errors import UserError
from data2vec.flops import passes
from data2vec.jobs import Job
from data2vec.planning import Plan
from data2vec.settings import Settings, check, known, read_yaml

BENCHMARKS = Path("results/benchmarks.jsonl")
# What a training step does not depend on; of `train` only the size of a forward pass and its precision count.
NO_PART_OF_A_STEP = {
    "seed",
    "budget",
    "scale",
    "experiment",
    "variant",
    "data_dir",
    "optim",
    "probe",
    "task",
    "finetune",
}
OWN_KEYS = ("gpu", "gpus", "utilisation", "rate", "tflops", "memory_gb", "power_w", "measure", "out")
STEP_KEYS = ("batch_size", "micro_batch", "precision")
COLUMNS = ("job", "seeds", "parameters", "updates", "samples", "FLOPs", "GPUs", "hours", "GPU-hours", "GB/GPU", "GB")


@dataclass(frozen=True)
class Choice:
    """On what, and at which price."""

    card: Hardware
    gpus: int | None = None  # None: as the scale asks for each stage
    utilisation: float = UTILISATION
    rate: float | None = None  # money of an hour of one card

    @property
    def kwh(self) -> float:
        """Energy of an hour of one card, board only."""
        return self.card.power_w / 1000


@dataclass(frozen=True)
class Row:
    """A job and its cost; `cost` is of one seed."""

    job: Job
    cost: Cost

    @property
    def gpu_hours(self) -> float:
        """All seeds, all cards."""
        return self.job.seeds * (self.cost.hours or 0.0) * self.cost.gpus

    @property
    def name(self) -> str:
        """Where its results go, without scale and seed."""
        return self.job.dataset or "/".join(filter(None, (self.job.modality, self.job.run, self.job.task)))


def choice_of(plan: Plan, settings: Settings, words: dict[str, Any]) -> Choice:
    """The card and the rest from words of the command line, which win over those of the scale."""
    given = plan.scale(settings.scale).hardware
    card = find_hardware(str(words.get("gpu", given.gpu)))
    own: dict[str, Any] = {key: _number(words, key) for key in ("tflops", "memory_gb", "power_w") if key in words}
    gpus = words.get("gpus")
    if gpus is not None and (isinstance(gpus, bool) or not isinstance(gpus, int) or gpus < 1):
        raise UserError(f"gpus = {gpus} is not allowed: it must be a whole number of at least 1")
    share = _number(words, "utilisation") if "utilisation" in words else given.utilisation
    rate = _number(words, "rate") if "rate" in words else None
    return Choice(dataclasses.replace(card, **own), gpus, share, rate)


def _number(words: dict[str, Any], key: str) -> float:
    value = words[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise UserError(f"{key} = {value} is not allowed: it must be a number above 0")
    return float(value)


def estimate(plan: Plan, settings: Settings, choice: Choice, measured: dict[str, float]) -> list[Row]:
    """One row for each job. `measured`: seconds of a forward pass's step, by `step_key`."""
    rows, resources = [], plan.scale(settings.scale).resources
    for job in listing.jobs(plan, settings):
        if job.kind == "prepare":
            rows.append(Row(job, preparation(job.dataset)))
            continue
        config = validate(listing.job_values(plan, settings.scale, settings.budget, job))
        gpus = 1 if job.kind == "probe" else choice.gpus or max(1, resources[job.kind].gpus)
        found = cost(job.kind, config, choice.card, gpus, choice.utilisation)
        seconds = measured.get(step_key(config)) if job.kind == "pretrain" else None
        if seconds is not None:
            hours = seconds * passes(config) * config.train.updates / (gpus * 3600)
            found = dataclasses.replace(found, hours=hours, source="measured step")
        rows.append(Row(job, found))
    return rows


def step_key(config: RunConfig) -> str:
    """Digest of what the time of a training step depends on."""
    values = config.model_dump(mode="json", exclude=NO_PART_OF_A_STEP)
    values["train"] = {key: values["train"][key] for key in STEP_KEYS}
    for section, names in {"teacher": ("scope", "context"), "data": ("vocab_size",)}.items():
        values[section] = {key: values[section][key] for key in names}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def keep_measurement(config: RunConfig, hardware: str, seconds: float, file: Path = BENCHMARKS) -> None:
    """Add a measured step to the file; a later one of the same configuration and hardware wins."""
    file.parent.mkdir(parents=True, exist_ok=True)
    line = {"key": step_key(config), "hardware": hardware, "seconds": round(seconds, 6)}
    labels = {"modality": config.modality, "method": config.method, "model": config.model.name}
    with file.open("a") as out:
        out.write(json.dumps(line | labels) + "\n")


def measurements(card: Hardware, file: Path = BENCHMARKS) -> dict[str, float]:
    """Measured steps on such a card (its name is part of the hardware's), or on a processor for `cpu`."""
    if not file.is_file():
        return {}
    found = {}
    for number, text in enumerate(file.read_text().splitlines(), start=1):
        try:
            line = json.loads(text)
            if is_card(card, line["hardware"]):
                found[line["key"]] = float(line["seconds"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UserError(f"{file}, line {number} is no measurement: {text[:60]!r}; delete the line") from None
    return found


def is_card(card: Hardware, hardware: str) -> bool:
    """Whether a machine's hardware is this card: `h100` is in "NVIDIA H100 80GB HBM3"."""
    is_gpu = "nvidia" in hardware.lower() or "tesla" in hardware.lower()
    return card.name in hardware.lower().replace(" ", "") if is_gpu else card.name == "cpu"


def measure(plan: Plan, settings: Settings, card: Hardware) -> None:
    """Measure the step of every pre-training that has no measurement. Raises UserError if this is no such card."""
    import torch

    from data2vec.training.benchmark import benchmark
    from data2vec.training.device import cpu_name

    here = torch.cuda.get_device_name() if torch.cuda.is_available() else cpu_name()
    if not is_card(card, here):
        raise UserError(f"measure=true measures on this machine, which is {here} and not gpu={card.name}")
    known = measurements(card)
    for job in listing.jobs(plan, settings):
        if job.kind == "pretrain":
            config = validate(listing.job_values(plan, settings.scale, settings.budget, job))
            if step_key(config) not in known:
                benchmark(config, BENCHMARKS)
                known[step_key(config)] = 0.0


def command(words: dict[str, str]) -> None:
    """`python -m data2vec plan`; raises UserError for a key or value that is not allowed."""
    schema = Path("workflow/schemas/config.schema.yaml")
    keys = list(read_yaml(schema)["properties"])
    for key in words:
        known(key, [*keys, *OWN_KEYS], "key of plan")
    out = Path(words["out"]) if "out" in words else None
    if out is not None and out.suffix != ".csv":
        raise UserError(f"out = {out} is not allowed: it must be a .csv file; an .md file is written beside it")
    given = {key: _parsed(key, text) for key, text in words.items()}
    config = read_yaml(Path("config/config.yaml")) | {key: given.pop(key) for key in keys if key in given}
    settings, plan = check(config, schema), Plan(Path("config"))
    choice = choice_of(plan, settings, given)
    if given.get("measure", False) not in (True, False):
        raise UserError(f"measure = {given['measure']} is not allowed: it must be true or false")
    if given.get("measure"):
        measure(plan, settings, choice.card)
    rows = estimate(plan, settings, choice, measurements(choice.card))
    sys.stdout.write(table(rows, choice))
    if out is not None:
        _write(out, as_csv(rows))
        _write(out.with_suffix(".md"), as_markdown(rows, choice))


def _parsed(key: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise UserError(f"{key} = {text} is not allowed: it cannot be read as YAML") from None


def _write(file: Path, text: str) -> None:
    """Like `run_folder.write_atomic`, without the seconds that importing torch takes."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f".{file.name}.partial")
        partial.write_text(text, encoding="utf-8")
        partial.replace(file)
    except OSError as error:
        raise UserError(f"{file}: cannot be written: {error.strerror}") from None


# ---- output


def table(rows: list[Row], choice: Choice) -> str:
    """Aligned text, grouped by stage with totals."""
    lines: list[tuple[str, ...]] = [(*COLUMNS, "from")]
    for kind in ("prepare", "pretrain", "probe", "finetune"):
        part = [row for row in rows if row.job.kind == kind]
        if part:
            lines += [(f"{kind}:",), *(_cells(row) for row in part), _sum(f"{kind} total", part), ()]
    text = _aligned(lines)
    return "\n".join([*text, *summary(rows, choice)]) + "\n"


def summary(rows: list[Row], choice: Choice) -> list[str]:
    """The totals in words."""
    hours, jobs = sum(row.gpu_hours for row in rows), sum(row.job.seeds for row in rows)
    disk, card = sum(row.job.seeds * row.cost.disk_gb for row in rows), choice.card
    measured = sum(row.job.seeds for row in rows if row.cost.source == "measured step")
    trained = sum(row.job.seeds for row in rows if row.job.kind == "pretrain")
    lines = [
        f"total: {jobs} jobs, {hours:,.1f} GPU-hours on {card.name} ({card.tflops:g} TFLOP/s, {card.memory_gb:g} GB), "
        f"{hours * choice.kwh:,.0f} kWh at {card.power_w:g} W a card, {disk:,.0f} GB of results and prepared data",
        f"{measured} of {trained} pre-trainings by a measured step, all else by FLOPs at {choice.utilisation:.0%} of "
        "the peak",
        "hours, FLOPs and sizes are of one seed, GPU-hours and totals of all; a running job keeps 16 more bytes a "
        "parameter on disk; preparation and the regressions of probes run on processors and are not timed",
    ]
    if choice.rate is not None:
        lines.append(f"money: {hours * choice.rate:,.2f} at {choice.rate:g} for an hour of one card")
    full = sorted({row.name for row in rows if row.cost.gpu_gb > card.memory_gb})
    if full:
        lines.append(f"need more than {card.memory_gb:g} GB (set train.micro_batch or more GPUs): {', '.join(full)}")
    return lines


def _cells(row: Row) -> tuple[str, ...]:
    c = row.cost
    numbers = (_short(c.parameters), f"{c.updates:,}", _short(c.samples), f"{c.flops:.2e}", str(c.gpus))
    hours = "" if c.hours is None else f"{c.hours:,.2f}"
    return (
        row.name,
        str(row.job.seeds),
        *numbers,
        hours,
        f"{row.gpu_hours:,.2f}",
        f"{c.gpu_gb:.0f}",
        f"{c.disk_gb:.1f}",
        c.source,
    )


def _sum(name: str, rows: list[Row]) -> tuple[str, ...]:
    seeds, disk = sum(row.job.seeds for row in rows), sum(row.job.seeds * row.cost.disk_gb for row in rows)
    flops = sum(row.job.seeds * row.cost.flops for row in rows)
    total = f"{sum(row.gpu_hours for row in rows):,.2f}"
    return name, str(seeds), "", "", "", f"{flops:.2e}", "", "", total, "", f"{disk:.1f}"


def _short(number: float) -> str:
    """1.3 M, 96.1 M, 12 k."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number:g}"


def _aligned(lines: Iterable[tuple[str, ...]]) -> list[str]:
    lines = list(lines)
    width = [max((len(line[i]) for line in lines if len(line) > max(i, 1)), default=0) for i in range(len(COLUMNS) + 1)]
    text = []
    for line in lines:
        cells = [
            cell.ljust(width[i]) if i in (0, len(COLUMNS)) else cell.rjust(width[i]) for i, cell in enumerate(line)
        ]
        text.append("  ".join(cells).rstrip())
    return text


def as_csv(rows: list[Row]) -> str:
    """One line for each job; numbers are of one seed but for GPU-hours."""
    out = io.StringIO()
    fields = [field.name for field in dataclasses.fields(Cost)]
    labels = ["kind", "modality", "run", "task", "dataset", "seeds"]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*labels, *fields, "gpu_hours"])
    for row in rows:
        costs = [getattr(row.cost, field) for field in fields]
        rounded = [float(f"{value:.6g}") if isinstance(value, float) else value for value in costs]
        writer.writerow([*(getattr(row.job, label) for label in labels), *rounded, float(f"{row.gpu_hours:.6g}")])
    return out.getvalue()


def as_markdown(rows: list[Row], choice: Choice) -> str:
    """The same table for a page."""
    lines = ["# What the workflow costs", "", *(f"- {line}" for line in summary(rows, choice)), ""]
    lines += ["| stage | " + " | ".join((*COLUMNS, "from")) + " |", "|---|---|" + "---:|" * (len(COLUMNS) - 1) + "---|"]
    lines += [f"| {row.job.kind} | " + " | ".join(_cells(row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"
