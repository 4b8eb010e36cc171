"""Tables of systems in a paper's own layout: its rows and columns, ours below the system that each stands for."""

import math
from typing import Any

import pandas as pd

from data2vec.papers import Paper
from data2vec.reporting import glue, stats
from data2vec.reporting.formats import Table
from data2vec.reporting.names import fmt, metric_label, with_unit
from data2vec.reporting.published import size_of
from data2vec.reporting.rules import GLUE, GLUE_AVERAGE, LABELS

NOT_TRAINED, NOT_RUN, OURS, PUBLISHED = "not trained here", "not run at this scale", "ours", "published"
LM = {"wer": "no LM", "wer_lm": "4-gram LM"}
Cells = dict[str, str]


def scores(paper: Paper, frame: pd.DataFrame, published: pd.DataFrame) -> Table:
    """Published rows in their order; below each system that is trained here, what its runs scored.

    Our scores of other tasks stand in further columns, so that nothing looks like a number of the paper's task.
    """
    heads = ["system", *(_head(key) for key in paper.rows)]
    rows: list[tuple[tuple[str, ...], Cells, str]] = []
    columns = list(dict.fromkeys(_key(row, paper.columns) for row in published.to_dict("records")))
    unit = published["unit"].iloc[0] if len(published) else ""
    for system, group in published.groupby("method", sort=False):
        found = _published_rows(paper, str(system), group)
        ours = [row for run in paper.systems.get(str(system), []) for row in _our_rows(paper, run, frame, columns)]
        here = PUBLISHED if ours else NOT_RUN if system in paper.systems else NOT_TRAINED
        rows += [(key, cells, here) for key, cells in found]
        for name, where, cells in ours:
            rows.append(((f"{system}, {name}", where, *[""] * (len(paper.rows) - 1))[: len(heads)], cells, OURS))
    further = list(dict.fromkeys(column for _, cells, _ in rows for column in cells if column not in columns))
    names = tuple([*heads, *columns, *further, "here"])
    body = [(*key, *(cells.get(column, "") for column in (*columns, *further)), here) for key, cells, here in rows]
    note = f"Published: {unit}. Ours: mean ± standard deviation (number of seeds) at this scale."
    if further:
        note += f" Further columns are of tasks that the paper does not have: {', '.join(further)}."
    return Table(paper.name, f"{paper.item}: {paper.title}", names, body, note, frozenset([*columns, *further]), "here")


def _published_rows(paper: Paper, system: str, group: pd.DataFrame) -> list[tuple[tuple[str, ...], Cells]]:
    found: dict[tuple[str, ...], Cells] = {}
    for row in group.to_dict("records"):
        key = (system, *(_key(row, name) for name in paper.rows))
        found.setdefault(key, {})[_key(row, paper.columns)] = str(row["value"])
    return list(found.items())


def _our_rows(paper: Paper, run: str, frame: pd.DataFrame, columns: list[str]) -> list[tuple[str, str, Cells]]:
    """(name, where, cells) of one run at each scale, data and model that it was made with."""
    first, is_point, value = run.partition("--")
    mine = frame[frame["modality"] == paper.modality]
    if is_point:
        mine = mine[(mine["experiment"] == first) & (mine["variant"] == value)]
    else:
        mine = mine[(mine["experiment"] == "main") & (mine["method"] == first)]
    mine = mine[mine["metric"] != GLUE_AVERAGE[1]]
    if mine.empty:
        return []
    mine = glue.with_average(mine.assign(experiment="main"))
    pretrained = stats.pretraining_data(mine)
    rows = []
    found = stats.main_scores(mine)
    # Where the columns are the sets that were scored, each amount of labels is a line.
    by_labels = paper.columns == "setting.2"
    labels = found["dataset"].map(lambda name: LABELS.get(name.partition("/")[0], "") if by_labels else "")
    for (scale, model, hours), part in found.groupby(["scale", "model", labels], sort=True):
        cells: Cells = {}
        for record in part.to_dict("records"):
            if record["n"]:
                cells[_column(paper, record, columns)] = words(record)
        data = next((data for key, data in pretrained.items() if key[0] == scale), "")
        name = f"ours ({', '.join(filter(None, (str(scale), str(model), data, f'{hours} labelled' * bool(hours))))})"
        if cells:
            rows.append((name, "", cells))
    return rows


def _column(paper: Paper, record: dict[str, Any], columns: list[str]) -> str:
    """The paper's column of one of our scores; a column of its own if the paper has none."""
    key = (record["dataset"], record["metric"])
    own = with_unit(f"{record['dataset']}: {metric_label(record['metric'])}", record["unit"])
    if paper.columns == "model_size":
        if record["metric"] == "finetune_top1":
            sizes = {size_of(column): column for column in columns}
            return sizes.get(size_of(record["model"]), own)
        return own
    if paper.columns == "metric":
        task = GLUE.get(key) or ("GLUE_avg" if key == GLUE_AVERAGE else "mAP" if key == ("audioset", "map") else "")
        return task if task in columns else own
    task, _, split = str(record["dataset"]).partition("/")
    column = split if paper.columns == "setting.2" else f"{LABELS.get(task, '')} labelled"
    fits = task in LABELS and record["metric"] == "wer_lm"
    return column if fits and column in columns and (split == "test-other" or column == split) else own


def words(record: dict[str, Any]) -> str:
    """Mean, spread and number of seeds: "92.6 ± 0.4 (3)"."""
    spread = "" if math.isnan(record["std"]) else f" ± {fmt(record['std'], record['unit'])}"
    return f"{fmt(record['mean'], record['unit'])}{spread} ({record['n']})"


def _key(row: dict[str, Any], name: str) -> str:
    """A column of the published file, or with `setting.<i>` the i-th part of its setting between commas."""
    column, _, part = name.partition(".")
    if part:
        parts = str(row[column]).split(", ")
        return parts[int(part)] if int(part) < len(parts) else ""
    return str(row[column])


def _head(key: str) -> str:
    named = {"pretrain_data": "pre-training data", "pretrain_epochs_or_updates": "pre-training"}
    return named.get(key, {"setting.0": "labels", "setting.1": "language model"}.get(key, key.replace("_", " ")))
