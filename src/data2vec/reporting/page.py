"""reports/index.html: one page with everything in it - style, tables and figures - that needs no network.

The page is a function of the runs: it holds the dates of the runs, not of the rendering, so the same
results give the same page.
"""

import base64
import logging
from dataclasses import dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup

from data2vec.reporting.claims import Claims
from data2vec.reporting.drawing import Figure
from data2vec.reporting.files import Issue, write_text
from data2vec.reporting.formats import Table, to_html
from data2vec.reporting.names import method_label
from data2vec.reporting.sections import Section

TEMPLATE = "index.html.j2"
SIZE_LIMIT = 5 * 2**20  # bytes: beyond it mail servers and phones begin to refuse a page

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AblationPart:
    """One experiment as the page shows it."""

    name: str
    title: str
    note: str
    claims: list[str]
    directions: list[str]
    has_published: bool  # whether the figure shows a published curve
    figure: Figure
    table: Table
    curves: list[Figure]


@dataclass(frozen=True)
class Page:
    """Everything the template reads."""

    scales: list[str]
    sections: list[Section]  # one a modality
    ablations: list[AblationPart]
    claims: list[Claims]  # one a scale
    issues: list[Issue]
    provenance: list[tuple[str, str]]
    recipes: dict[str, str]  # figure -> the command that makes it again
    commands: list[tuple[str, str]]  # (run, the command that made it)
    everything: str  # makes all runs and the page
    command: str  # rebuilds the page from the run folders


def write_page(page: Page, figures: Path, target: Path) -> Path:
    """Render the page with the PNGs found in `figures` and write it to `target`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["table"] = lambda table: Markup(to_html(table))
    environment.filters["inline"] = lambda figure: data_uri(figures / f"{figure.name}.png")
    environment.filters["recipe"] = lambda figure: page.recipes[figure.name]
    environment.filters["kinds"] = _by_kind
    environment.filters["method_label"] = method_label
    text = environment.get_template(TEMPLATE).render(page=page)
    if len(text.encode()) > SIZE_LIMIT:
        log.warning("%s is %.1f MB; the figures are in %s as files too", target, len(text) / 1e6, figures)
    write_text(target, text)
    return target


def data_uri(image: Path) -> str:
    """A PNG as a `data:` address."""
    return "data:image/png;base64," + base64.b64encode(image.read_bytes()).decode("ascii")


def _by_kind(issues: list[Issue]) -> list[tuple[str, list[str]]]:
    """Issues grouped by kind, in the order of what a reader should act on first."""
    order = ("unreadable", "not a number", "doubled", "missing", "not run", "no published number")
    kinds = sorted(
        {issue.kind for issue in issues}, key=lambda kind: order.index(kind) if kind in order else len(order)
    )
    return [(kind, [issue.what for issue in issues if issue.kind == kind]) for kind in kinds]
