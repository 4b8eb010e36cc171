"""From configuration to runs: which jobs exist, where results go, with which overrides they are started.

A scale (`config/scale/<name>.yaml`) says which data, model and lengths; an experiment
(`config/experiments/<name>.yaml`) is a short difference from a main run. Every run is one folder
`results/<scale>/<modality>/<run>/seed<k>`, where <run> is a method, a control (`random`, `pixels`, `scratch`)
or a point of an experiment (`<experiment>--<value>`). The rules in `workflow/` only ask this module. Light on
purpose: standard library and PyYAML (see `settings.py`).
"""

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from data2vec.errors import UserError
from data2vec.settings import Settings, known, read_yaml

PROBE_CONTROLS = ("random", "pixels")
SCRATCH = "scratch"
STAGES = ("prepare", "pretrain", "probe", "finetune", "report")
# Which stage measures a metric, so that an experiment only runs what it needs.
STAGE_OF = {
    "linear_top1": "probe",
    "knn_top1": "probe",
    "finetune_top1": "finetune",
    "loss": "pretrain",
    "target_var": "pretrain",
    "pred_var": "pretrain",
}
METRICS_FILE = {
    "pretrain": "metrics.json",
    "probe": "probe/metrics.json",
    "finetune": "finetune/metrics.json",
}
EXPERIMENT_KEYS = (
    "name",
    "title",
    "base",
    "axis",
    "values",
    "metric",
    "seeds",
    "published",
    "claims",
    "note",
)
MODALITY_KEYS = ("data", "model", "reference", "methods", "pretrain", "probe", "finetune")
RESOURCE_KEYS = ("threads", "gpus", "mem_mb", "runtime")

Overrides = dict[str, Any]


@dataclass(frozen=True)
class Resources:
    """What one job of a stage asks for: CPU threads, GPUs, memory (MB) and time (minutes)."""

    threads: int
    gpus: int
    mem_mb: int
    runtime: int


@dataclass(frozen=True)
class ModalityPlan:
    """How a scale runs one modality: Hydra groups, and overrides by stage and method."""

    data: str
    model: str
    reference: str
    methods: dict[str, Overrides]
    pretrain: Overrides
    probe: Overrides
    finetune: Overrides


@dataclass(frozen=True)
class Scale:
    """One file of `config/scale/`."""

    name: str
    experiments: list[str]
    modalities: dict[str, ModalityPlan]
    resources: dict[str, Resources]


@dataclass(frozen=True)
class Experiment:
    """One file of `config/experiments/`: a base run, an axis and the values along it."""

    name: str
    modality: str
    method: str
    overrides: Overrides
    axis: list[str]
    values: dict[str, list[Any]]
    metric: str
    seeds: int | None

    def points(self, scale: str) -> dict[str, Any]:
        """The values at a scale by their label, which is part of the run's folder name."""
        return {label(value): value for value in self.values.get(scale, self.values.get("default", []))}


@dataclass(frozen=True)
class Run:
    """One pre-training (without its seed): a main run, or a point of an experiment."""

    scale: str
    modality: str
    method: str
    experiment: str
    variant: str
    overrides: Overrides = field(hash=False)

    @property
    def name(self) -> str:
        """Folder of the run within its modality."""
        return self.method if self.experiment == "main" else f"{self.experiment}--{self.variant}"


def label(value: object) -> str:
    """A value as text for folder names and tables: `12`, `0.9998`, `ffn`."""
    return re.sub(r"[^A-Za-z0-9_.+-]+", "-", str(value)).strip("-")


def override_text(key: str, value: object) -> str:
    """`key=value` for the command line, readable alike by Hydra and by YAML."""
    return f"{key}={_value_text(value)}"


def _value_text(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        text = repr(value)
        return text.replace("e", ".0e") if "e" in text and "." not in text else text  # YAML reads 1e-05 as text
    if isinstance(value, list | tuple):
        return "[" + ",".join(_value_text(item) for item in value) + "]"
    return str(value)


def folder(scale: str, modality: str, run: str, seed: int | str) -> str:
    """Folder of one run with one seed, from the project's root."""
    return f"results/{scale}/{modality}/{run}/seed{seed}"


class Plan:
    """All that can be run from a `config/` folder.

    Args:
        config_dir: the folder that holds `scale/` and `experiments/`.

    Raises:
        UserError: from every method, in one line, when a file or a name in it is wrong.
    """

    def __init__(self, config_dir: Path) -> None:
        """Reads nothing yet."""
        self.config_dir = config_dir
        self._scales: dict[str, Scale] = {}

    @cached_property
    def scale_names(self) -> list[str]:
        """Scales that have a file."""
        return sorted(p.stem for p in (self.config_dir / "scale").glob("*.yaml"))

    @cached_property
    def experiments(self) -> dict[str, Experiment]:
        """All experiments by name."""
        files = sorted((self.config_dir / "experiments").glob("*.yaml"))
        return {file.stem: self._read_experiment(file) for file in files}

    def scale(self, name: str) -> Scale:
        """A scale by name."""
        known(name, self.scale_names, "scale")
        if name not in self._scales:
            self._scales[name] = _read_scale(self.config_dir / "scale" / f"{name}.yaml", name)
        return self._scales[name]

    def modality(self, scale: str, modality: str) -> ModalityPlan:
        """How a scale runs a modality."""
        plans = self.scale(scale).modalities
        return plans[known(modality, list(plans), f"modality of scale {scale}")]

    def chosen_modalities(self, settings: Settings) -> list[str]:
        """Modalities that the settings ask for."""
        offered = list(self.scale(settings.scale).modalities)
        if settings.modalities == "all":
            return offered
        names = [settings.modalities] if isinstance(settings.modalities, str) else settings.modalities
        return [known(name, offered, f"modality of scale {settings.scale}") for name in names]

    def chosen_experiments(self, settings: Settings) -> list[Experiment]:
        """Experiments that the settings ask for, of the chosen modalities."""
        asked = settings.experiments
        here = [e for e in self.experiments.values() if e.modality in self.chosen_modalities(settings)]
        if asked == "all":
            return [e for e in here if e.points(settings.scale)]
        if asked == "default":
            names = self.scale(settings.scale).experiments
            return [e for e in here if e.name in [known(n, list(self.experiments), "experiment") for n in names]]
        names = [asked] if isinstance(asked, str) else asked
        chosen = [self.experiments[known(name, list(self.experiments), "experiment")] for name in names]
        for experiment in chosen:
            if not experiment.points(settings.scale):
                offers = ", ".join(experiment.values)
                raise UserError(
                    f"experiment '{experiment.name}' has no values at scale {settings.scale}, but at {offers}"
                )
        return [e for e in chosen if e in here]

    def run(self, scale: str, modality: str, name: str) -> Run:
        """The run that a folder name stands for."""
        plan = self.modality(scale, modality)
        experiment_name, is_point, value_label = name.partition("--")
        if not is_point:
            method = known(name, list(plan.methods), f"run of {scale}/{modality}")
            return Run(scale, modality, method, "main", method, {**plan.pretrain, **plan.methods[method]})
        experiment = self.experiments[known(experiment_name, list(self.experiments), "experiment")]
        if experiment.modality != modality:
            raise UserError(f"experiment '{experiment.name}' is about {experiment.modality}, not {modality}")
        points = experiment.points(scale)
        value = points[known(value_label, list(points), f"value of {experiment.name} at scale {scale}")]
        method = known(experiment.method, list(plan.methods), f"method of {scale}/{modality}")
        axis = {key: value for key in experiment.axis}
        overrides = {**plan.pretrain, **plan.methods[method], **experiment.overrides, **axis}
        return Run(scale, modality, method, experiment.name, value_label, overrides)

    def check_target(self, word: str) -> None:
        """Raises UserError if a word of the command line is a file of a run that does not exist."""
        match = re.fullmatch(r"results/([^/]+)/([^/]+)/([^/]+)/seed\d+/.+", word)
        if match and match.group(3) not in (*PROBE_CONTROLS, SCRATCH):
            self.run(*match.groups())

    def pretrain_words(self, run: Run, seed: int | str, settings: Settings) -> list[str]:
        """Overrides of `python -m data2vec pretrain`, without `run_dir`."""
        plan = self.modality(run.scale, run.modality)
        groups = {"modality": run.modality, "method": run.method, "model": plan.model, "data": plan.data}
        labels = {"seed": seed, "scale": run.scale, "experiment": run.experiment, "variant": run.variant}
        common = {"data_dir": settings.data_dir, "budget": settings.budget}
        return [override_text(k, v) for k, v in {**groups, **labels, **common, **run.overrides}.items()]

    def start(self, stage: str, scale: str, modality: str, name: str) -> tuple[str, str]:
        """The run that a probe or fine-tuning starts from, and the control that it is ("" if it is none).

        A control takes over the configuration of the scale's reference run, not its weights.
        """
        controls = PROBE_CONTROLS if stage == "probe" else (SCRATCH,)
        if name in controls:
            return self.modality(scale, modality).reference, name
        return self.run(scale, modality, name).name, ""

    def targets(self, settings: Settings) -> list[str]:
        """Every metrics.json that the settings ask for."""
        files = []
        for modality in self.chosen_modalities(settings):
            plan = self.modality(settings.scale, modality)
            stages = [(method, stage) for method in plan.methods for stage in METRICS_FILE]
            stages += [*((name, "probe") for name in PROBE_CONTROLS), (SCRATCH, "finetune")]
            files += _files(settings.scale, modality, stages, settings.seeds)
        for experiment in self.chosen_experiments(settings):
            files += self.experiment_targets(experiment, settings)
        return files

    def targets_by_experiment(self, settings: Settings) -> dict[str, list[str]]:
        """The metrics.json files of every experiment that can be run at the scale of the settings."""
        offered = self.scale(settings.scale).modalities
        runnable = [e for e in self.experiments.values() if e.modality in offered and e.points(settings.scale)]
        return {e.name: self.experiment_targets(e, settings) for e in runnable}

    def experiment_targets(self, experiment: Experiment, settings: Settings) -> list[str]:
        """The metrics.json files of one experiment at the scale of the settings."""
        needed = ["pretrain"] + [s for s in METRICS_FILE if s == STAGE_OF[experiment.metric] != "pretrain"]
        runs = [f"{experiment.name}--{text}" for text in experiment.points(settings.scale)]
        stages = [(run, stage) for run in runs for stage in needed]
        return _files(settings.scale, experiment.modality, stages, experiment.seeds or settings.seeds)

    def _read_experiment(self, path: Path) -> Experiment:
        content = read_yaml(path)
        for key in content:
            known(key, list(EXPERIMENT_KEYS), f"key in {path.name}")
        for key in ("name", "title", "base", "axis", "values", "metric"):
            if key not in content:
                raise UserError(f"{path}: the key '{key}' is missing")
        if content["name"] != path.stem:
            raise UserError(f"{path}: name = '{content['name']}' must be the file's name, '{path.stem}'")
        known(content["metric"], list(STAGE_OF), f"metric in {path.name}")
        base = dict(content["base"])
        modality, method = base.pop("modality", "vision"), base.pop("method", "data2vec2")
        axis, values = content["axis"], content["values"]
        by_scale = values if isinstance(values, dict) else {"default": values}
        for scale, points in by_scale.items():
            known(scale, [*self.scale_names, "default"], f"scale in {path.name}")
            if not isinstance(points, list) or not points:
                raise UserError(f"{path}: values must be a list, or one list for each scale")
            if len({label(point) for point in points}) < len(points):
                raise UserError(f"{path}: values must differ from each other: {points}")
        return Experiment(
            name=path.stem,
            modality=modality,
            method=method,
            overrides=base,
            axis=[axis] if isinstance(axis, str) else list(axis),
            values=by_scale,
            metric=content["metric"],
            seeds=content.get("seeds"),
        )


def _files(scale: str, modality: str, stages: list[tuple[str, str]], seeds: int) -> list[str]:
    """One metrics.json for every (run, stage) and seed."""
    return [f"{folder(scale, modality, run, k)}/{METRICS_FILE[stage]}" for run, stage in stages for k in range(seeds)]


def _read_scale(path: Path, name: str) -> Scale:
    content = read_yaml(path)
    for key in content:
        known(key, ["description", "experiments", "modalities", "resources"], f"key in {path.name}")
    resources = {}
    for stage in STAGES:
        asked = content.get("resources", {}).get(stage, {})
        if set(asked) != set(RESOURCE_KEYS):
            raise UserError(f"{path}: resources.{stage} must give {', '.join(RESOURCE_KEYS)}")
        resources[stage] = Resources(**asked)
    modalities = {kind: _read_modality(plan, kind, path) for kind, plan in content.get("modalities", {}).items()}
    return Scale(name, content.get("experiments", []), modalities, resources)


def _read_modality(content: dict[str, Any], name: str, path: Path) -> ModalityPlan:
    for key in content:
        known(key, list(MODALITY_KEYS), f"key in {path.name}, {name}")
    for key in ("data", "model", "reference", "methods"):
        if key not in content:
            raise UserError(f"{path}: modalities.{name}.{key} is missing")
    known(content["reference"], list(content["methods"]), f"reference method in {path.name}, {name}")
    stages = {stage: dict(content.get(stage) or {}) for stage in ("pretrain", "probe", "finetune")}
    methods = {method: dict(overrides or {}) for method, overrides in content["methods"].items()}
    return ModalityPlan(content["data"], content["model"], content["reference"], methods, **stages)
