"""Points of an experiment that are a main run by their values: trained once, counted in both."""

from pathlib import Path

import pandas as pd

from data2vec.errors import UserError
from data2vec.planning import Plan


def with_shared_points(rows: pd.DataFrame, experiments: Path) -> pd.DataFrame:
    """`rows` and, for every experiment that has some, those of the main runs that are points of it, with its labels.

    Args:
        rows: measurements or curves, with scale, modality, experiment, method and variant.
        experiments: folder `config/experiments`, beside which the scales lie. Without scales nothing is added.
    """
    plan = Plan(experiments.parent)
    parts = [rows]
    for scale, modality, name in _combinations(rows):
        try:
            shared = plan.shared_points(scale, modality, name)
        except UserError:  # an experiment or scale of another configuration than the one at hand
            continue
        own = rows[(rows["scale"] == scale) & (rows["modality"] == modality)]
        for label, method in shared.items():
            main = own[(own["experiment"] == "main") & (own["method"] == method)]
            if "metric" in main:  # scores on the way belong to the main run only
                main = main[~main["metric"].str.contains("@", regex=False)]
            if not ((own["experiment"] == name) & (own["variant"] == label)).any():
                parts.append(main.assign(experiment=name, variant=label))
    return pd.concat(parts, ignore_index=True) if len(parts) > 1 else rows


def _combinations(rows: pd.DataFrame) -> list[tuple[str, str, str]]:
    if rows.empty:
        return []
    found = rows.loc[rows["experiment"] != "main", ["scale", "modality", "experiment"]].drop_duplicates()
    return [(scale, modality, name) for scale, modality, name in found.itertuples(index=False) if name]
