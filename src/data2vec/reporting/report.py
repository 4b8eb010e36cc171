"""`python -m data2vec report`: run folders in, results.csv, tables, figures and one page out."""

import logging
from functools import partial
from pathlib import Path

import pandas as pd

from data2vec.errors import UserError
from data2vec.reporting import comparison, drawing, figures_curves, glue, tables
from data2vec.reporting import experiments as exp
from data2vec.reporting.claims import Place, judge_claims, write_markdown
from data2vec.reporting.claims import tables as tabulate_claims
from data2vec.reporting.collect import Collected, collect, load_results, save_results
from data2vec.reporting.drawing import Figure
from data2vec.reporting.figures_ablation import ablation
from data2vec.reporting.figures_labels import label_amount
from data2vec.reporting.files import Issue, short_path
from data2vec.reporting.formats import write_table
from data2vec.reporting.gaps import find_gaps
from data2vec.reporting.ledger import Ledger, load_ledger
from data2vec.reporting.names import modality_label, modality_rank
from data2vec.reporting.page import AblationPart, Page, write_page
from data2vec.reporting.provenance import provenance, remake
from data2vec.reporting.published import load_published
from data2vec.reporting.runs import Run
from data2vec.reporting.sections import Section, section
from data2vec.reporting.shared import with_shared_points

log = logging.getLogger(__name__)


def build_report(
    results: Path,
    reports: Path,
    published: Path,
    experiments: Path,
    scale: str | None = None,
    claims: Path | None = None,
) -> Path:
    """Write the whole report into `reports` and return the path of its index.html.

    Args:
        results: folder with `<scale>/<modality>/<run>/seed<k>/`.
        reports: folder to write to; made if absent.
        published: folder with the published numbers (`vision.csv` …).
        experiments: folder with the experiment files; may be absent.
        scale: report on this scale only; None for all that are there.
        claims: the claims ledger; None for a report without verdicts.

    Raises:
        UserError: there is nothing to report, or the ledger is wrong.
    """
    ledger = None if claims is None else load_ledger(claims)
    collected = collect(results, scale)
    if collected.frame.empty:
        raise UserError(_nothing(results, scale, collected.issues))
    save_results(with_shared_points(collected.frame, experiments), reports / "results.csv")
    # all that follows is made from the file a reader gets
    frame = glue.with_average(load_results(reports / "results.csv"))
    issues = list(collected.issues)
    known = exp.load_experiments(experiments, issues)
    numbers = load_published(published, issues)
    folders = {"results": results, "reports": reports, "published": published, "experiments": experiments}
    with drawing.style():
        command = _command(folders, claims, scale)
        page = _page(frame, numbers, known, experiments, ledger, collected, issues, command)
        for figure in _figures(page):
            drawing.save(figure, reports / "figures")
    for part in page.sections:
        for table in part.tables():
            write_table(table, reports / "tables")
    last = [tables.missing(page.issues), *(tabulate_claims(page.claims) if page.claims else [])]
    for table in [*(part.table for part in page.ablations), *last]:
        write_table(table, reports / "tables")
    if page.claims:
        write_markdown(page.claims, reports / "claims.md")
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
    experiments: Path,
    ledger: Ledger | None,
    collected: Collected,
    issues: list[Issue],
    command: str,
) -> Page:
    """Draw and tabulate everything; `issues` gains what is found on the way."""
    steps = with_shared_points(figures_curves.load_curves(collected.runs, issues), experiments)
    run = sorted(set(frame["experiment"]) - {"main"})
    sections = [
        section(modality, frame, collected.runs, steps, numbers, issues)
        for modality in sorted(set(frame["modality"]), key=modality_rank)
    ]
    ablations = [_ablation(known.get(name) or exp.undescribed(name, frame), frame, numbers, steps) for name in run]
    judged = [] if ledger is None else judge_claims(ledger, frame, numbers, _places(sections, ablations), issues)
    return Page(
        scales=sorted(set(frame["scale"])),
        sections=sections,
        ablations=ablations,
        claims=judged,
        issues=sorted({*issues, *find_gaps(frame, numbers, known)}),
        provenance=provenance(collected.runs),
        recipes=_recipes(frame, collected.runs, sections, ablations),
        commands=_commands(collected),
        everything=remake(frame, collected.runs, run, "reports/index.html"),
        command=command,
    )


def _ablation(
    experiment: exp.Experiment, frame: pd.DataFrame, numbers: pd.DataFrame, steps: pd.DataFrame
) -> AblationPart:
    parts = exp.parts(experiment, frame, numbers)
    draw = partial(label_amount, published=numbers) if experiment.varies_labels else ablation
    return AblationPart(
        name=experiment.name,
        title=experiment.title,
        note=experiment.note,
        claims=experiment.claims,
        directions=[
            f"{modality_label(part.modality)}: {words}" if len(parts) > 1 else words
            for part in parts
            for words in comparison.directions(experiment, part)
        ],
        has_published=experiment.varies_labels or any(part.curve is not None for part in parts),
        figure=draw(experiment, parts),
        table=comparison.table(experiment, parts),
        curves=figures_curves.of_experiment(steps, experiment.name, experiment.axis),
    )


def _places(sections: list[Section], ablations: list[AblationPart]) -> dict[str, Place]:
    """Where the page shows what the claims are judged by."""
    main = {
        f"main-{part.modality}": Place(
            f"controls-{part.modality}", f"{part.title}: scores", part.controls.name, part.scores_figure.name
        )
        for part in sections
    }
    cost = {
        table.name: Place(table.name, f"{part.title}: efficiency", table.name, figure.name)
        for part in sections
        if (table := part.efficiency) is not None and (figure := part.efficiency_figure) is not None
    }
    varied = {
        part.name: Place(f"ablation-{part.name}", part.title, part.table.name, part.figure.name) for part in ablations
    }
    return main | cost | varied


def _figures(page: Page) -> list[Figure]:
    ablations = [figure for part in page.ablations for figure in (part.figure, *part.curves)]
    return [*(figure for part in page.sections for figure in part.figures()), *ablations]


def _recipes(
    frame: pd.DataFrame, runs: list[Run], sections: list[Section], ablations: list[AblationPart]
) -> dict[str, str]:
    """Name of each figure -> the command that makes its runs and draws it."""
    found = {}
    for part in sections:
        command = remake(frame[frame["modality"] == part.modality], runs, [])
        found |= {figure.name: command for figure in part.figures()}
    for one in ablations:
        command = remake(frame[frame["experiment"] == one.name], runs, [one.name])
        found |= {figure.name: command for figure in (one.figure, *one.curves)}
    return found


def _commands(collected: Collected) -> list[tuple[str, str]]:
    """One line per main run (first seed): the command recorded when it was made."""
    found: dict[str, str] = {}
    for run in collected.runs:
        command = run.provenance.get("command")
        if run.experiment == "main" and isinstance(command, str) and command:
            found.setdefault(short_path(run.path), command)
    return sorted(found.items())


def _command(folders: dict[str, Path], claims: Path | None, scale: str | None) -> str:
    places = folders | ({} if claims is None else {"claims": claims})
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
