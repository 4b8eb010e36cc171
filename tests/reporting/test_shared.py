"""A point of an experiment that is a main run by its values stands in both, from one training."""

from pathlib import Path

import pandas as pd

from data2vec.reporting.shared import with_shared_points

ROOT = Path(__file__).parents[2]


def rows(experiment: str, variant: str, method: str = "data2vec", metric: str = "linear_top1") -> dict[str, object]:
    place = {"scale": "embedded", "modality": "vision", "experiment": experiment, "variant": variant}
    return {**place, "method": method, "seed": 0, "metric": metric, "value": 50.0}


def test_the_main_run_is_the_point_that_it_equals() -> None:
    frame = pd.DataFrame(
        [
            rows("main", "data2vec"),
            rows("main", "data2vec", metric="linear_top1@10"),
            rows("main", "data2vec2", "data2vec2"),
            rows("k_layers", "1"),
        ]
    )
    found = with_shared_points(frame, ROOT / "config" / "experiments")
    added = found.iloc[len(frame) :]
    assert added[["experiment", "variant", "method", "metric"]].to_numpy().tolist() == [
        ["k_layers", "4", "data2vec", "linear_top1"]
    ]


def test_a_point_that_was_run_under_its_own_name_is_not_doubled() -> None:
    frame = pd.DataFrame([rows("main", "data2vec"), rows("k_layers", "4")])
    assert len(with_shared_points(frame, ROOT / "config" / "experiments")) == 2


def test_an_experiment_that_was_not_run_gains_nothing_and_an_unknown_one_is_left_alone(tmp_path: Path) -> None:
    frame = pd.DataFrame([rows("main", "data2vec"), rows("mine", "1")])
    assert len(with_shared_points(frame, ROOT / "config" / "experiments")) == 2
    assert len(with_shared_points(frame, tmp_path / "experiments")) == 2
    assert with_shared_points(pd.DataFrame(), ROOT / "config" / "experiments").empty
