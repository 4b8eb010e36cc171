"""The tables and figures of the two papers (`config/papers.yaml`): which runs each needs, and what they cost.

Light on purpose: standard library and PyYAML (see `settings.py`), because the workflow asks it for targets.
"""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from data2vec.errors import UserError
from data2vec.planning import Plan, folder
from data2vec.scales import PROBE_CONTROLS
from data2vec.settings import Settings, known, read_yaml
from data2vec.targets import chosen_modalities, experiment_targets

LAYOUTS = ("scores", "ablation", "time", "recipe", "none")
STATES = ("runnable", "needs data", "not reproducible")
KEYS = (
    *("item", "title", "layout", "source", "state", "why", "modality", "rows", "columns", "systems", "experiments"),
    *("models", "kept"),
)
TABLE_SUFFIXES, FIGURE_SUFFIXES = ("md", "csv", "html"), ("png", "svg")


@dataclass(frozen=True)
class Paper:
    """One table or figure of a paper."""

    name: str  # v1_table2: target paper_v1_table2
    item: str  # as the paper numbers it
    title: str
    layout: str
    source: str  # text that the column `source` of its published rows holds
    state: str
    why: str = ""
    modality: str = ""
    rows: list[str] = field(default_factory=list)
    columns: str = ""
    systems: dict[str, list[str]] = field(default_factory=dict)  # system of the paper -> runs that stand for it
    experiments: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    kept: str = ""

    @property
    def modalities(self) -> list[str]:
        """Kinds of input that it is about."""
        return [self.modality] if self.modality else list(PROBE_CONTROLS)

    @property
    def figures(self) -> list[str]:
        """Names of the pictures that are drawn for it."""
        if self.layout == "ablation":
            return [self.name] if len(self.experiments) == 1 else [f"{self.name}_{e}" for e in self.experiments]
        return [f"{self.name}_{modality}" for modality in self.modalities] if self.layout == "time" else []

    @property
    def files(self) -> list[str]:
        """Files of its target below `reports/papers/`."""
        pictures = [f"{name}.{suffix}" for name in self.figures for suffix in FIGURE_SUFFIXES]
        return [f"{self.name}.{suffix}" for suffix in TABLE_SUFFIXES] + pictures


def read_papers(path: Path) -> dict[str, Paper]:
    """Every entry of `config/papers.yaml`. Raises UserError in one line."""
    papers = {}
    for name, content in read_yaml(path).items():
        if not isinstance(content, dict):
            raise UserError(f"{path}: {name} must be a mapping (key: value), not {content!r}")
        for key in content:
            known(key, list(KEYS), f"key in {path.name}, {name}")
        for key in ("item", "title", "layout", "state"):
            if key not in content:
                raise UserError(f"{path}: {name}.{key} is missing")
        known(content["layout"], list(LAYOUTS), f"layout in {path.name}, {name}")
        known(content["state"], list(STATES), f"state in {path.name}, {name}")
        systems = content.get("systems") or {}
        content["systems"] = {k: v if isinstance(v, list) else [v] for k, v in systems.items()}
        papers[name] = Paper(name, source=content.pop("source", ""), **content)
    return papers


def paper_targets(plan: Plan, paper: Paper, settings: Settings) -> list[str]:
    """The metrics.json files behind one table or figure, of what the scale of the settings offers."""
    chosen = [m for m in chosen_modalities(plan, settings) if m in paper.modalities]
    files = []
    for modality in chosen:
        for run in (run for runs in paper.systems.values() for run in runs):
            if not _is_offered(plan, settings.scale, modality, run):
                continue
            stages = ["", *(f"finetune/{task}/" for task in _tasks(plan, settings.scale, modality, run))]
            places = [folder(settings.scale, modality, run, seed) for seed in range(settings.seeds)]
            files += [f"{place}/{stage}metrics.json" for place in places for stage in stages]
    for name in paper.experiments:
        experiment = plan.experiments[known(name, list(plan.experiments), f"experiment of {paper.name}")]
        files += experiment_targets(plan, experiment, settings)
    return list(dict.fromkeys(files))


def _is_offered(plan: Plan, scale: str, modality: str, run: str) -> bool:
    """Whether a scale has such a run: a method of its list, or a value of an experiment."""
    name, is_point, value = run.partition("--")
    if not is_point:
        return run in plan.modality(scale, modality).methods
    experiment = plan.experiments.get(name)
    return experiment is not None and modality in experiment.modalities and value in experiment.points(scale)


def _tasks(plan: Plan, scale: str, modality: str, run: str) -> list[str]:
    """Fine-tunings of a run: that of its experiment if it names one, else all of the scale."""
    experiment = plan.experiments.get(run.partition("--")[0])
    own = experiment.tasks.get(scale) if experiment else None
    return [own] if own else list(plan.modality(scale, modality).tasks)


def updates(plan: Plan, file: str) -> int:
    """Optimiser updates of the job behind a metrics.json, at budget 1; a probe has none."""
    _, scale, modality, run, _, *stage = Path(file).parent.parts
    root = plan.config_dir / "run"
    if not stage:
        planned = plan.run(scale, modality, run)
        size = planned.overrides.get("model", plan.modality(scale, modality).model)
        recipe = planned.overrides.get("recipe", f"{planned.method}_{modality}")
        files = [root / "recipe" / f"{recipe}.yaml", root / "size" / f"{planned.method}_{modality}_{size}.yaml"]
        return _updates("train", files, planned.overrides)
    if stage[0] != "finetune":
        return 0
    task, overrides = plan.task(scale, modality, stage[1])
    method = run if "--" not in run else plan.experiments[run.partition("--")[0]].method
    method = method if method in plan.modality(scale, modality).methods else plan.modality(scale, modality).reference
    files = [root / "recipe" / f"{method}_{modality}.yaml", root / "task" / f"{task}.yaml"]
    return _updates("finetune", [*files, root / "task" / method / f"{task}.yaml"], overrides)


def _updates(section: str, files: list[Path], overrides: dict[str, Any]) -> int:
    found = [value for file in files if (value := _updates_in(file, section))]
    return int(overrides.get(f"{section}.updates", found[-1] if found else 0))


@cache
def _updates_in(file: Path, section: str) -> int:
    """`<section>.updates` of a file of `config/run/`, or of those that it builds on; 0 if none says it."""
    if not file.is_file():
        return 0
    content = read_yaml(file)
    own = (content.get(section) or {}).get("updates")
    if own:
        return int(own)
    base = [entry for entry in content.get("defaults", []) if isinstance(entry, str) and entry != "_self_"]
    return max((_updates_in(file.parent / f"{entry}.yaml", section) for entry in base), default=0)
