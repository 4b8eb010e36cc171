"""The GLUE average is the papers' own."""

import csv

import pandas as pd
import pytest

from data2vec.reporting import glue
from data2vec.reporting.collect import COLUMNS
from data2vec.reporting.published import load_published
from data2vec.reporting.rules import GLUE


def frame_of(values):
    """Results of one run with these scores by (data set, metric)."""
    row = dict.fromkeys(COLUMNS, "") | {
        "scale": "s",
        "modality": "text",
        "method": "m",
        "experiment": "main",
        "seed": 0,
    }
    return pd.DataFrame(
        [row | {"dataset": task, "metric": metric, "value": value} for (task, metric), value in values.items()]
    )


@pytest.mark.parametrize(
    ("method", "average"),
    [("data2vec", 82.7), ("data2vec 2.0", 82.6), ("RoBERTa re-trained baseline", 82.5), ("BERT", 81.2)],
)
def test_the_average_of_a_published_row_is_the_published_average(synthetic, method, average):
    rows = load_published(synthetic.PUBLISHED, []).query("table == 'd2v_glue_dev' and method == @method")
    printed = dict(zip(rows["metric"], rows["value"], strict=True))
    frame = glue.with_average(frame_of({key: float(printed[task]) for key, task in GLUE.items()}))
    found = frame.query("metric == 'glue_avg'")["value"].item()
    assert found == pytest.approx(average, abs=0.06)


def test_a_run_without_one_of_the_tasks_has_no_average():
    values = dict.fromkeys(list(GLUE)[1:], 80.0)
    assert len(glue.with_average(frame_of(values))) == len(values)


def test_the_table_agrees_with_results_csv(whole):
    with (whole.reports / "tables" / "glue.csv").open(newline="") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    frame = whole.frame().query("dataset == 'cola' and metric == 'matthews' and method == 'data2vec2'")
    main = frame.query("experiment == 'main'")["value"]
    assert rows["data2vec 2.0, ours"]["CoLA"] == f"{main.mean():.1f} ± {main.std():.1f}"
    assert rows["RoBERTa re-trained baseline"]["average"] == "82.5"
    assert rows["BERT"]["average"] == "81.2"  # not the one that disagrees with its own row
    assert rows["data2vec 2.0, ours"]["average"]


def test_a_lost_task_takes_that_seed_out_of_the_average(battered_sequences):
    with (battered_sequences.reports / "tables" / "headline_text.csv").open(newline="") as file:
        rows = {(row["method"], row["metric"]): row for row in csv.DictReader(file)}
    assert rows["data2vec 2.0", "GLUE average (%)"]["n"] == "2"
    assert rows["data2vec 1.0", "GLUE average (%)"]["n"] == "3"
    assert rows["data2vec 1.0", "GLUE average (%)"]["status"] == "no published number"
    assert rows["data2vec 1.0", "GLUE average (%)"]["median"]
