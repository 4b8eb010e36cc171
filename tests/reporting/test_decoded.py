"""Decoded text beside its reference, from whatever details a fine-tuning left."""

import csv

import pytest

from data2vec.reporting import decoded
from data2vec.reporting.runs import find_runs


def test_an_alignment_becomes_columns_that_can_wrap(whole):
    found = decoded.decoded(find_runs(whole.root / "results", None, []))
    assert [part.title for part in found][:2] == [
        "data2vec 2.0 on espeak-words, with a language model",
        "data2vec 1.0 on espeak-words, with a language model",
    ]
    assert found[0].worst[0].columns == [
        ("DROP", "DROP", ""),
        ("THE", "THE", ""),
        ("RED", "BED", "S"),
        ("BALL", "BALL", ""),
        ("", "TO", "I"),
        ("TO", "TO", ""),
        ("THREE", "", "D"),
    ]


def test_error_rates_stand_with_and_without_a_language_model(whole):
    with (whole.reports / "tables" / "wer.csv").open(newline="") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    wer = whole.frame().query("metric == 'wer' and method == 'from scratch' and experiment == 'main'")["value"]
    assert rows["from scratch"]["WER"] == f"{wer.mean():.1f} ± {wer.std():.1f}"
    assert rows["from scratch"]["95 %"] == f"{wer.iloc[0] - 4:.1f} to {wer.iloc[0] + 4:.1f}"
    assert rows["data2vec 2.0"]["S / D / I"] == "52 / 21 / 6"
    assert rows["data2vec 2.0"]["WER with LM"]


@pytest.mark.parametrize(
    ("content", "words"),
    [([12.34, 15], "12.3 to 15.0"), (None, ""), ([1], ""), (["a", 2], ""), ([float("nan"), 2], "")],
)
def test_an_interval_is_written_only_if_it_is_one(content, words):
    assert decoded.interval(content) == words


@pytest.mark.parametrize("details", [None, 3, {"test": 3}, {"test": {"greedy": {"worst": 3, "examples": [7, {}]}}}])
def test_other_details_are_passed_over(place, synthetic, details):
    folder = place.root / "results/embedded/speech/data2vec2/seed0"
    synthetic.write_run(folder, "data2vec2", "main", "data2vec2", 0, modality="speech", data="an4")
    rows = [{"metric": "wer", "value": 40.0, "unit": "%", "dataset": "an4"}]
    synthetic.write_json(folder / "finetune/an4/metrics.json", {"rows": rows, "test": details})
    decoded.decoded(find_runs(place.root / "results", None, []))
