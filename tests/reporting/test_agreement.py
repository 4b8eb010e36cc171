"""Every number that the report shows, computed once more from results.csv with nothing but pandas."""

import csv

import numpy as np
import pandas as pd
import pytest

from data2vec.reporting.names import method_label, metric_label, modality_label

MODALITIES = ("vision", "speech", "text")
DERIVED = "GLUE average"  # a mean over tasks, which results.csv has one by one: test_glue.py


@pytest.fixture(scope="module")
def results(whole):
    frame = pd.read_csv(whole.reports / "results.csv", dtype={"variant": str}, keep_default_na=False)
    return frame.assign(value=pd.to_numeric(frame["value"], errors="coerce"))


def read(place, name):
    with (place.reports / "tables" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def agree(cell, number):
    """A table rounds: to the last digit that it shows."""
    digits = len(cell.partition(".")[2])
    assert float(cell) == pytest.approx(number, abs=0.51 * 10**-digits), cell


def cells(rows):
    """Values of main runs by (method, metric, data set) as tables name them, of two with one name the right one."""
    found = {}
    for (method, metric, dataset), part in rows.groupby(["method", "metric", "dataset"]):
        name = f"{metric_label(metric)} (%)"
        for words in (name, f"{dataset}: {name}"):
            found[method_label(method), words, dataset] = part["value"].dropna()
    return found


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize(("table", "on"), [("headline", "ours on"), ("controls", "on")])
def test_tables_of_scores_have_the_means_of_the_results(whole, results, modality, table, on):
    known = cells(results.query("experiment == 'main' and modality == @modality"))
    shown = [row for row in read(whole, f"{table}_{modality}") if row["ours"] and DERIVED not in row["metric"]]
    assert len(shown) >= 5
    for row in shown:
        values = known[row["method"], row["metric"], row[on].split(", ")[0]]
        assert int(row["n"]) == len(values) == 3
        agree(row["ours"], values.mean())
        agree(row["spread"], values.std(ddof=1))
        if table == "headline" and row["published"]:
            assert float(row["difference"]) == pytest.approx(values.mean() - float(row["published"]), abs=0.051)


@pytest.mark.parametrize(
    ("name", "axis", "metric"),
    [
        ("top_k", "target.top_k", "linear_top1"),
        ("label_amount", "finetune.train_limit", "wer"),
        ("learning_rate", "finetune.lr", "accuracy"),
    ],
)
def test_experiments_have_the_means_of_the_results_in_table_and_figure(whole, results, name, axis, metric):
    rows = results.query("experiment == @name and metric == @metric")
    groups = {key: part["value"] for key, part in rows.groupby(["modality", "method", "variant"])}
    table, checked = read(whole, f"ablation_{name}"), 0
    assert len(table) == len(groups)
    for (modality, method, variant), values in groups.items():
        (row,) = [
            row
            for row in table
            if row[axis] == variant
            and row.get("modality", modality_label(modality)) == modality_label(modality)
            and row.get("method", method_label(method)) == method_label(method)
        ]
        assert int(row["n"]) == len(values)
        agree(row["ours"], values.mean())
        agree(row["spread"], values.std(ddof=1))
    drawn = pd.read_csv(whole.reports / "figures" / f"ablation_{name}.csv", dtype={"label": str})
    for row in drawn.query("source == 'ours'").to_dict("records"):
        same = [
            values
            for (modality, method, variant), values in groups.items()
            if variant == row["label"]
            and modality == row.get("modality", modality)
            and np.isclose(values.mean(), row["mean"])
            and np.isclose(values.std(ddof=1), row["std"])
            and len(values) == row["n"]
        ]
        assert same, row
        checked += 1
    assert checked == len(groups)


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_figure_of_scores_has_the_means_of_the_results(whole, results, modality):
    drawn = pd.read_csv(whole.reports / "figures" / f"headline_{modality}.csv").query("dataset != 'glue'")
    main = results.query("experiment == 'main' and modality == @modality")
    keys = ["method", "metric", "dataset"]
    ours = main.groupby(keys)["value"].agg(["mean", "std", "count"])
    for row in drawn.to_dict("records"):
        mean, std, n = ours.loc[tuple(row[key] for key in keys)]
        assert (row["mean"], row["std"], row["n"]) == pytest.approx((mean, std, n))
    assert len(drawn) >= 8


@pytest.mark.parametrize("modality", MODALITIES)
def test_cost_and_signs_of_collapse_are_those_of_the_results(whole, results, modality):
    main = results.query("experiment == 'main' and modality == @modality")
    wide = main.pivot_table(index="method", columns="metric", values="value")
    seconds = pd.to_numeric(main["pretrain_seconds"]).where(main["metric"] == "loss").groupby(main["method"]).mean()
    collapse = {row["method"]: row for row in read(whole, f"collapse_{modality}")}
    cost = {row["method"]: row for row in read(whole, f"cost_{modality}")}
    trained = wide[wide["target_var"].notna()].index
    assert {method_label(method) for method in trained} == set(collapse) == set(cost)
    for method in trained:
        row = collapse[method_label(method)]
        agree(row["targets' spread"], wide.loc[method, "target_var"])
        agree(row["predictions' spread"], wide.loc[method, "pred_var"])
        names = {"position_var": "of the position alone"} | {f"effective_rank_{b}": f"rank {b}" for b in (1, 2)}
        for metric, name in names.items():  # of data2vec only
            assert (row[name] == "") == np.isnan(wide.loc[method, metric])
            if row[name]:
                agree(row[name], wide.loc[method, metric])
        agree(cost[method_label(method)]["s per run"], seconds[method])
    points = read(whole, f"collapse_experiments_{modality}")
    assert {row["run"] for row in points} == {f"top_k: {value}" for value in results.query(
        "experiment == 'top_k' and modality == @modality")["variant"]}  # fmt: skip


def test_signs_of_collapse_stand_on_the_page_unfolded(whole):
    page = (whole.reports / "index.html").read_text(encoding="utf-8")
    for modality in MODALITIES:
        before = page[: page.index(f"tables/collapse_{modality}.md")]
        assert before.count("<details") == before.count("</details>")
    for words in ("targets&#x27; spread", "predictions&#x27; spread", "of the position alone", "rank 1", "rank 2"):
        assert words in page


def test_every_comparison_of_two_methods_is_that_of_the_results(whole, results):
    main = results.query("experiment == 'main'")
    names = {
        (modality_label(m), metric_label(k)): (m, k) for m, k in zip(main["modality"], main["metric"], strict=True)
    }
    checked = 0
    for row in read(whole, "claims_tests"):
        a, over, b = row["compared"].partition(" over ")
        key = names.get((row["modality"], row["metric"]))
        if not over or row["experiment"] != "main" or key is None:
            continue
        is_chosen = (main["modality"] == key[0]) & (main["metric"] == key[1]) & (main["dataset"] == row["data set"])
        wide = main[is_chosen].pivot(index="seed", columns="method", values="value").rename(columns=method_label)
        gain = (wide[a] - wide[b]) * (-1 if key[1].startswith("wer") else 1)
        assert int(row["n"]) == len(gain.dropna())
        agree(row["effect"], gain.mean())
        checked += 1
    assert checked >= 12
