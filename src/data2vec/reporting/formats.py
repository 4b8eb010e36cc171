"""One table of text cells -> Markdown, CSV, LaTeX and HTML, with the same cells in all four."""

import csv
import html
import io
from dataclasses import dataclass, field
from pathlib import Path

from data2vec.reporting.files import write_text

EMPTY = "\u2013"  # how an empty cell reads, except in CSV
LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\u2013": "--",
    "±": r"$\pm$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


@dataclass(frozen=True)
class Table:
    """Rows of finished text. `numeric` columns are set flush right; `muted` rows are set back on the page."""

    name: str  # file name without suffix
    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    note: str = ""
    numeric: frozenset[str] = frozenset()
    status_column: str = ""
    strong: frozenset[int] = field(default_factory=frozenset)  # rows that a reader should find first


def write_table(table: Table, folder: Path) -> list[Path]:
    """Write `table` into `folder` in all four formats and return the paths."""
    writers = {"md": to_markdown, "csv": to_csv, "tex": to_latex, "html": to_html}
    paths = []
    for suffix, writer in writers.items():
        paths.append(folder / f"{table.name}.{suffix}")
        write_text(paths[-1], writer(table))
    return paths


def to_csv(table: Table) -> str:
    """CSV with an empty cell where nothing is known."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([table.columns, *table.rows])
    return buffer.getvalue()


def to_markdown(table: Table) -> str:
    """A GitHub-style table under its title."""

    def line(cells: tuple[str, ...]) -> str:
        return "| " + " | ".join((cell or EMPTY).replace("|", "\\|") for cell in cells) + " |"

    rule = "|" + "|".join("---:" if column in table.numeric else "---" for column in table.columns) + "|"
    parts = [f"**{table.title}**", "", line(table.columns), rule, *map(line, table.rows)]
    return "\n".join(parts + (["", table.note] if table.note else [])) + "\n"


def to_latex(table: Table) -> str:
    """A `tabular` for the booktabs package, without float: the paper decides where it stands."""

    def line(cells: tuple[str, ...]) -> str:
        return " & ".join(_escape(cell or EMPTY) for cell in cells) + r" \\"

    align = "".join("r" if column in table.numeric else "l" for column in table.columns)
    head = [f"% {table.title}", r"% needs \usepackage{booktabs}"]
    body = [rf"\begin{{tabular}}{{{align}}}", r"\toprule", line(table.columns), r"\midrule"]
    tail = [r"\bottomrule", r"\end{tabular}"]
    note = [f"% {table.note}"] if table.note else []
    return "\n".join([*head, *note, *body, *map(line, table.rows), *tail]) + "\n"


def to_html(table: Table) -> str:
    """A `<table>` with a caption and column scopes; the page brings the style."""
    head = "".join(f'<th scope="col"{_class(table, column)}>{html.escape(column)}</th>' for column in table.columns)
    lines = [
        "<table>",
        f"<caption>{html.escape(table.title)}</caption>",
        f"<thead><tr>{head}</tr></thead>",
        "<tbody>",
    ]
    for index, row in enumerate(table.rows):
        cells = []
        for position, (column, cell) in enumerate(zip(table.columns, row, strict=True)):
            text = html.escape(cell) if cell else f'<span class="none">{EMPTY}</span>'
            if column == table.status_column and cell:
                text = f'<span class="status {_kind(cell)}">{text}</span>'
            tag = 'th scope="row"' if position == 0 else "td"
            cells.append(f"<{tag}{_class(table, column)}>{text}</{tag[:2]}>")
        mark = ' class="strong"' if index in table.strong else ""
        lines.append(f"<tr{mark}>{''.join(cells)}</tr>")
    return "\n".join([*lines, "</tbody>", "</table>"]) + "\n"


def _class(table: Table, column: str) -> str:
    return ' class="number"' if column in table.numeric else ""


def _kind(status: str) -> str:
    """CSS class of a status phrase: colour only repeats what the words say."""
    if status in ("reproduced", "better than every control", "better than published", "same direction", "supported"):
        return "good"
    if status.startswith(("worse", "opposite", "unreadable", "not a number", "contradicted")):
        return "bad"
    return "plain"


def _escape(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)
