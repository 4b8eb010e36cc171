"""Which setting of each method its short runs chose: experiments `tune_<method>`, scored on held-out samples."""

import pandas as pd

from data2vec.reporting.formats import Table
from data2vec.reporting.names import fmt, method_label, method_rank

METRIC = "linear_top1_valid"
COLUMNS = ("method", "setting", "held-out score", "n", "updates", "scale", "chosen")


def table(frame: pd.DataFrame, modality: str) -> Table | None:
    """Every setting tried, one row each, the best of each method marked; None without such runs."""
    rows = frame[frame["experiment"].str.startswith("tune_") & (frame["metric"] == METRIC) & frame["value"].notna()]
    if rows.empty:
        return None
    tried = rows.groupby(["scale", "method", "variant"])
    points = tried.agg(score=("value", "mean"), n=("seed", "nunique"), updates=("updates", "first")).reset_index()
    best = points.groupby(["scale", "method"])["score"].transform("max")
    points["chosen"] = points["score"] == best
    points = points.sort_values(
        ["scale", "method", "variant"], key=lambda c: c.map(method_rank) if c.name == "method" else c
    )
    cells: list[tuple[str, ...]] = [
        (
            method_label(p.method),
            p.variant,
            fmt(p.score, "%"),
            str(p.n),
            f"{p.updates:.0f}",
            p.scale,
            "chosen" if p.chosen else "",
        )
        for p in points.itertuples()
    ]
    note = (
        "Short runs, as many for every method, each scored by a linear probe on the fifth of its training samples that "
        "it has not seen; the test set has no part in the choice. What a setting changes stands in "
        "config/experiments/tune_<method>.yaml; the choice is then copied into tuned: of config/scale/<scale>.yaml."
    )
    return Table(
        f"tuning_{modality}", "Settings tried before the comparison", COLUMNS, cells, note, frozenset(COLUMNS[2:5])
    )
