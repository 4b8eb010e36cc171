"""Experiment files (`config/experiments/*.yaml`) beside what was measured and what the papers print."""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from data2vec.planning import label
from data2vec.reporting import stats
from data2vec.reporting.files import Issue, number, read_mapping, short_path
from data2vec.reporting.formats import Table
from data2vec.reporting.names import fmt, lower_is_better, metric_label, with_unit


@dataclass(frozen=True)
class Experiment:
    """One ablation: its file, and nothing that was measured."""

    name: str
    title: str
    modality: str
    axis: str  # the varied configuration key; several that take the value together are joined by " = "
    values: dict[str, list[str]]  # by scale; "default" is for those that are not named
    metric: str
    published: str = ""  # name of a table in ablations.csv
    claims: list[str] = field(default_factory=list)
    note: str = ""

    def points(self, scale: str) -> list[str]:
        """The values at a scale, as results.csv's `variant` spells them."""
        return self.values.get(scale, self.values.get("default", []))


@dataclass(frozen=True)
class Curve:
    """The published numbers of one ablation: `points` has series, label, x (NaN: a word) and value."""

    points: pd.DataFrame
    modality: str
    metric: str
    unit: str
    where: str  # method, model, data
    source: str

    @property
    def is_numeric(self) -> bool:
        """Whether the varied values are numbers."""
        return bool(self.points["x"].notna().all())

    @property
    def reference(self) -> str:
        """The series with the most points; the last of those with equally many."""
        counts = self.points["series"].value_counts(sort=False)
        return str(counts[counts == counts.max()].index[-1])


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
    values = content["values"] if isinstance(content["values"], dict) else {"default": content["values"]}
    return Experiment(
        name=name,
        title=str(content.get("title") or name.replace("_", " ")),
        modality=str((base or {}).get("modality") or ""),
        axis=" = ".join(map(str, _listed(content["axis"]))),
        values={str(scale): [label(value) for value in _listed(points)] for scale, points in values.items()},
        metric=str(content["metric"]),
        published=str(content.get("published") or ""),
        claims=[str(claim) for claim in _listed(content.get("claims") or [])],
        note=" ".join([str(content.get("note") or "").strip(), *_released(content.get("checkpoints"))]).strip(),
    )


def _released(checkpoints: Any) -> list[str]:
    """What others report of the weights that an experiment starts from, one sentence each."""
    found = checkpoints if isinstance(checkpoints, dict) else {}
    scores = {name: about.get("published") for name, about in found.items() if isinstance(about, dict)}
    return [f"{name}: published {score}." for name, score in scores.items() if score]


def undescribed(name: str, frame: pd.DataFrame) -> Experiment:
    """An experiment found in results.csv without a file: drawn with what the rows say."""
    rows = frame[frame["experiment"] == name]
    scores = sorted(
        set(rows["metric"]),
        key=lambda metric: (metric.endswith(("loss", "_var")), metric != "linear_top1", metric),
    )
    return Experiment(name, name.replace("_", " "), rows["modality"].iloc[0], "value", {}, scores[0])


def summary(experiment: Experiment, frame: pd.DataFrame) -> pd.DataFrame:
    """Mean, std and n per varied value (`label`, and `x` as a number or NaN), in the order of the axis."""
    rows = frame[(frame["experiment"] == experiment.name) & (frame["metric"] == experiment.metric)]
    found = stats.summarise(rows, ("scale", "modality", "dataset", "model", "variant", "unit"))
    found = found.rename(columns={"variant": "label"}).assign(x=found["variant"].map(number))
    if found["x"].notna().all():
        return found.sort_values(["scale", "dataset", "x"], kind="stable", ignore_index=True)
    listed = dict.fromkeys(value for points in experiment.values.values() for value in points)
    order = {value: index for index, value in enumerate(listed)}
    place = found["label"].map(lambda label: order.get(label, len(order)))
    return found.assign(place=place).sort_values(["scale", "dataset", "place", "label"], ignore_index=True)


def published_curve(experiment: Experiment, published: pd.DataFrame) -> Curve | None:
    """The published table that the experiment names, of its modality if there; None if there is none."""
    rows = published[(published["file"] == "ablations") & (published["table"] == experiment.published)]
    rows = rows.assign(number=rows["value"].map(number)).dropna(subset="number")
    if not experiment.published or rows.empty:
        return None
    first = rows[rows["modality"] == experiment.modality]
    first = (first if len(first) else rows).iloc[0]  # the paper may show it for another modality only
    rows = rows[(rows["modality"] == first["modality"]) & (rows["metric"] == first["metric"])]
    where = ", ".join(filter(None, (first["method"], first["model_size"], first["pretrain_data"])))
    source = first["source"].split(";")[0]
    return Curve(_points(rows), first["modality"], first["metric"], first["unit"], where, source)


def _points(rows: pd.DataFrame) -> pd.DataFrame:
    """Split each setting into the varied value and the rest ("M=2 masks per sample, batch size 64; …")."""
    labels = [setting.split(";")[0].strip() for setting in rows["setting"]]
    pattern = re.compile(r"(?<![A-Za-z\d.])\d+(?:\.\d+)?")  # "K=1", "51%"; not the 2 of "L2"
    hits = [pattern.search(label) for label in labels]
    series = [
        re.sub(r"^\W+", "", label[hit.end() :]) if hit else label for label, hit in zip(labels, hits, strict=True)
    ]
    start = {label[: hit.start()] for label, hit in zip(labels, hits, strict=True) if hit}
    # A curve has one beginning and several values a line; anything else is a list of named cases.
    if all(hits) and len(start) == 1 and len(set(series)) <= len(rows) / 2:
        x = [float(hit.group()) for hit in hits if hit]
        shared = _shared_start(series)
        cut = shared.rfind(", ") + 2 if ", " in shared else 0
        series = [name[cut:] for name in series] if len(set(series)) > 1 else ["published"] * len(x)
        short = [hit.group() for hit in hits if hit]
    else:
        common = _shared_start(labels)
        cut = common.rfind("= ") + 2 if "= " in common else 0
        x, series = [math.nan] * len(labels), ["published"] * len(labels)
        short = [label[cut:] for label in labels]
    return pd.DataFrame({"series": series, "label": short, "x": x, "value": list(rows["number"])})


def _shared_start(words: list[str]) -> str:
    """The longest beginning that all words have."""
    low, high = min(words), max(words)
    return low[: next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))]


def direction(experiment: Experiment, ours: pd.DataFrame, curve: Curve | None) -> str:
    """Whether ours and the published curve move the same way between the outermost shared values."""
    if curve is None:
        return "no published curve"
    pairs = [(row, hit) for row in ours.to_dict("records") if row["n"] and (hit := _same_point(row, curve)) is not None]
    if len(pairs) < 2:
        return "no two shared values"
    (low, low_published), (high, high_published) = pairs[0], pairs[-1]
    change = high["mean"] - low["mean"]
    if abs(change) <= stats.spread_of(low["std"]) + stats.spread_of(high["std"]) or min(low["n"], high["n"]) < 2:
        return "inconclusive at this scale"
    better = (change > 0) != lower_is_better(experiment.metric)
    published_better = (high_published > low_published) != lower_is_better(curve.metric)
    return "same direction" if better == published_better else "opposite direction"


def _same_point(row: dict[str, Any], curve: Curve) -> float | None:
    """The published value at our value, from the reference series."""
    curve_points = curve.points[curve.points["series"] == curve.reference]
    if math.isnan(row["x"]):
        hits = curve_points[curve_points["label"].str.lower() == row["label"].lower()]
    else:
        hits = curve_points[(curve_points["x"] - row["x"]).abs() < 1e-9]
    return None if hits.empty else float(hits["value"].iloc[0])


def table(experiment: Experiment, ours: pd.DataFrame, curve: Curve | None) -> Table:
    """One row per varied value: ours with n and spread, and the published number at the same value."""
    rows: list[tuple[str, ...]] = []
    for row in ours.to_dict("records"):
        numbers = (fmt(row["mean"], row["unit"]), str(row["n"]), fmt(row["std"], row["unit"]))
        ours_on = ", ".join(filter(None, (row["dataset"], row["model"])))
        if curve is None:
            rows.append((row["label"], *numbers, ours_on))
            continue
        beside = _same_point(row, curve)
        there = ("", "") if beside is None else (fmt(beside, curve.unit), curve.where)
        rows.append((row["label"], *numbers, there[0], ours_on, there[1]))
    columns: tuple[str, ...] = (experiment.axis, "ours", "n", "spread", "ours on")
    unit = ours["unit"].iloc[0] if len(ours) else ""
    note = f"ours: {with_unit(metric_label(experiment.metric), unit)}."
    if curve is not None:
        columns = (experiment.axis, "ours", "n", "spread", "published", "ours on", "published on")
        series = f", {curve.reference}" if curve.points["series"].nunique() > 1 else ""
        note += (
            f" published: {with_unit(curve.metric, curve.unit)}{series}, {curve.source}; "
            f"first against last shared value: {direction(experiment, ours, curve)}."
        )
    return Table(
        f"ablation_{experiment.name}",
        experiment.title,
        columns,
        rows,
        note,
        frozenset({"ours", "n", "spread", "published"}),
    )


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
