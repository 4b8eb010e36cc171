"""The published ablations (`config/published/ablations.csv`) as curves over the varied value."""

import math
import re
from dataclasses import dataclass
from typing import Any

import pandas as pd

from data2vec.reporting.files import number


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


def published_curve(
    table: str, modality: str, published: pd.DataFrame, names: dict[str, str] | None = None
) -> Curve | None:
    """A table of ablations.csv, its rows of `modality` if there are any; None if there is no such table.

    `names` (our value -> the published one) renames the varied values to ours.
    """
    rows = published[(published["file"] == "ablations") & (published["table"] == table)]
    rows = rows.assign(number=rows["value"].map(number)).dropna(subset="number")
    if not table or rows.empty:
        return None
    first = rows[rows["modality"] == modality]
    first = (first if len(first) else rows).iloc[0]  # the paper may show it for another modality only
    rows = rows[(rows["modality"] == first["modality"]) & (rows["metric"] == first["metric"])]
    where = ", ".join(filter(None, (first["method"], first["model_size"], first["pretrain_data"])))
    source = first["source"].split(";")[0]
    ours = {theirs: name for name, theirs in (names or {}).items()}
    points = _points(rows)
    points["label"] = points["label"].map(lambda name: ours.get(name, name))
    return Curve(points, first["modality"], first["metric"], first["unit"], where, source)


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


def same_point(row: dict[str, Any], curve: Curve) -> float | None:
    """The published value at our value, from the reference series."""
    points = curve.points[curve.points["series"] == curve.reference]
    if math.isnan(row["x"]) or not curve.is_numeric:
        hits = points[points["label"].str.lower() == row["label"].lower()]
    else:
        hits = points[(points["x"] - row["x"]).abs() < 1e-9]
    return None if hits.empty else float(hits["value"].iloc[0])
