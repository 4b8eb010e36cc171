"""Which files a workflow makes: the metrics.json of main runs, rivals and experiments that the settings ask for."""

import re

from data2vec.errors import UserError
from data2vec.planning import Plan, folder
from data2vec.scales import FINETUNE_CONTROLS, PROBE_CONTROLS, Experiment, ModalityPlan
from data2vec.settings import Settings, known


def chosen_modalities(plan: Plan, settings: Settings) -> list[str]:
    """Modalities that the settings ask for."""
    offered = list(plan.scale(settings.scale).modalities)
    if settings.modalities == "all":
        return offered
    names = [settings.modalities] if isinstance(settings.modalities, str) else settings.modalities
    return [known(name, offered, f"modality of scale {settings.scale}") for name in names]


def chosen_experiments(plan: Plan, settings: Settings) -> list[Experiment]:
    """Experiments that the settings ask for, of the chosen modalities."""
    asked = settings.experiments
    modalities = chosen_modalities(plan, settings)
    here = [e for e in plan.experiments.values() if set(e.modalities) & set(modalities)]
    if asked == "all":
        return [e for e in here if e.points(settings.scale)]
    if asked == "default":
        names = plan.scale(settings.scale).experiments
        return [e for e in here if e.name in [known(n, list(plan.experiments), "experiment") for n in names]]
    names = [asked] if isinstance(asked, str) else asked
    chosen = [plan.experiments[known(name, list(plan.experiments), "experiment")] for name in names]
    for experiment in chosen:
        if not experiment.points(settings.scale):
            offers = ", ".join(experiment.values)
            raise UserError(f"experiment '{experiment.name}' has no values at scale {settings.scale}, but at {offers}")
        _require_a_checkpoint(plan, experiment, settings)
    return [e for e in chosen if e in here]


def all_targets(plan: Plan, settings: Settings) -> list[str]:
    """Every metrics.json that the settings ask for."""
    for name in settings.checkpoints:
        known(name, list(plan.checkpoints), "checkpoint")
    files = []
    for modality in chosen_modalities(plan, settings):
        own = plan.modality(settings.scale, modality)
        stages = _stages_of(own, list(own.methods))
        stages += [(name, "probe/") for name in PROBE_CONTROLS[modality]]
        stages += [(name, f"finetune/{task}/") for name in FINETUNE_CONTROLS[modality] for task in own.tasks]
        files += _files(settings.scale, modality, stages, settings.seeds)
    for experiment in chosen_experiments(plan, settings):
        files += experiment_targets(plan, experiment, settings)
    return files


def rival_targets(plan: Plan, settings: Settings) -> list[str]:
    """The metrics.json files of the methods that the chosen modalities keep beside their main ones."""
    return [
        file
        for modality in chosen_modalities(plan, settings)
        for own in [plan.modality(settings.scale, modality)]
        for file in _files(settings.scale, modality, _stages_of(own, list(own.rivals)), settings.seeds)
    ]


def targets_by_experiment(plan: Plan, settings: Settings) -> dict[str, list[str]]:
    """The metrics.json files of every experiment that can be run at the scale of the settings."""
    offered = set(plan.scale(settings.scale).modalities)
    runnable = [e for e in plan.experiments.values() if offered & set(e.modalities) and e.points(settings.scale)]
    return {e.name: experiment_targets(plan, e, settings) for e in runnable}


def experiment_targets(plan: Plan, experiment: Experiment, settings: Settings) -> list[str]:
    """The metrics.json files of one experiment in the chosen modalities, at the scale of the settings.

    Of weights of others, only those that the settings give.
    """
    points = [
        f"{experiment.name}--{text}"
        for text in experiment.points(settings.scale)
        if not experiment.checkpoints or text in settings.checkpoints
    ]
    files = []
    for modality in chosen_modalities(plan, settings):
        if modality not in experiment.modalities:
            continue
        if experiment.varies_finetuning:
            stages = [(method, f"finetune/{point}/") for method in experiment.methods for point in points]
        else:
            task = experiment.tasks.get(settings.scale)
            tasks = [task] if task else list(plan.modality(settings.scale, modality).tasks)
            last = {"pretrain": [], "probe": ["probe/"], "finetune": [f"finetune/{task}/" for task in tasks]}
            own = [] if experiment.checkpoints else [""]
            shared = plan.shared_points(settings.scale, modality, experiment.name)
            stages = [
                (shared.get(point.partition("--")[2], point), stage)
                for point in points
                for stage in (*own, *last[experiment.stage])
            ]
        files += _files(settings.scale, modality, stages, experiment.seeds or settings.seeds)
    return files


def check_target(plan: Plan, word: str, settings: Settings) -> None:
    """Raises UserError if a word of the command line is a file that no job can make."""
    if word.startswith("experiment_") and word.partition("_")[2] in plan.experiments:
        _require_a_checkpoint(plan, plan.experiments[word.partition("_")[2]], settings)
    match = re.fullmatch(r"results/([^/]+)/([^/]+)/([^/]+)/seed\d+/(probe/|finetune/([^/]+)/)?.+", word)
    if match:
        scale, modality, name, stage, task = match.groups()
        controls = (*PROBE_CONTROLS.get(modality, ()), *FINETUNE_CONTROLS.get(modality, ()))
        if stage and (checkpoint := plan.checkpoint(scale, modality, name)):
            plan.checkpoint_file(checkpoint, settings)
        elif name not in controls:
            plan.run(scale, modality, name)
        if task:
            plan.task(scale, modality, task)


def _require_a_checkpoint(plan: Plan, experiment: Experiment, settings: Settings) -> None:
    """Raises UserError if an experiment needs weights of others and none of them is given."""
    names = list(experiment.points(settings.scale)) if experiment.checkpoints else []
    if names and not set(names) & set(settings.checkpoints):
        files = ", ".join(f"{name} ({experiment.checkpoints[name].file})" for name in names)
        raise UserError(
            f"experiment '{experiment.name}' needs released weights, at least one of {files}: download them and "
            f"pass --config checkpoints='{{{names[0]}: PATH, ...}}'"
        )


def _stages_of(plan: ModalityPlan, methods: list[str]) -> list[tuple[str, str]]:
    """(run, stage) of pre-training, probe and fine-tunings of some methods."""
    tasks = [f"finetune/{task}/" for task in plan.tasks]
    return [
        (method, stage) for method in methods for stage in ("", "probe/", *(tasks if method in plan.finetuned else []))
    ]


def _files(scale: str, modality: str, stages: list[tuple[str, str]], seeds: int) -> list[str]:
    """One metrics.json for every (run, stage) and seed."""
    return [f"{folder(scale, modality, run, k)}/{stage}metrics.json" for run, stage in stages for k in range(seeds)]
