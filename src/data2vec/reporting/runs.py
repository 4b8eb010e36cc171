"""The run folders under `results/<scale>/<modality>/<run>/seed<k>/`, as they are found.

A folder is read as far as it can be: what is absent or broken becomes an `Issue`, never an exception.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data2vec.reporting.files import Issue, number, read_mapping, short_path
from data2vec.reporting.names import CONTROLS

# Sub-folders that hold a metrics.json: none for the run itself, one for each task of its fine-tunings.
STAGES = ("", "probe", "finetune/*")


@dataclass(frozen=True)
class Run:
    """One run folder: who it is (from its path and config.yaml) and what it recorded."""

    path: Path
    scale: str
    modality: str
    name: str  # the folder's name: a method, a control, or <experiment>--<value>
    seed: int
    config: dict[str, Any] = field(repr=False)
    provenance: dict[str, Any] = field(repr=False)  # of the pre-training; of the fine-tuning for `scratch`
    metrics: dict[str, dict[str, Any]] = field(repr=False)  # stage (`finetune/<task>`) -> its metrics.json

    @property
    def is_control(self) -> bool:
        """Whether this is random weights, raw pixels or from scratch."""
        return self.name in CONTROLS

    @property
    def method(self) -> str:
        """The method's key, or the control's name in words."""
        return CONTROLS.get(self.name) or named(self.config, "method") or self.name.split("--")[0]

    @property
    def experiment(self) -> str:
        """Which experiment file the run belongs to; "main" for the methods and controls themselves."""
        written = "" if self.is_control else named(self.config, "experiment")
        return written or (self.name.split("--")[0] if "--" in self.name else "main")

    @property
    def variant(self) -> str:
        """The varied value as text; the run's name for main runs and controls."""
        written = "" if self.is_control else named(self.config, "variant")
        return self.name.partition("--")[2] or written or self.name

    @property
    def dataset(self) -> str:
        """The pre-training data set's name; "" if config.yaml does not say."""
        return named(self.config, "data")

    @property
    def model(self) -> str:
        """The model size's name; "" if config.yaml does not say."""
        return named(self.config, "model")


def named(config: dict[str, Any], key: str) -> str:
    """`config[key]` as text, whether it is written as a name or as a group with a `name`."""
    value = config.get(key)
    if isinstance(value, dict):
        value = value.get("name")
    return "" if value is None else str(value)


def find_runs(results: Path, scale: str | None, issues: list[Issue]) -> list[Run]:
    """Every run folder under `results` (of one scale, if given), ordered by path then seed."""
    runs = []
    for path in sorted(results.glob(f"{scale or '*'}/*/*/seed*")):
        if not path.is_dir():
            continue
        match = re.fullmatch(r"seed(\d+)", path.name)
        if match is None:
            issues.append(Issue("unreadable", f"{short_path(path)}: not read, its name is not seed<number>"))
            continue
        runs.append(_read_run(path, int(match[1]), issues))
    return sorted(runs, key=lambda run: (run.scale, run.modality, run.name, run.seed, run.path.name))


def _read_run(path: Path, seed: int, issues: list[Issue]) -> Run:
    *_, scale, modality, name, _ = path.parts
    is_control = name in CONTROLS
    stages = [found for stage in STAGES for found in (sorted(path.glob(stage)) if stage else [path]) if found.is_dir()]
    if (config := _of_others(path)) is not None:
        commit = _first(stages, "provenance.json", issues).get("commit")
        return Run(path, scale, modality, name, seed, config, {"commit": commit}, _metrics(path, stages, issues))
    homes = stages if is_control else [path]
    config = _first(homes, "config.yaml", issues)
    provenance = _first(homes, "provenance.json", issues)
    if not is_control and not provenance:
        issues.append(Issue("missing", f"{short_path(path)}: no provenance.json, so its cost is not known"))
    found = _metrics(path, stages, issues)
    if not is_control and "" not in found:
        issues.append(Issue("missing", f"{short_path(path)}: no metrics.json; pre-training has not finished"))
    written = number(config.get("seed"))
    if not is_control and written == written and int(written) != seed:
        issues.append(Issue("doubled", f"{short_path(path)}: its config.yaml says seed {int(written)}, which counts"))
        seed = int(written)
    return Run(path, scale, modality, name, seed, config, provenance, found)


def _metrics(path: Path, stages: list[Path], issues: list[Issue]) -> dict[str, dict[str, Any]]:
    """What each finished stage measured; "" is the pre-training."""
    names = {"" if stage == path else stage.relative_to(path).as_posix(): stage / "metrics.json" for stage in stages}
    found = {name: read_mapping(file, issues) for name, file in names.items()}
    return {name: content for name, content in found.items() if content is not None}


def _of_others(path: Path) -> dict[str, Any] | None:
    """Method and model of the weights of others that a run started from; None if it was pre-trained here."""
    experiment, _, checkpoint = path.parent.name.partition("--")
    imported = path.parents[3] / "checkpoints" / checkpoint
    if not checkpoint or (path / "config.yaml").exists() or not (imported / "config.yaml").is_file():
        return None
    config = read_mapping(imported / "config.yaml", []) or {}
    return {"method": config.get("method"), "model": config.get("model"), "experiment": experiment}


def _first(homes: list[Path], name: str, issues: list[Issue]) -> dict[str, Any]:
    """The first readable `name` among the folders; {} if there is none."""
    return next((content for home in homes if (content := read_mapping(home / name, issues))), {})
