"""Signs of collapse of every pre-training: variance of targets and predictions, effective rank of each block."""

import re

import pandas as pd

from data2vec.reporting import stats
from data2vec.reporting.formats import Table
from data2vec.reporting.names import fmt, method_label

SPREADS = {
    "target_var": "targets' spread",
    "position_var": "of the position alone",
    "pred_var": "predictions' spread",
}
RANK = re.compile(r"effective_rank_(\d+)")


def table(frame: pd.DataFrame, modality: str, is_of_points: bool = False) -> Table:
    """One line a run (mean over its seeds): main runs, or the points of experiments."""
    rows = frame[frame["metric"].isin(SPREADS) | frame["metric"].str.fullmatch(RANK.pattern)]
    rows = rows[(rows["modality"] == modality) & ((rows["experiment"] != "main") == is_of_points)]
    ranks = sorted({int(found[1]) for metric in rows["metric"] if (found := RANK.fullmatch(metric))})
    columns = [*SPREADS, *(f"effective_rank_{block}" for block in ranks)]
    body: list[tuple[str, ...]] = []
    for key, part in rows.groupby(["scale", "experiment", "variant", "method", "model"], sort=True):
        scale, experiment, variant, method, model = map(str, key)
        found = stats.summarise(part, ("metric",)).set_index("metric")
        run = "main" if experiment == "main" else f"{experiment}: {variant}"
        cells = [fmt(float(found["mean"].get(column, float("nan")))) for column in columns]
        body.append((method_label(method), run, f"{scale}, {model}", str(part["seed"].nunique()), *cells))
    names = (*SPREADS.values(), *(f"rank {block}" for block in ranks))
    note = (
        "spread: standard deviation over hidden positions at the last update, near 0 when all positions get the same. "
        "of the position alone: what the targets of all inputs share at a position; near the targets' spread, inputs "
        "no longer matter. rank k: effective rank of the features behind block k on one batch, 1 when all positions "
        "are alike, at most the width of the model."
    )
    title = "Signs of collapse" + (" in the runs of experiments" if is_of_points else "")
    name = f"collapse_experiments_{modality}" if is_of_points else f"collapse_{modality}"
    head = ("method", "run", "on", "n", *names)
    return Table(name, title, head, body, note, frozenset(("n", *names)))
