"""One experiment beside its published curve: the direction, the trend, and the table."""

import pandas as pd

from data2vec.reporting import stats
from data2vec.reporting.experiments import Experiment, Part
from data2vec.reporting.formats import Table
from data2vec.reporting.names import (
    fmt,
    lower_is_better,
    method_label,
    method_rank,
    metric_label,
    modality_label,
    with_unit,
)
from data2vec.reporting.published_curves import Curve, same_point

LINE = ["scale", "dataset", "method", "model"]


def lines(ours: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """(name, points) of each line that one modality has; the name says what differs between the lines."""
    varied = [column for column in LINE if ours[column].nunique() > 1]
    found = []
    for key, part in ours.groupby(LINE, sort=True):
        words = dict(zip(LINE, key, strict=True)) | {"method": method_label(str(key[2]))}
        found.append((method_rank(str(key[2])), ", ".join(str(words[column]) for column in varied), part))
    return [(name, part) for _, name, part in sorted(found, key=lambda line: line[:2])]


def directions(experiment: Experiment, part: Part) -> list[str]:
    """The direction of each line of one modality, as words for a reader; none without a published curve."""
    if part.curve is None:
        return []
    found = {name: direction(experiment, line, part.curve) for name, line in lines(part.ours)}
    if len(set(found.values())) == 1:
        return list(found.values())[:1]
    return [f"{name}: {words}" for name, words in found.items()]


def trends(part: Part) -> list[str]:
    """The trend of each line of one modality; none where the axis has no order."""
    found = [(name, words) for name, line in lines(part.ours) if (words := stats.trend(line))]
    if len({words for _, words in found}) == 1:
        return [found[0][1]]
    return [f"{name}: {words}" if name else words for name, words in found]


def direction(experiment: Experiment, ours: pd.DataFrame, curve: Curve | None) -> str:
    """Whether ours and the published curve get better or worse alike between the outermost shared values."""
    if curve is None:
        return "no published curve"
    pairs = [(row, hit) for row in ours.to_dict("records") if row["n"] and (hit := same_point(row, curve)) is not None]
    if len(pairs) < 2:
        return "no two shared values"
    (low, low_published), (high, high_published) = pairs[0], pairs[-1]
    change = high["mean"] - low["mean"]
    if min(low["n"], high["n"]) < 2:
        return "one run, no verdict"
    if abs(change) <= stats.spread_of(low["std"]) + stats.spread_of(high["std"]):
        return "inconclusive at this scale"
    better = (change > 0) != lower_is_better(experiment.metric)
    published_better = (high_published > low_published) != lower_is_better(curve.metric)
    return "same direction" if better == published_better else "opposite direction"


def table(experiment: Experiment, parts: list[Part]) -> Table:
    """One row per varied value: ours with n and spread, and the published number at the same value."""
    every = pd.concat([part.ours for part in parts], ignore_index=True) if parts else pd.DataFrame()
    has_curve = any(part.curve is not None for part in parts)
    several = {"modality": len(parts) > 1, "method": len(every) > 0 and every["method"].nunique() > 1}
    rows: list[tuple[str, ...]] = []
    for part in parts:
        for row in part.ours.to_dict("records"):
            names = {"modality": modality_label(part.modality), "method": method_label(row["method"])}
            first = [row["label"], *(words for key, words in names.items() if several[key])]
            numbers = [fmt(row["mean"], row["unit"]), str(row["n"]), fmt(row["std"], row["unit"])]
            beside = same_point(row, part.curve) if part.curve is not None else None
            there = ["", ""] if beside is None or part.curve is None else [fmt(beside, "%"), part.curve.where]
            on = ", ".join(filter(None, (row["dataset"], row["model"])))
            rows.append((*first, *numbers, *([there[0], on, there[1]] if has_curve else [on])))
    columns = [experiment.axis, *(key for key, is_shown in several.items() if is_shown), "ours", "n", "spread"]
    columns += ["published", "ours on", "published on"] if has_curve else ["ours on"]
    numeric = frozenset({"ours", "n", "spread", "published"})
    notes = " ".join([_unit_note(experiment, every), *(note for part in parts if (note := _note(experiment, part)))])
    return Table(f"ablation_{experiment.name}", experiment.title, tuple(columns), rows, notes, numeric)


def _unit_note(experiment: Experiment, every: pd.DataFrame) -> str:
    unit = every["unit"].iloc[0] if len(every) else ""
    better = ", lower is better" if lower_is_better(experiment.metric) else ""
    return f"ours: {with_unit(metric_label(experiment.metric), unit)}{better}."


def _note(experiment: Experiment, part: Part) -> str:
    if part.curve is None:
        return ""
    curve = part.curve
    series = f", {curve.reference}" if curve.points["series"].nunique() > 1 else ""
    found = "; ".join(directions(experiment, part))
    return (
        f"published beside {modality_label(part.modality).lower()}: {with_unit(curve.metric, curve.unit)}{series}, "
        f"{curve.source}; first against last shared value: {found}."
    )
