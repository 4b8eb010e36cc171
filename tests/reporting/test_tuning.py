"""The table of settings that the short runs tried."""

import csv
import math
from pathlib import Path

import pandas as pd

from data2vec.planning import Plan
from data2vec.reporting import tuning
from data2vec.reporting.collect import COLUMNS


def row(method: str, setting: str, seed: int, value: float, metric: str = "linear_top1_valid") -> dict:
    same = dict.fromkeys(COLUMNS, "") | {"scale": "cpu", "modality": "vision", "dataset": "cifar10", "updates": 476}
    run = {"method": method, "experiment": f"tune_{method}", "variant": setting, "seed": seed}
    return same | run | {"metric": metric, "value": value}


def test_the_best_held_out_score_of_each_method_is_marked() -> None:
    rows = [
        *(row("mae", "lr-1e-3", seed, 44.0 + seed) for seed in (0, 1)),
        *(row("mae", "lr-2e-3", seed, 45.2 + seed) for seed in (0, 1)),
        row("mae", "lr-1e-3", 0, 99.0, "linear_top1"),  # the test set decides nothing
        row("data2vec2", "lr-4e-3", 0, 43.7),
        row("data2vec2", "mask-0.65", 0, math.nan),
        row("data2vec2", "lr-4e-3", 0, 60.0) | {"scale": "mini"},  # another choice, not a better one
    ]
    table = tuning.table(pd.DataFrame(rows, columns=list(COLUMNS)), "vision")
    assert table is not None and table.name == "tuning_vision"
    assert table.rows == [
        ("data2vec 2.0", "lr-4e-3", "43.7", "1", "476", "cpu", "chosen"),
        ("MAE", "lr-1e-3", "44.5", "2", "476", "cpu", ""),
        ("MAE", "lr-2e-3", "45.7", "2", "476", "cpu", "chosen"),
        ("data2vec 2.0", "lr-4e-3", "60.0", "1", "476", "mini", "chosen"),
    ]


def test_without_such_runs_there_is_no_table() -> None:
    rows = [row("mae", "lr-1e-3", 0, 44.0) | {"experiment": "main"}]
    assert tuning.table(pd.DataFrame(rows, columns=list(COLUMNS)), "vision") is None


def test_the_scale_holds_what_the_kept_runs_chose() -> None:
    root = Path(__file__).parents[2]
    with (root / "reports/reference/efficiency_cpu/tuning_vision.csv").open() as file:
        tried = list(csv.DictReader(file))
    plan, labels = Plan(root / "config"), {"data2vec 1.0": "data2vec", "data2vec 2.0": "data2vec2", "MAE": "mae"}
    for name, method in labels.items():
        experiment = plan.experiments[f"tune_{method}"]
        settings = [row["setting"] for row in tried if row["method"] == name]
        assert sorted(settings) == sorted(experiment.points("cpu"))
        chosen = [row["setting"] for row in tried if row["method"] == name and row["chosen"] == "chosen"]
        assert plan.modality("cpu", "vision").tuned[method] in [experiment.at(label) for label in chosen]
