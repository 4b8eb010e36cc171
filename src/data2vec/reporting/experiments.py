"""Experiment files (`config/experiments/*.yaml`), and what was measured at each of their values."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from data2vec.reporting import stats
from data2vec.reporting.files import Issue, number, read_mapping, short_path
from data2vec.reporting.names import MODALITIES, is_score, metric_rank, modality_rank
from data2vec.reporting.published_curves import Curve, published_curve
from data2vec.scales import label

LABEL_AXES = ("finetune.train_limit", "finetune.train_seconds")


@dataclass(frozen=True)
class Experiment:
    """One ablation: its file, and nothing that was measured."""

    name: str
    title: str
    modalities: tuple[str, ...]
    axis: str  # the varied configuration key; several that take the value together are joined by " = "
    values: dict[str, list[str]]  # by scale; "default" is for those that are not named
    metric: str
    published: str = ""  # name of a table in ablations.csv
    claims: list[str] = field(default_factory=list)
    note: str = ""
    published_values: dict[str, str] = field(default_factory=dict)  # our value -> how the published table calls it

    def points(self, scale: str) -> list[str]:
        """The values at a scale, as results.csv's `variant` spells them."""
        return self.values.get(scale, self.values.get("default", []))

    @property
    def varies_labels(self) -> bool:
        """Whether the axis is the amount of labelled data."""
        return self.axis in LABEL_AXES


@dataclass(frozen=True)
class Part:
    """One experiment in one modality: ours (see `summary`) and the published curve."""

    modality: str
    ours: pd.DataFrame
    curve: Curve | None


def load_experiments(folder: Path, issues: list[Issue]) -> dict[str, Experiment]:
    """Name -> experiment for each readable file; one that cannot be used is an issue."""
    found = {}
    for path in sorted(folder.glob("*.yaml")):
        content = read_mapping(path, issues)
        if content is None:
            continue
        lacking = [key for key in ("axis", "values", "metric") if not content.get(key)]
        if lacking:
            issues.append(Issue("unreadable", f"{short_path(path)}: no {', '.join(lacking)}"))
            continue
        name = str(content.get("name") or path.stem)
        found[name] = _experiment(name, content)
    return found


def _experiment(name: str, content: dict[str, Any]) -> Experiment:
    base = content.get("base") if isinstance(content.get("base"), dict) else {}
    modality = (base or {}).get("modality") or "vision"
    values = content["values"] if isinstance(content["values"], dict) else {"default": content["values"]}
    return Experiment(
        name=name,
        title=str(content.get("title") or name.replace("_", " ")),
        modalities=tuple(MODALITIES) if modality == "all" else tuple(map(str, _listed(modality))),
        axis=" = ".join(map(str, _listed(content["axis"]))),
        values={str(scale): [label(value) for value in _listed(points)] for scale, points in values.items()},
        metric=str(content["metric"]),
        published=str(content.get("published") or ""),
        claims=[str(claim) for claim in _listed(content.get("claims") or [])],
        note=" ".join([str(content.get("note") or "").strip(), *_released(content.get("checkpoints"))]).strip(),
        published_values={str(ours): str(name) for ours, name in (content.get("published_values") or {}).items()},
    )


def _released(checkpoints: Any) -> list[str]:
    """What others report of the weights that an experiment starts from, one sentence each."""
    found = checkpoints if isinstance(checkpoints, dict) else {}
    scores = {name: about.get("published") for name, about in found.items() if isinstance(about, dict)}
    return [f"{name}: published {score}." for name, score in scores.items() if score]


def undescribed(name: str, frame: pd.DataFrame) -> Experiment:
    """An experiment found in results.csv without a file: drawn with what the rows say."""
    rows = frame[frame["experiment"] == name]
    scores = sorted(set(rows["metric"]), key=lambda metric: (not is_score(metric), metric_rank(metric)))
    modalities = tuple(sorted(set(rows["modality"]), key=modality_rank))
    return Experiment(name, name.replace("_", " "), modalities, "value", {}, scores[0])


def parts(experiment: Experiment, frame: pd.DataFrame, published: pd.DataFrame) -> list[Part]:
    """The experiment in each modality that has runs of it."""
    ours = summary(experiment, frame)
    run = frame.loc[frame["experiment"] == experiment.name, "modality"]
    names = experiment.published_values
    return [
        Part(
            modality,
            ours[ours["modality"] == modality],
            published_curve(experiment.published, modality, published, names),
        )
        for modality in sorted(set(run), key=modality_rank)
    ]


def summary(experiment: Experiment, frame: pd.DataFrame) -> pd.DataFrame:
    """Mean, std and n per varied value (`label`, and `x` as a number or NaN), in the order of the axis.

    One line a scale, modality, data set, method and model: a fine-tuning may vary for several methods.
    """
    rows = frame[(frame["experiment"] == experiment.name) & (frame["metric"] == experiment.metric)]
    groups = ["scale", "modality", "dataset", "method", "model"]
    found = stats.summarise(rows, (*groups, "variant", "unit"))
    found = found.rename(columns={"variant": "label"}).assign(x=found["variant"].map(number))
    listed = dict.fromkeys(value for points in experiment.values.values() for value in points)
    order = {value: index for index, value in enumerate(listed)}
    place = found["label"].map(lambda label: order.get(label, len(order)))
    if found["x"].notna().all():
        place = found["x"]
    return found.assign(place=place).sort_values([*groups, "place", "label"], kind="stable", ignore_index=True)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
