"""The published numbers (`config/published/*.csv`) and which of them belongs beside which of ours.

A match never hides that it is loose: `status` says in words how far a published number and ours may
be compared. "reproduced" needs the same data, the same model and a spread over seeds.
"""

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from data2vec.reporting.files import Issue, number, short_path
from data2vec.reporting.names import lower_is_better
from data2vec.reporting.rules import RULES

ONE_RUN = "one run, no verdict"
FILES = ("vision", "speech", "text", "ablations", "efficiency")
COLUMNS = (
    "table",
    "modality",
    "method",
    "model_size",
    "pretrain_data",
    "pretrain_epochs_or_updates",
    "setting",
    "metric",
    "value",
    "unit",
    "source",
    "confidence",
)


# Our names of pre-training data -> the papers'.
SAME_DATA = {"librispeech": "ls960", "bookswikipedia": "bookscorpusenglishwikipedia"}


@dataclass(frozen=True)
class PublishedNumber:
    """One published number beside ours."""

    value: float
    data: str
    model: str
    schedule: str
    setting: str
    source: str
    checked: bool  # the value was seen in its source and its protocol is known
    measured_on: str = ""  # our name of the data set that it was measured on; "" if that is `data`

    @property
    def where(self) -> str:
        """Data, model and length of training: "ImageNet-1K, ViT-B, 800 epochs"."""
        return ", ".join(filter(None, (self.data, self.model, self.schedule)))


def load_published(folder: Path, issues: list[Issue]) -> pd.DataFrame:
    """All five files as one frame of text; a file that is absent or unreadable is an issue."""
    parts = []
    for name in FILES:
        path = folder / f"{name}.csv"
        try:
            part = pd.read_csv(path, dtype=str, keep_default_na=False)
        except FileNotFoundError:
            issues.append(Issue("no published number", f"{short_path(path)} is not there"))
            continue
        except (OSError, ValueError) as error:
            issues.append(Issue("unreadable", f"{short_path(path)}: {error}"))
            continue
        lacking = [column for column in COLUMNS if column not in part]
        if lacking:
            issues.append(Issue("unreadable", f"{short_path(path)}: no column {', '.join(lacking)}"))
            continue
        parts.append(part.assign(file=name)[[*COLUMNS, "file"]])
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*COLUMNS, "file"])


def match(published: pd.DataFrame, record: dict[str, Any]) -> PublishedNumber | None:
    """The published number for one of our scores: the same model size if there is one, else the smallest."""
    for rule in RULES:
        if any(getattr(rule, key) != record[key] for key in ("modality", "metric", "method")):
            continue
        if rule.dataset not in ("", record["dataset"]):
            continue
        rows = published[
            (published["table"] == rule.table)
            & (published["method"] == rule.published_method)
            & (published["metric"] == rule.published_metric)
            & published["setting"].str.startswith(rule.setting)
            & ~published["setting"].str.contains("superseded")
        ]
        found = [row for row in map(_as_number, rows.to_dict("records")) if math.isfinite(row.value)]
        if found:
            ours = size_of(record["model"])
            best = min(found, key=lambda row: (size_of(row.model) != ours, not row.checked, _size_rank(row.model)))
            elsewhere = "" if rule.modality == "vision" else rule.dataset or "another data set"
            return replace(best, measured_on=elsewhere)
    return None


def is_comparable(record: dict[str, Any], pretrained_on: str, published: PublishedNumber) -> bool:
    """Whether a score of ours is of the same data, in pre-training and in measuring, and the same model size."""
    return status(record["mean"], math.nan, 1, record, pretrained_on, published) == ONE_RUN


def status(
    ours: float, std: float, n: int, record: dict[str, Any], pretrained_on: str, published: PublishedNumber | None
) -> str:
    """One phrase for the pair: how far it may be compared and, if it may, how it came out.

    `record` has the score's dataset, model and metric; `pretrained_on` is "" for what was not pre-trained.
    """
    if n == 0:
        return "not run"
    if published is None:
        return "no published number"
    on_same = same_data(record["dataset"], published.measured_on or published.data)
    if not on_same or (pretrained_on and not same_data(pretrained_on, published.data)):
        return "other data, not comparable"
    if size_of(record["model"]) != size_of(published.model):
        return "other model, not comparable"
    if not published.checked:
        return "published value unchecked"
    if n < 2:
        return ONE_RUN
    difference = ours - published.value
    if abs(difference) <= std:
        return "reproduced"
    return "better than published" if (difference > 0) != lower_is_better(record["metric"]) else "worse than published"


def same_data(ours: str, published: str) -> bool:
    """Whether two data sets are the same one ("imagenet" is ImageNet-1K, "librispeech" is LS-960)."""
    first, second = (_plain(name).removesuffix("1k") for name in (ours, published))
    return first == second or SAME_DATA.get(first) == second


def size_of(model: str) -> str:
    """Our name of a model size: "base" for "Base", "ViT-B" and "base"."""
    short = re.fullmatch(r"vit-?([sblh])(/\d+)?", model.strip().lower())
    words = {"s": "small", "b": "base", "l": "large", "h": "huge"}
    return words[short[1]] if short else model.strip().lower()


def _size_rank(model: str) -> int:
    order = ("small", "base", "large", "huge")
    return order.index(size_of(model)) if size_of(model) in order else len(order)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _as_number(row: dict[str, str]) -> PublishedNumber:
    return PublishedNumber(
        value=number(row["value"]),
        data=row["pretrain_data"] if row["pretrain_data"] != "none" else "ImageNet-1K",
        model=row["model_size"],
        schedule=row["pretrain_epochs_or_updates"],
        setting=row["setting"],
        source=row["source"].split(";")[0],
        checked=row["confidence"] == "seen" and "not checked" not in row["setting"],
    )
