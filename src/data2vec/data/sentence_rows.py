"""Sentences or pairs of sentences with their labels, out of a table of any layout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from data2vec.data.tables import Table
from data2vec.errors import UserError


@dataclass
class Labelled:
    """One split: sentences, their partners in tasks of pairs, and labels where they are known.

    Labels are names of classes or, for scores, numbers as text. `left_out`: rows that were malformed.
    """

    texts: list[str]
    partners: list[str] | None
    labels: list[str] | None
    index: list[str]
    left_out: int = 0


def to_labelled(
    table: Table,
    where: str,
    text: str,
    text2: str | None,
    label: str | None,
    classes: Sequence[str],
    index: str | None = None,
    lenient: bool = False,
) -> Labelled:
    """The named columns of a table; without `classes`, labels are numbers. `lenient`: a text may be empty.

    Raises:
        UserError: with file and line: a column is missing, a text is empty, a label is none of `classes`.
    """
    for name in filter(None, (text, text2, label, index)):
        if name not in table.columns:
            raise UserError(f"{where}, line 1: no column {name!r} among {', '.join(table.columns)}")
    texts = [table.column(name) for name in (text, text2) if name]
    for column in texts if not lenient else ():
        for line, value in zip(table.lines, column, strict=True):
            if not value.strip():
                raise UserError(f"{where}, line {line}: the sentence is empty")
    labels = table.column(label) if label else None
    if labels is not None:
        _check_labels(labels, table, where, classes)
    numbers = table.column(index) if index else [str(i) for i in range(len(table.rows))]
    return Labelled(texts[0], texts[1] if text2 else None, labels, numbers, table.left_out)


def _check_labels(labels: list[str], table: Table, where: str, classes: Sequence[str]) -> None:
    for line, value in zip(table.lines, labels, strict=True):
        if classes and value not in classes:
            raise UserError(f"{where}, line {line}: unknown label {value!r}, known are {', '.join(classes)}")
        if not classes and not _is_number(value):
            raise UserError(f"{where}, line {line}: the score {value!r} is not a number")


def _is_number(value: str) -> bool:
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False
