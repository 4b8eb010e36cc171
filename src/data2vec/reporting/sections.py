"""One modality of the page: its tables and figures, from its own rows and runs."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from data2vec.reporting import (
    collapse,
    decoded,
    efficiency,
    figures,
    figures_cost,
    figures_curves,
    figures_masked,
    figures_speech,
    figures_text,
    glue,
    summary,
    tables,
    tuning,
)
from data2vec.reporting.decoded import Decoded
from data2vec.reporting.drawing import Figure
from data2vec.reporting.figures_text import Passages
from data2vec.reporting.files import Issue
from data2vec.reporting.formats import Table
from data2vec.reporting.names import RAW_INPUT, modality_label
from data2vec.reporting.runs import Run
from data2vec.reporting.summary import Tile


@dataclass(frozen=True)
class Section:
    """Everything that the template shows of one modality."""

    modality: str
    title: str
    raw_input: str
    sentences: list[str]
    tiles: list[Tile]
    headline: Table
    details: list[Table]  # GLUE task by task, or word error rates
    folded: list[Table]  # shown on demand
    controls: Table
    collapse: Table
    collapse_points: Table
    cost: Table
    scores_figure: Figure
    masked_figure: Figure
    curves_figure: Figure
    cost_figure: Figure
    efficiency_figure: Figure | None  # where encoders were kept along the runs
    efficiency: Table | None
    passages: list[Passages]  # masked text, shown in place of its figure
    decoded: list[Decoded]

    def figures(self) -> list[Figure]:
        """All figures, to be saved."""
        drawn = [self.scores_figure, self.masked_figure, self.curves_figure, self.cost_figure]
        return drawn if self.efficiency_figure is None else [*drawn, self.efficiency_figure]

    def tables(self) -> Iterator[Table]:
        """All tables, to be written."""
        yield from (self.headline, *self.details, *self.folded, self.controls, self.collapse, self.cost)
        if self.collapse_points.rows:
            yield self.collapse_points
        if self.efficiency is not None:
            yield self.efficiency
        if self.decoded:
            yield decoded.decoded_table(self.decoded)


def section(
    modality: str, frame: pd.DataFrame, runs: list[Run], steps: pd.DataFrame, numbers: pd.DataFrame, issues: list[Issue]
) -> Section:
    """Draw and tabulate one modality; `issues` gains what is found on the way."""
    frame = frame[frame["modality"] == modality]
    runs = [run for run in runs if run.modality == modality]
    masked, passages = _masked(modality, runs, issues)
    details = {"text": glue.table(frame, numbers), "speech": decoded.error_rates(frame, runs)}.get(modality)
    folded = [tables.glue_tasks(frame, numbers), tuning.table(frame, modality)]
    return Section(
        modality=modality,
        title=modality_label(modality),
        raw_input=RAW_INPUT.get(modality, "raw input"),
        sentences=summary.sentences(frame, runs),
        tiles=summary.tiles(frame),
        headline=tables.headline(frame, numbers, modality),
        details=[] if details is None else [details],
        folded=[table for table in folded if table is not None],
        controls=tables.controls(frame, modality),
        collapse=collapse.table(frame, modality),
        collapse_points=collapse.table(frame, modality, is_of_points=True),
        cost=tables.cost(frame, modality),
        scores_figure=figures.headline(frame, numbers, modality),
        masked_figure=masked,
        curves_figure=figures_curves.curves(steps, modality),
        cost_figure=figures_cost.cost(frame, numbers, modality),
        efficiency_figure=efficiency.figure(frame, modality),
        efficiency=efficiency.table(frame, numbers, modality),
        passages=passages,
        decoded=decoded.decoded(runs) if modality == "speech" else [],
    )


def _masked(modality: str, runs: list[Run], issues: list[Issue]) -> tuple[Figure, list[Passages]]:
    if modality == "text":
        return figures_text.masked(runs, issues)
    draw = figures_speech.masked if modality == "speech" else figures_masked.masked
    return draw(runs, issues), []
