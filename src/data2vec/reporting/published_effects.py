"""The published effects that the claims ledger points at, looked up in `config/published/*.csv`."""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from data2vec.reporting.files import Issue, number
from data2vec.reporting.ledger import PublishedEffect, PublishedRow
from data2vec.reporting.names import fmt, lower_is_better, modality_label

ABSENT = "no published row"
KEYS = ("table", "file", "modality", "method", "model_size", "metric")
BEGINNINGS = {"length": "pretrain_epochs_or_updates", "setting": "setting"}


@dataclass(frozen=True)
class Published:
    """A published effect in words, with its sources; "no published row" where the tables lack one."""

    modality: str | None
    words: str
    source: str = ""

    def __str__(self) -> str:
        return f"{modality_label(self.modality)} {self.words}" if self.modality else self.words


def published_effects(
    owner: str, effects: Iterable[PublishedEffect], numbers: pd.DataFrame, issues: list[Issue]
) -> list[Published]:
    """What the papers report for a claim or comparison (`owner`); an absent row is an issue."""
    found = []
    for effect in effects:
        rows = [_row(one, numbers) for one in (effect.row, effect.a, effect.b) if one is not None]
        lacking = [reason for reason in rows if isinstance(reason, str)]
        issues += [Issue("no published number", f"{owner}: {reason}") for reason in lacking]
        there = [row for row in rows if not isinstance(row, str)]
        found.append(Published(effect.modality, ABSENT) if lacking else _published(effect, there))
    return found


def _row(key: PublishedRow, numbers: pd.DataFrame) -> dict[str, str] | str:
    """The one row that fits, or in words why there is none."""
    fits = pd.Series(True, index=numbers.index)
    for name in KEYS:
        if wanted := getattr(key, name):
            fits &= numbers[name] == wanted
    for name, column in BEGINNINGS.items():
        if wanted := getattr(key, name):
            fits &= numbers[column].str.startswith(wanted)
    rows = numbers[fits & numbers["value"].map(number).notna() & ~numbers["setting"].str.contains("superseded")]
    if len(rows) == 1:
        return dict(rows.iloc[0])
    given = ", ".join(f"{name} {value}" for name, value in key.model_dump(exclude_defaults=True).items())
    return f"{len(rows) or 'no'} published rows with {given}, one is needed"


def _published(effect: PublishedEffect, rows: list[dict[str, str]]) -> Published:
    modality = effect.modality
    values = [number(row["value"]) for row in rows]
    source = "; ".join(dict.fromkeys(row["source"].split(";")[0] for row in rows))
    if len(rows) == 1:
        unit = "times" if rows[0]["unit"] == "x" else rows[0]["unit"]
        return Published(modality, f"{fmt(values[0])} {unit}", source)
    if effect.form == "ratio":
        words = f"{fmt(values[0] / values[1])} times ({values[0]:g}, {values[1]:g} {rows[0]['unit']})"
        return Published(modality, words, source)
    gain = (values[0] - values[1]) * (-1 if lower_is_better(rows[0]["metric"]) else 1)
    return Published(modality, f"{fmt(gain, 'points', signed=True)} points ({values[0]:g}, {values[1]:g})", source)
