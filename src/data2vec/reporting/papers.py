"""`python -m data2vec report paper=NAME`: one table or figure of a paper, at the scale that was run."""

import html
import logging
from pathlib import Path
from typing import Any

import pandas as pd

from data2vec.papers import Paper, read_papers
from data2vec.reporting import drawing, experiments, glue
from data2vec.reporting.collect import collect
from data2vec.reporting.drawing import Figure
from data2vec.reporting.figures_ablation import ablation
from data2vec.reporting.figures_cost import cost
from data2vec.reporting.files import Issue, write_text
from data2vec.reporting.formats import Table, to_csv, to_html, to_markdown
from data2vec.reporting.paper_curves import hours, points
from data2vec.reporting.paper_recipes import recipe
from data2vec.reporting.paper_scores import scores
from data2vec.reporting.published import load_published
from data2vec.reporting.shared import with_shared_points
from data2vec.settings import known

log = logging.getLogger(__name__)


def build_paper(name: str, results: Path, reports: Path, config: dict[str, Path], scale: str | None = None) -> Path:
    """Write `reports/papers/<name>.{md,csv,html}` and its pictures; returns the Markdown file.

    Args:
        name: an entry of `config/papers.yaml`.
        results: folder with `<scale>/<modality>/<run>/seed<k>/`; what is not there is said in the table.
        reports: folder to write to.
        config: the file `papers`, and the folders `published` and `experiments`.
        scale: report on this scale only; None for all that are there.

    Raises:
        UserError: the paper has no such table or figure.
    """
    papers = read_papers(config["papers"])
    paper = papers[known(name, list(papers), "table or figure")]
    frame = glue.with_average(with_shared_points(collect(results, scale).frame, config["experiments"]))
    issues: list[Issue] = []
    published = load_published(config["published"], issues)
    described = experiments.load_experiments(config["experiments"], issues)
    with drawing.style():
        table, figures = LAYOUTS[paper.layout](paper, frame, published, described)
        figures = [drawing.renamed(figure, name) for figure, name in zip(figures, paper.figures, strict=True)]
        folder = reports / "papers"
        for figure in figures:
            drawing.save(figure, folder)
    _write(table, figures, paper, scale, folder)
    for issue in issues:
        log.warning("%s: %s", issue.kind, issue.what)
    return folder / f"{name}.md"


def _write(table: Table, figures: list[Figure], paper: Paper, scale: str | None, folder: Path) -> None:
    command = f"snakemake --cores all paper_{paper.name}" + (f" --config scale={scale}" if scale else "")
    state = f"{paper.state}: {paper.why}." if paper.why else f"{paper.state}."
    write_text(folder / f"{paper.name}.csv", to_csv(table))
    pictures = "\n\n".join(f"![{figure.alt}]({figure.name}.png)\n\n{figure.caption}" for figure in figures)
    parts = (to_markdown(table).rstrip(), pictures, f"State: {state}", f"Made by `{command}`.")
    write_text(folder / f"{paper.name}.md", "\n\n".join(filter(None, parts)) + "\n")
    drawn = "".join(
        f'<figure><img src="{figure.name}.png" alt="{html.escape(figure.alt, quote=True)}">'
        f"<figcaption>{html.escape(figure.caption)}</figcaption></figure>\n"
        for figure in figures
    )
    css = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(table.title)}</title><style>{css}</style></head><body><main>\n"
        f"<h1>{html.escape(table.title)}</h1>\n"
        f'<div class="scroll" tabindex="0" role="region" aria-label="{html.escape(table.title, quote=True)}">\n'
        f"{to_html(table)}</div>\n<p>{html.escape(table.note)}</p>\n{drawn}"
        f"<p>State: {html.escape(state)}</p>\n<p>Made by <code>{html.escape(command)}</code>.</p>\n"
        "</main></body></html>\n"
    )
    write_text(folder / f"{paper.name}.html", page)


def _scores(paper: Paper, frame: pd.DataFrame, published: pd.DataFrame, _: Any) -> tuple[Table, list[Figure]]:
    rows = rows_of(paper, published)
    # ablations.csv repeats some of a table's averages
    return scores(paper, frame, rows[(rows["metric"] != "pretrain_time") & (rows["file"] != "ablations")]), []


def _ablation(
    paper: Paper, frame: pd.DataFrame, published: pd.DataFrame, described: dict[str, experiments.Experiment]
) -> tuple[Table, list[Figure]]:
    chosen = [described[known(name, list(described), f"experiment of {paper.name}")] for name in paper.experiments]
    parts = [experiments.parts(experiment, frame, published) for experiment in chosen]
    figures = [ablation(experiment, part) for experiment, part in zip(chosen, parts, strict=True)]
    return points(paper, chosen, parts, rows_of(paper, published)), figures


def _time(paper: Paper, frame: pd.DataFrame, published: pd.DataFrame, _: Any) -> tuple[Table, list[Figure]]:
    figures = [cost(frame[frame["modality"] == modality], published, modality) for modality in paper.modalities]
    return hours(paper, frame, rows_of(paper, published)), figures


def _recipe(paper: Paper, _: Any, published: pd.DataFrame, __: Any) -> tuple[Table, list[Figure]]:
    return recipe(paper, rows_of(paper, published)), []


def _none(paper: Paper, *_: Any) -> tuple[Table, list[Figure]]:
    return Table(paper.name, f"{paper.item}: {paper.title}", ("state", "why"), [(paper.state, paper.why)]), []


def rows_of(paper: Paper, published: pd.DataFrame) -> pd.DataFrame:
    """The published rows of one table or figure: those whose source names it."""
    return published[published["source"].str.contains(paper.source, regex=False)] if paper.source else published[:0]


LAYOUTS = {"scores": _scores, "ablation": _ablation, "time": _time, "recipe": _recipe, "none": _none}
