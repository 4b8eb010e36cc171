"""Tables in text: rows of tab-separated fields without quoting, as GLUE's files are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from data2vec.errors import UserError


@dataclass(frozen=True)
class Table:
    """Rows with the line that each stands on, and how many were left out as malformed."""

    columns: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]
    left_out: int = 0

    def column(self, name: str) -> list[str]:
        """The fields of one column."""
        place = self.columns.index(name)
        return [row[place] for row in self.rows]


def parse_table(
    content: bytes, where: str, columns: Sequence[str] | None = None, skip_malformed: bool = False
) -> Table:
    r"""Rows of a file's content; `columns` where the file has no header line.

    Lines end in \n or \r\n and nothing else; quotation marks are text. With `skip_malformed`, rows with another
    number of fields are left out and counted.

    Raises:
        UserError: with `where` and the line: not UTF-8, NUL, empty, or a row with another number of fields.
    """
    text = _decode(content, where)
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise UserError(f"{where} is empty")
    names = tuple(columns) if columns else tuple(lines[0].split("\t"))
    first = 0 if columns else 1
    rows, numbers, left_out = [], [], 0
    for number, line in enumerate(lines[first:], start=first + 1):
        fields = line.split("\t")
        if len(fields) == len(names):
            rows.append(fields)
            numbers.append(number)
        elif skip_malformed:
            left_out += 1
        else:
            expected = f"{len(names)}, {', '.join(names)}"
            raise UserError(f"{where}, line {number}: {len(fields)} columns instead of {expected}")
    if not rows:
        raise UserError(f"{where} holds no rows under its header")
    return Table(names, rows, numbers, left_out)


def _decode(content: bytes, where: str) -> str:
    """Text of a file that may begin with a byte-order mark."""
    if (place := content.find(b"\0")) >= 0:
        line = content.count(b"\n", 0, place) + 1
        raise UserError(f"{where}, line {line}: holds a NUL byte, so it is damaged or not text in UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{where}, line {line}: not UTF-8 text; convert it, for instance with iconv -f latin1 -t utf-8"
        ) from None
