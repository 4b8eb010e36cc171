"""The published numbers (`config/published/*.csv`) and which of them belongs beside which of ours.

A match never hides that it is loose: `status` says in words how far a published number and ours may
be compared. "reproduced" needs the same data, the same model and a spread over seeds.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from data2vec.reporting.files import Issue, number, short_path

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


@dataclass(frozen=True)
class Rule:
    """Which published rows measure the same thing as one of our metrics."""

    modality: str
    metric: str
    method: str  # as in results.csv
    table: str
    published_method: str
    published_metric: str
    setting: str  # the published setting starts with this


FINETUNED = "end-to-end fine-tuning, 224 px"
RULES = (
    Rule("vision", "finetune_top1", "data2vec2", "d2v_comparison", "data2vec 2.0", "top1_acc", FINETUNED),
    Rule("vision", "finetune_top1", "data2vec", "d2v_comparison", "data2vec", "top1_acc", FINETUNED),
    Rule(
        "vision",
        "finetune_top1",
        "from scratch",
        "original_source_check",
        "supervised from scratch (MAE authors)",
        "top1_acc",
        "supervised training from scratch",
    ),
    Rule("vision", "linear_top1", "data2vec2", "frozen_features", "data2vec 2.0", "top1_acc", "frozen-feature"),
    Rule("vision", "linear_top1", "data2vec", "frozen_features", "data2vec", "top1_acc", "linear evaluation"),
)


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


def match(published: pd.DataFrame, modality: str, metric: str, method: str, model: str) -> PublishedNumber | None:
    """The published number for one of our rows: the same model size if there is one, else the smallest."""
    for rule in RULES:
        if (rule.modality, rule.metric, rule.method) != (modality, metric, method):
            continue
        rows = published[
            (published["modality"] == modality)
            & (published["table"] == rule.table)
            & (published["method"] == rule.published_method)
            & (published["metric"] == rule.published_metric)
            & published["setting"].str.startswith(rule.setting)
            & ~published["setting"].str.contains("superseded")
        ]
        found = [row for row in map(_as_number, rows.to_dict("records")) if math.isfinite(row.value)]
        if found:
            ours = size_of(model)
            return min(found, key=lambda row: (size_of(row.model) != ours, not row.checked, _size_rank(row.model)))
    return None


def status(ours: float, std: float, n: int, ours_on: tuple[str, str], published: PublishedNumber | None) -> str:
    """One phrase for the pair: how far it may be compared and, if it may, how it came out."""
    data, model = ours_on
    if n == 0:
        return "not run"
    if published is None:
        return "no published number"
    if not same_data(data, published.data):
        return "other data, not comparable"
    if size_of(model) != size_of(published.model):
        return "other model, not comparable"
    if not published.checked:
        return "published value unchecked"
    if n < 2:
        return "one run, no verdict"
    difference = ours - published.value
    if abs(difference) <= std:
        return "reproduced"
    return "above published" if difference > 0 else "below published"


def same_data(ours: str, published: str) -> bool:
    """Whether two data sets are the same one ("imagenet" is ImageNet-1K)."""
    return _plain(ours).removesuffix("1k") == _plain(published).removesuffix("1k")


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
