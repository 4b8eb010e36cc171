"""From configuration to runs: where results go, with which overrides jobs are started (which there are: `targets.py`).

A scale (`config/scale/<name>.yaml`) says which data, model and lengths; an experiment
(`config/experiments/<name>.yaml`) is a short difference from a main run. Every pre-training is one folder
`results/<scale>/<modality>/<run>/seed<k>`, where <run> is a method or a point of an experiment
(`<experiment>--<value>`); its probe and its fine-tunings lie in `probe/` and `finetune/<task>/` below. Controls have
folders of their own (`random`, `scratch` ...). Weights that others trained are imported once, into
`results/checkpoints/<name>`; a run that starts from them has only the folders of its stages. The rules in `workflow/`
only ask this module. Light on purpose: standard library and PyYAML (see `settings.py`).
"""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from data2vec import groups
from data2vec.errors import UserError
from data2vec.scales import (
    FINETUNE_CONTROLS,
    PROBE_CONTROLS,
    Checkpoint,
    Experiment,
    ModalityPlan,
    Overrides,
    Scale,
    label,
    read_experiment,
    read_scale,
)
from data2vec.settings import Settings, known, read_yaml

INIT_TRUNK = "model.init_trunk"
"""In an experiment its value is a modality; a run is told the folder of that modality's main run."""


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

    @property
    def is_compared(self) -> bool:
        """Whether its score is drawn against its time: such a run must not share the machine with its rivals."""
        return bool(self.overrides.get("train.snapshots"))


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


def imported(checkpoint: str) -> str:
    """Folder of weights that others trained, from the project's root."""
    return f"results/checkpoints/{checkpoint}"


class Plan:
    """All that can be run from a `config/` folder.

    Args:
        config_dir: the folder that holds `scale/`, `experiments/` and `run/`.

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
        return {file.stem: read_experiment(file, self.scale_names) for file in files}

    @cached_property
    def checkpoints(self) -> dict[str, Checkpoint]:
        """Weights of others that experiments start from, by name."""
        return {name: found for e in self.experiments.values() for name, found in e.checkpoints.items()}

    @cached_property
    def tasks(self) -> dict[str, str | None]:
        """Data set of every task of `config/run/task/`; None where it is that of the pre-training."""
        files = sorted((self.config_dir / "run" / "task").glob("*.yaml"))
        return {file.stem: (read_yaml(file).get("task") or {}).get("data") for file in files}

    def scale(self, name: str) -> Scale:
        """A scale by name."""
        known(name, self.scale_names, "scale")
        if name not in self._scales:
            self._scales[name] = read_scale(self.config_dir / "scale" / f"{name}.yaml", name)
        return self._scales[name]

    def modality(self, scale: str, modality: str) -> ModalityPlan:
        """How a scale runs a modality."""
        plans = self.scale(scale).modalities
        return plans[known(modality, list(plans), f"modality of scale {scale}")]

    def run(self, scale: str, modality: str, name: str) -> Run:
        """The run that a folder name stands for."""
        plan = self.modality(scale, modality)
        if "--" not in name:
            method = known(name, list(plan.known_methods), f"run of {scale}/{modality}")
            overrides = {**plan.pretrain, **plan.main, **plan.known_methods[method], **plan.tuned.get(method, {})}
            return Run(scale, modality, method, "main", method, overrides)
        experiment, value_label, axis = self._point(scale, modality, name)
        if experiment.checkpoints:
            raise UserError(f"{name} starts from weights of others: ask for its probe/ or finetune/<task>/metrics.json")
        method = known(experiment.method, list(plan.known_methods), f"method of {scale}/{modality}")
        overrides = {**plan.pretrain, **plan.known_methods[method], **experiment.overrides, **axis}
        return Run(scale, modality, method, experiment.name, value_label, overrides)

    def _point(self, scale: str, modality: str, name: str) -> tuple[Experiment, str, Overrides]:
        """Experiment, label and overrides of `<experiment>--<value>`."""
        experiment_name, _, value_label = name.partition("--")
        experiment = self.experiments[known(experiment_name, list(self.experiments), "experiment")]
        if modality not in experiment.modalities:
            about = " and ".join(experiment.modalities)
            raise UserError(f"experiment '{experiment.name}' is about {about}, not {modality}")
        points = experiment.points(scale)
        value = points[known(value_label, list(points), f"value of {experiment.name} at scale {scale}")]
        return experiment, value_label, experiment.at(value)

    def checkpoint(self, scale: str, modality: str, run: str) -> str | None:
        """The weights of others that a run starts from; None if it has weights of its own, or is a control."""
        experiment = self.experiments.get(run.partition("--")[0])
        if experiment is None or not experiment.checkpoints:
            return None
        return self._point(scale, modality, run)[1]

    def checkpoint_file(self, name: str, settings: Settings) -> str:
        """Where such weights lie, by the settings. Raises UserError that says which file is needed."""
        found = self.checkpoints[known(name, list(self.checkpoints), "checkpoint")]
        if name not in settings.checkpoints:
            raise UserError(
                f"{name} needs the file that its authors offer as {found.file} (licence {found.licence}): download it "
                f"and pass --config checkpoints='{{{name}: PATH}}'"
            )
        return str(Path(settings.checkpoints[name]).expanduser())

    def start_words(self, scale: str, modality: str, run: str, settings: Settings) -> list[str]:
        """What a probe or fine-tuning is told about its run, where that run's configuration is that of an import."""
        if self.checkpoint(scale, modality, run) is None:
            return []
        experiment, variant, _ = self._point(scale, modality, run)
        labels = {"scale": scale, "experiment": experiment.name, "variant": variant, "budget": settings.budget}
        overrides = {**labels, "data.name": self.modality(scale, modality).data, **experiment.overrides}
        return [override_text(key, value) for key, value in overrides.items()]

    def task(self, scale: str, modality: str, name: str) -> tuple[str, Overrides]:
        """Task and overrides of the fine-tuning in folder `finetune/<name>`."""
        plan = self.modality(scale, modality)
        axis: Overrides = {}
        if "--" in name:
            experiment, _, axis = self._point(scale, modality, name)
            if scale not in experiment.tasks or not experiment.varies_finetuning:
                raise UserError(f"experiment '{experiment.name}' does not vary a fine-tuning")
            labels = {"experiment": experiment.name, "variant": name.partition("--")[2]}
            axis, name = labels | experiment.overrides | axis, experiment.tasks[scale]
        own = [e.tasks[scale] for e in self.experiments.values() if modality in e.modalities and scale in e.tasks]
        task = known(name, [*plan.tasks, *own], f"task of {scale}/{modality}")
        known(task, list(self.tasks), "task of config/run/task/")
        return task, {**plan.finetune, **plan.tasks.get(task, {}), **axis}

    def finetune_words(self, scale: str, modality: str, name: str) -> list[str]:
        """Overrides of `python -m data2vec finetune` for folder `finetune/<name>`."""
        task, overrides = self.task(scale, modality, name)
        return [override_text(key, value) for key, value in {"task": task, **overrides}.items()]

    def task_files(self, scale: str, modality: str, name: str) -> list[Path]:
        """Files of `config/run/task/` that the fine-tuning in folder `finetune/<name>` composes."""
        root, task = self.config_dir / "run" / "task", self.task(scale, modality, name)[0]
        # what differs between methods stands in task/<method>/<task>.yaml
        waiting, found = [task, *(f"{file.parent.name}/{task}" for file in sorted(root.glob(f"*/{task}.yaml")))], []
        while waiting:
            file = root / f"{waiting.pop()}.yaml"
            found.append(file)
            waiting += [entry for entry in read_yaml(file).get("defaults", []) if entry != "_self_"]
        return found

    def pretrain_data(self, run: Run) -> list[str]:
        """Data sets that a pre-training reads."""
        plan = self.modality(run.scale, run.modality)
        return [str(run.overrides.get("data", plan.data)), *run.overrides.get("data.also", [])]

    def task_data(self, scale: str, modality: str, run: str, name: str) -> list[str]:
        """Data sets that a fine-tuning reads: its own, and the one that its run was pre-trained on."""
        task, overrides = self.task(scale, modality, name)
        return self._data_of(scale, modality, run, overrides.get("task.data", self.tasks[task]))

    def probe_data(self, scale: str, modality: str, run: str) -> list[str]:
        """Data sets that a probe reads."""
        return self._data_of(scale, modality, run, self.modality(scale, modality).probe.get("probe.data"))

    def _data_of(self, scale: str, modality: str, run: str, own: str | None) -> list[str]:
        """A stage's own set, after that of the pre-training (its vocabulary), which an import brings along."""
        imports = self.checkpoint(scale, modality, run) is not None
        varied = self.run(scale, modality, run).overrides if "--" in run and not imports else {}
        data = str(varied.get("data", self.modality(scale, modality).data))
        first = [] if imports else [data]
        return list(dict.fromkeys([*first, own or data]))

    def pretrain_words(self, run: Run, seed: int | str, settings: Settings) -> list[str]:
        """Overrides of `python -m data2vec pretrain`, without `run_dir`."""
        common = {"seed": seed, "data_dir": settings.data_dir, "budget": settings.budget}
        trunk = self.trunk_run(run, seed)
        start = {INIT_TRUNK: trunk} if trunk else {}
        return [override_text(k, v) for k, v in {**common, **self.pretrain_overrides(run), **start}.items()]

    def pretrain_overrides(self, run: Run) -> Overrides:
        """Groups, labels and keys of a run, its seed and the settings left out."""
        plan = self.modality(run.scale, run.modality)
        groups = {"modality": run.modality, "method": run.method, "model": plan.model, "data": plan.data}
        labels = {"scale": run.scale, "experiment": run.experiment, "variant": run.variant}
        return {**groups, **labels, **run.overrides}

    def shared_points(self, scale: str, modality: str, experiment: str) -> dict[str, str]:
        """Points of an experiment that are a main run by their values (label -> method): they are not trained twice."""
        found = self.experiments[known(experiment, list(self.experiments), "experiment")]
        if found.checkpoints or found.varies_finetuning or modality not in found.modalities:
            return {}
        if found.method not in self.modality(scale, modality).methods:
            return {}
        main = self._values(self.run(scale, modality, found.method))
        runs = {label: self.run(scale, modality, f"{experiment}--{label}") for label in found.points(scale)}
        return {label: found.method for label, run in runs.items() if self._values(run) == main}

    def _values(self, run: Run) -> dict[str, object]:
        """What determines the weights of a run, seed and budget aside."""
        overrides = {k: v for k, v in self.pretrain_overrides(run).items() if k not in ("experiment", "variant")}
        values = groups.flat(groups.complete(groups.composed(self.config_dir / "run", overrides)))
        return {key: value for key, value in values.items() if key != "train.snapshots"}

    def trunk_run(self, run: Run, seed: int | str) -> str | None:
        """Folder of the run whose blocks a run starts from: the main run of that modality, with the same seed."""
        modality = run.overrides.get(INIT_TRUNK)
        if modality is None:
            return None
        self.modality(run.scale, known(modality, list(PROBE_CONTROLS), f"modality in {INIT_TRUNK} of {run.name}"))
        return folder(run.scale, modality, run.method, seed)

    def start(self, stage: str, scale: str, modality: str, name: str) -> tuple[str, str]:
        """The run that a probe or fine-tuning starts from, and the control that it is ("" if it is none).

        A control takes over the configuration of the scale's reference run, not its weights.
        """
        controls = (PROBE_CONTROLS if stage == "probe" else FINETUNE_CONTROLS).get(modality, ())
        if name in controls:
            return self.modality(scale, modality).reference, name
        return self.run(scale, modality, name).name, ""


__all__ = ["Plan", "Run", "folder", "imported", "label", "override_text"]
