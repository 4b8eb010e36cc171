"""`python -m data2vec report`: run folders in, results.csv, tables, figures and one page out."""

import logging
from pathlib import Path

import pandas as pd

from data2vec.errors import UserError
from data2vec.reporting import drawing, figures, figures_curves, figures_masked, summary, tables
from data2vec.reporting import experiments as exp
from data2vec.reporting.collect import Collected, collect, load_results, save_results
from data2vec.reporting.drawing import Figure
from data2vec.reporting.figures_ablation import ablation
from data2vec.reporting.files import Issue, short_path
from data2vec.reporting.formats import write_table
from data2vec.reporting.gaps import find_gaps
from data2vec.reporting.page import AblationPart, Page, write_page
from data2vec.reporting.published import load_published

log = logging.getLogger(__name__)


def build_report(results: Path, reports: Path, published: Path, experiments: Path, scale: str | None = None) -> Path:
    """Write the whole report into `reports` and return the path of its index.html.

    Args:
        results: folder with `<scale>/<modality>/<run>/seed<k>/`.
        reports: folder to write to; made if absent.
        published: folder with the published numbers (`vision.csv` …).
        experiments: folder with the experiment files; may be absent.
        scale: report on this scale only; None for all that are there.

    Raises:
        UserError: there is nothing to report.
    """
    collected = collect(results, scale)
    if collected.frame.empty:
        raise UserError(_nothing(results, scale, collected.issues))
    save_results(collected.frame, reports / "results.csv")
    frame = load_results(reports / "results.csv")  # all that follows is made from the file a reader gets
    issues = list(collected.issues)
    known = exp.load_experiments(experiments, issues)
    numbers = load_published(published, issues)
    with drawing.style():
        page = _page(frame, numbers, known, collected, issues, _command(results, reports, published, scale))
        for figure in _figures(page):
            drawing.save(figure, reports / "figures")
        for table in [page.headline, page.controls, page.cost, *(part.table for part in page.ablations)]:
            write_table(table, reports / "tables")
    write_table(tables.missing(page.issues), reports / "tables")
    target = write_page(page, reports / "figures", reports / "index.html")
    log.info(
        "report: %d measurements of %d runs, %d gaps, in %s",
        len(frame),
        len(collected.runs),
        len(page.issues),
        target,
    )
    return target


def _page(
    frame: pd.DataFrame,
    numbers: pd.DataFrame,
    known: dict[str, exp.Experiment],
    collected: Collected,
    issues: list[Issue],
    command: str,
) -> Page:
    """Draw and tabulate everything; `issues` gains what is found on the way."""
    steps = figures_curves.load_curves(collected.runs, issues)
    run = sorted(set(frame["experiment"]) - {"main"})
    parts = [_ablation(known.get(name) or exp.undescribed(name, frame), frame, numbers, steps) for name in run]
    masked = figures_masked.masked(collected.runs, issues)
    return Page(
        scales=sorted(set(frame["scale"])),
        sentences=summary.sentences(frame, collected.runs),
        tiles=summary.tiles(frame),
        headline=tables.headline(frame, numbers),
        controls=tables.controls(frame),
        cost=tables.cost(frame),
        scores_figure=figures.headline(frame, numbers),
        masked_figure=masked,
        curves_figure=figures_curves.curves(steps),
        cost_figure=figures.cost(frame, numbers),
        ablations=parts,
        issues=sorted({*issues, *find_gaps(frame, numbers, known)}),
        provenance=summary.provenance(collected.runs),
        commands=_commands(collected),
        command=command,
    )


def _ablation(
    experiment: exp.Experiment, frame: pd.DataFrame, numbers: pd.DataFrame, steps: pd.DataFrame
) -> AblationPart:
    ours = exp.summary(experiment, frame)
    curve = exp.published_curve(experiment, numbers)
    return AblationPart(
        name=experiment.name,
        title=experiment.title,
        note=experiment.note,
        claims=experiment.claims,
        direction=exp.direction(experiment, ours, curve),
        figure=ablation(experiment, ours, curve),
        table=exp.table(experiment, ours, curve),
        curves=figures_curves.curves(steps, experiment.name, experiment.axis),
    )


def _figures(page: Page) -> list[Figure]:
    ablations = [figure for part in page.ablations for figure in (part.figure, part.curves)]
    return [page.scores_figure, page.masked_figure, page.curves_figure, page.cost_figure, *ablations]


def _commands(collected: Collected) -> list[tuple[str, str]]:
    """One line per main run (first seed): the command recorded when it was made."""
    found: dict[str, str] = {}
    for run in collected.runs:
        command = run.provenance.get("command")
        if run.experiment == "main" and isinstance(command, str) and command:
            found.setdefault(short_path(run.path), command)
    return sorted(found.items())


def _command(results: Path, reports: Path, published: Path, scale: str | None) -> str:
    places = {"results": results, "reports": reports, "published": published}
    words = [f"{key}={short_path(path)}" for key, path in places.items()]
    return " ".join(["python -m data2vec report", *words, *([f"scale={scale}"] if scale else [])])


def _nothing(results: Path, scale: str | None, issues: list[Issue]) -> str:
    where = short_path(results / scale if scale else results)
    broken = f" ({len(issues)} things could not be used, first: {issues[0].what})" if issues else ""
    return (
        f"nothing to report: no finished run under {where}{broken}; "
        "run `snakemake --cores all`, or `python -m data2vec pretrain … run_dir=…` first"
    )


__all__ = ["build_report"]
