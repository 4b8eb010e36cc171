"""The files of `config/scale/`, `config/experiments/` and `config/run/task/`, read and checked.

Light on purpose: standard library and PyYAML (see `settings.py`).
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from data2vec.errors import UserError
from data2vec.settings import known, read_yaml

SCRATCH = "scratch"
# Beside the methods: what is probed without pre-training, and what is fine-tuned without it.
PROBE_CONTROLS = {
    "vision": ("random", "pixels"),
    "speech": ("random", "filterbank"),
    "text": ("random", "tfidf"),
}
FINETUNE_CONTROLS = {"vision": (SCRATCH,), "speech": (SCRATCH,), "text": (SCRATCH, "tfidf")}
STAGES = ("prepare", "pretrain", "probe", "finetune", "report")
# Which stage measures a metric, so that an experiment only runs what it needs; all others come from fine-tuning.
STAGE_OF = {
    "linear_top1": "probe",
    "knn_top1": "probe",
    "linear_top1_valid": "probe",
    "loss": "pretrain",
    "target_var": "pretrain",
    "pred_var": "pretrain",
    "position_var": "pretrain",
}
TASK_METRICS = (
    *("finetune_top1", "wer", "cer", "wer_lm", "map"),
    *("accuracy", "accuracy_mismatched", "f1", "acc_and_f1", "matthews", "pearson", "spearman", "pearson_and_spearman"),
)
NEEDED_KEYS = ("name", "title", "base", "axis", "values", "metric")
EXPERIMENT_KEYS = (
    *NEEDED_KEYS,
    *("points", "checkpoints", "task", "methods", "seeds", "published", "published_values", "claims", "note"),
)
CHECKPOINT_KEYS = ("file", "licence", "published")
CHECKPOINT_AXIS = "checkpoint"
MODALITY_KEYS = (
    *("data", "model", "reference", "methods", "rivals", "finetuned", "main", "tuned"),
    *("pretrain", "probe", "finetune", "tasks"),
)
RESOURCE_KEYS = ("threads", "gpus", "mem_mb", "runtime")
ESTIMATED = ("pretrain", "finetune")  # stages whose memory and time may be `auto`

Overrides = dict[str, Any]


@dataclass(frozen=True)
class Resources:
    """What one job of a stage asks for: CPU threads, GPUs (of all nodes), memory (MB), time (minutes), nodes.

    `auto`: as `costs.py` estimates it for the job.
    """

    threads: int
    gpus: int
    mem_mb: int | Literal["auto"]
    runtime: int | Literal["auto"]
    nodes: int = 1


@dataclass(frozen=True)
class Estimated:
    """For which card time is estimated (`costs.py`), and which share of its peak training is taken to reach."""

    gpu: str = "cpu"
    utilisation: float = 0.25


@dataclass(frozen=True)
class ModalityPlan:
    """How a scale runs one modality: Hydra groups, and overrides by stage, method and task.

    `methods` are the main runs, of which `finetuned` are fine-tuned; `rivals` are known as well and run when asked for.
    `main` are overrides of both, and `tuned` of single methods, but not of the points of experiments.
    """

    data: str
    model: str
    reference: str
    methods: dict[str, Overrides]
    rivals: dict[str, Overrides]
    finetuned: list[str]
    main: Overrides
    tuned: dict[str, Overrides]
    pretrain: Overrides
    probe: Overrides
    finetune: Overrides
    tasks: dict[str, Overrides]

    @property
    def known_methods(self) -> dict[str, Overrides]:
        """Every method that can be run by name."""
        return {**self.methods, **self.rivals}


@dataclass(frozen=True)
class Scale:
    """One file of `config/scale/`."""

    name: str
    experiments: list[str]
    modalities: dict[str, ModalityPlan]
    resources: dict[str, Resources]
    hardware: Estimated


@dataclass(frozen=True)
class Checkpoint:
    """Weights that others trained: the file as they call it, its licence, and the score that they report."""

    file: str
    licence: str
    published: str


@dataclass(frozen=True)
class Experiment:
    """One file of `config/experiments/`: a base run (in one or more modalities), an axis and the values along it.

    With an axis of `finetune.` keys the points are fine-tunings of the main runs of `methods`, on the task of the
    scale; with the axis `checkpoint` they start from weights that others trained; with any other axis they are
    pre-trainings of their own. Where a value changes several keys, `named` holds the overrides of each name.
    """

    name: str
    modalities: list[str] = field(hash=False)
    method: str
    overrides: Overrides
    axis: list[str]
    values: dict[str, list[Any]] = field(hash=False)
    metric: str
    seeds: int | None
    tasks: dict[str, str] = field(hash=False)
    methods: list[str] = field(hash=False)
    checkpoints: dict[str, Checkpoint] = field(hash=False)
    named: dict[str, Overrides] = field(hash=False)

    def points(self, scale: str) -> dict[str, Any]:
        """The values at a scale by their label, which is part of the run's folder name."""
        return {label(value): value for value in self.values.get(scale, self.values.get("default", []))}

    def at(self, value: Any) -> Overrides:
        """The overrides that make a run the point at `value`."""
        return self.named[value] if self.named else dict.fromkeys(self.axis, value)

    @property
    def stage(self) -> str:
        """The stage that measures the metric."""
        return STAGE_OF.get(self.metric, "finetune")

    @property
    def varies_finetuning(self) -> bool:
        """Whether the points share the pre-training of the main runs."""
        keys = [key for overrides in self.named.values() for key in overrides] if self.named else self.axis
        return all(key.startswith("finetune.") for key in keys)


def label(value: object) -> str:
    """A value as text for folder names and tables: `12`, `0.9998`, `ffn`."""
    return re.sub(r"[^A-Za-z0-9_.+-]+", "-", str(value)).strip("-")


def read_scale(path: Path, name: str) -> Scale:
    """One file of `config/scale/`. Raises UserError in one line."""
    content = read_yaml(path)
    for key in content:
        known(key, ["description", "experiments", "modalities", "resources", "hardware"], f"key in {path.name}")
    resources = {}
    for part in ("resources", "modalities"):
        if not isinstance(content.get(part), dict) or not all(isinstance(one, dict) for one in content[part].values()):
            raise UserError(f"{path}: {part} must be a mapping (name: {{key: value}})")
    for stage in STAGES:
        asked = content["resources"].get(stage, {})
        if set(asked) - {"nodes"} != set(RESOURCE_KEYS):
            raise UserError(f"{path}: resources.{stage} must give {', '.join(RESOURCE_KEYS)}, and may give nodes")
        resources[stage] = Resources(**asked)
        if stage not in ESTIMATED and "auto" in asked.values():
            raise UserError(f"{path}: resources.{stage}: only those of {' and '.join(ESTIMATED)} can be auto")
    hardware = content.get("hardware") or {}
    for key in hardware:
        known(key, ["gpu", "utilisation"], f"key in {path.name}, hardware")
    modalities = {kind: _read_modality(plan, kind, path) for kind, plan in content["modalities"].items()}
    return Scale(name, content.get("experiments", []), modalities, resources, Estimated(**hardware))


def _read_modality(content: dict[str, Any], name: str, path: Path) -> ModalityPlan:
    known(name, list(PROBE_CONTROLS), f"modality in {path.name}")
    for key in content:
        known(key, list(MODALITY_KEYS), f"key in {path.name}, {name}")
    for key in ("data", "model", "reference", "methods"):
        if key not in content:
            raise UserError(f"{path}: modalities.{name}.{key} is missing")
    known(content["reference"], list(content["methods"]), f"reference method in {path.name}, {name}")
    methods, rivals, tuned, tasks = (
        {key: dict(overrides or {}) for key, overrides in (content.get(part) or {}).items()}
        for part in ("methods", "rivals", "tuned", "tasks")
    )
    for method in tuned:
        known(method, [*methods, *rivals], f"tuned method in {path.name}, {name}")
    finetuned = content.get("finetuned") or [*methods, *rivals]
    for method in finetuned:
        known(method, [*methods, *rivals], f"fine-tuned method in {path.name}, {name}")
    named = content["data"], content["model"], content["reference"]
    pretrain, probe, finetune = (dict(content.get(stage) or {}) for stage in ("pretrain", "probe", "finetune"))
    main = dict(content.get("main") or {})
    return ModalityPlan(*named, methods, rivals, finetuned, main, tuned, pretrain, probe, finetune, tasks)


def read_experiment(path: Path, scale_names: list[str]) -> Experiment:
    """One file of `config/experiments/`. Raises UserError in one line."""
    content = read_yaml(path)
    for key in content:
        known(key, list(EXPERIMENT_KEYS), f"key in {path.name}")
    for key in NEEDED_KEYS:
        if key not in content:
            raise UserError(f"{path}: the key '{key}' is missing")
    if content["name"] != path.stem:
        raise UserError(f"{path}: name = '{content['name']}' must be the file's name, '{path.stem}'")
    known(content["metric"], [*STAGE_OF, *TASK_METRICS], f"metric in {path.name}")
    if not isinstance(content["base"], dict):
        raise UserError(f"{path}: base must give the overrides of the base run (key: value), not {content['base']!r}")
    base = dict(content["base"])
    modality, method = base.pop("modality", "vision"), base.pop("method", "data2vec2")
    modalities = list(PROBE_CONTROLS) if modality == "all" else [modality] if isinstance(modality, str) else modality
    for name in modalities:
        known(name, [*PROBE_CONTROLS, "all"], f"modality in {path.name}")
    values = content["values"]
    by_scale = values if isinstance(values, dict) else {"default": values}
    for scale, points in by_scale.items():
        known(scale, [*scale_names, "default"], f"scale in {path.name}")
        if not isinstance(points, list) or not points:
            raise UserError(f"{path}: values must be a list, or one list for each scale")
        if len({label(point) for point in points}) < len(points):
            raise UserError(f"{path}: values must differ from each other: {points}")
    axis, task = content["axis"], content.get("task")
    checkpoints = _read_checkpoints(content, by_scale, path)
    return Experiment(
        name=path.stem,
        modalities=modalities,
        method=method,
        overrides=base,
        axis=[axis] if isinstance(axis, str) else list(axis),
        values=by_scale,
        metric=content["metric"],
        seeds=content.get("seeds"),
        tasks=task if isinstance(task, dict) else {name: task for name in [*scale_names, "default"] if task},
        methods=content.get("methods") or [method],
        checkpoints=checkpoints,
        named=_read_points(content, by_scale, path),
    )


def _read_points(content: dict[str, Any], values: dict[str, list[Any]], path: Path) -> dict[str, Overrides]:
    """The overrides behind each named value; {} where the values are those of the axis itself."""
    named = content.get("points") or {}
    if not isinstance(named, dict) or not all(isinstance(point, dict) for point in named.values()):
        raise UserError(f"{path}: points must give the overrides of each value (name: {{key: value}})")
    named = {str(name): overrides for name, overrides in named.items()}
    for value in (value for points in values.values() for value in points if named):
        known(value, list(named), f"point in {path.name}")
    return named


def _read_checkpoints(content: dict[str, Any], values: dict[str, list[Any]], path: Path) -> dict[str, Checkpoint]:
    """What an experiment says about each checkpoint that it starts from; {} for one that trains its own weights."""
    if (content["axis"] == CHECKPOINT_AXIS) != ("checkpoints" in content):
        raise UserError(f"{path}: 'axis: {CHECKPOINT_AXIS}' and 'checkpoints' belong together")
    found = {}
    for name, details in (content.get("checkpoints") or {}).items():
        if not isinstance(details, dict) or set(details) != set(CHECKPOINT_KEYS) or label(name) != name:
            raise UserError(f"{path}: checkpoints.{name} must be a plain name and give {', '.join(CHECKPOINT_KEYS)}")
        found[name] = Checkpoint(**{key: str(value) for key, value in details.items()})
    for name in (value for points in values.values() for value in points if found):
        known(name, list(found), f"checkpoint in {path.name}")
    if found and STAGE_OF.get(content["metric"]) == "pretrain":
        raise UserError(
            f"{path}: metric = {content['metric']} comes from pre-training, which checkpoints have behind them"
        )
    return found
