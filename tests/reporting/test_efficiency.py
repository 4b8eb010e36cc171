"""Score against cost: curves from results.csv, and what a method needs to reach a rival's best score."""

import math

import pandas as pd
import pytest

from data2vec.reporting import efficiency
from data2vec.reporting.collect import COLUMNS
from data2vec.reporting.drawing import style
from data2vec.reporting.stats import main_scores


def rows(method: str, seed: int, scores: list[float], seconds: float, flops: float) -> list[dict]:
    """A run of 30 updates whose encoder was kept at 0, 10 and 20; the last score is that of its end."""
    same = dict.fromkeys(COLUMNS, "") | {
        **{"scale": "cpu", "modality": "vision", "dataset": "cifar10", "method": method, "model": "mini"},
        **{"experiment": "main", "variant": method, "seed": seed, "peak_memory_bytes": math.nan},
    }
    whole = {"updates": 30, "samples": 300, "pretrain_seconds": seconds}
    found = [
        same
        | {"metric": f"linear_top1@{n}", "value": score, "unit": "%"}
        | {"updates": n, "samples": 10 * n, "pretrain_seconds": seconds * n / 30}
        for n, score in zip((0, 10, 20), scores, strict=False)
    ]
    found.append(same | whole | {"metric": "linear_top1", "value": scores[3], "unit": "%"})
    found.append(same | whole | {"metric": "update_flops", "value": flops, "unit": "FLOP"})
    found.append(same | whole | {"metric": "cpu_seconds", "value": seconds / 2, "unit": "s"})
    return [*found, same | whole | {"metric": "loss", "value": 1.0}]


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        [
            *rows("mae", 0, [40, 44, 50, 48], 90, 4e6),
            *rows("mae", 1, [40, 46, 50, 50], 90, 4e6),
            *rows("data2vec2", 0, [30, 40, 60, 70], 60, 1e6),
            *rows("data2vec2", 1, [30, 45, 50, 70], 60, 1e6),
            *rows("data2vec", 0, [30, 31, 32, 33], 60, 1e6),
            *rows("data2vec", 1, [30, 31, 32, 50], 60, 1e6),
        ],
        columns=list(COLUMNS),
    )


PUBLISHED = pd.DataFrame(
    [
        {
            **{"file": "efficiency", "table": "headline_speedup", "modality": "vision", "method": "data2vec 2.0"},
            **{"setting": "MAE accuracy matched", "metric": "speedup_pretrain_wallclock", "value": "16.4"},
        }
    ]
)


def test_a_curve_has_every_kept_encoder_and_the_last_one(frame: pd.DataFrame) -> None:
    curve = efficiency.curves(frame).query("method == 'mae' and seed == 0")
    assert list(curve["updates"]) == [0, 10, 20, 30] and list(curve["value"]) == [40, 44, 50, 48]
    assert list(curve["seconds"]) == [0, 30, 60, 90] and list(curve["flops"]) == [0, 4e7, 8e7, 12e7]


def test_scores_on_the_way_stand_in_no_table_of_scores(frame: pd.DataFrame) -> None:
    assert set(main_scores(frame)["metric"]) == {"linear_top1"}


def test_the_cost_of_a_score_is_interpolated_in_each_seed(frame: pd.DataFrame) -> None:
    points = efficiency.curves(frame).query("method == 'data2vec2'")
    reached = efficiency.cost_to_reach(points, 50, "seconds")
    assert reached.costs == (30, 40) and reached.seeds == 2 and reached.mean == 35
    assert efficiency.cost_to_reach(points, 65, "samples").costs == pytest.approx((250, 275))
    assert efficiency.cost_to_reach(points, 30, "seconds").costs == (0, 0)
    never = efficiency.cost_to_reach(points, 71, "seconds")
    assert never.costs == () and math.isnan(never.mean) and math.isnan(never.spread)


def test_the_table_says_what_was_not_reached_and_the_published_ratio(frame: pd.DataFrame) -> None:
    table = efficiency.table(frame, PUBLISHED, "vision")
    assert table is not None
    second, first = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
    assert (second["rival"], second["method"], second["its best score"], second["after s"]) == (
        "MAE",
        "data2vec 2.0",
        "50.0",
        "60.0",
    )
    assert second["random weights"] == "40.0"
    assert (second["reached by"], second["s to reach it"], second["ratio"]) == ("2 of 2", "35.0", "1.71")
    assert second["of FLOPs"] == "4.57" and second["published"] == "16.4" and second["processor share"] == "0.500"
    assert first["reached by"] == "1 of 2" and first["published"] == "" and first["spread"] == ""
    low = frame.assign(value=frame["value"].where(frame["method"] != "data2vec2", 1.0))
    row = efficiency.table(low, PUBLISHED, "vision")
    assert row is not None and row.rows[0][6:11] == ("not reached", "", "", "", "")


def test_a_rival_that_never_beats_its_random_weights_is_met_at_its_best_trained_score(frame: pd.DataFrame) -> None:
    first = frame["metric"].eq("linear_top1@0") & frame["method"].eq("mae")
    table = efficiency.table(frame.assign(value=frame["value"].mask(first, 99.0)), PUBLISHED, "vision")
    assert table is not None
    row = dict(zip(table.columns, table.rows[0], strict=True))
    assert row["random weights"] == "99.0" and row["its best score"] == "50.0"


def test_runs_of_two_scales_are_not_averaged(frame: pd.DataFrame) -> None:
    both = pd.concat([frame, frame.assign(scale="mini", value=frame["value"] / 2)], ignore_index=True)
    one, two = (efficiency.table(part, PUBLISHED, "vision") for part in (frame, both))
    assert one is not None and two is not None
    assert [row[1:] for row in two.rows[:2]] == [row[1:] for row in one.rows]
    assert [row[0] for row in two.rows] == ["MAE (cpu, cifar10, mini)"] * 2 + ["MAE (mini, cifar10, mini)"] * 2
    with style():
        figure = efficiency.figure(both, "vision")
    assert figure is not None and all(len(axes.get_lines()) == 6 for axes in figure.canvas.axes)


def test_without_kept_encoders_there_is_neither_figure_nor_table(frame: pd.DataFrame) -> None:
    ends = frame[~frame["metric"].str.contains("@")]
    assert efficiency.figure(ends, "vision") is None and efficiency.table(ends, PUBLISHED, "vision") is None


def test_the_figure_has_a_line_for_each_method_on_three_axes(frame: pd.DataFrame) -> None:
    with style():
        figure = efficiency.figure(frame, "vision")
    assert figure is not None and len(figure.canvas.axes) == 3
    assert all(len(axes.get_lines()) == 3 for axes in figure.canvas.axes)
    assert "MAE 50.0 %" in figure.alt and len(figure.data) == 24
