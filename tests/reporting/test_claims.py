"""Claims on the page, in tables and in claims.md: the same verdicts, computed from results.csv."""

import csv
import re
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from data2vec.reporting.claims import judge_claims
from data2vec.reporting.ledger import PublishedEffect, load_ledger
from data2vec.reporting.published import load_published
from data2vec.reporting.published_effects import ABSENT, published_effects


@pytest.fixture(scope="module")
def ledger(synthetic):
    return load_ledger(synthetic.PROJECT / "config" / "claims.yaml")


@pytest.fixture(scope="module")
def page(whole):
    return (whole.reports / "index.html").read_text(encoding="utf-8")


def read(place, name):
    with (place.reports / "tables" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("suffix", ["md", "csv", "tex", "html"])
def test_the_ledger_is_a_table_in_four_formats(whole, suffix):
    assert "S4-22" in (whole.reports / "tables" / f"claims.{suffix}").read_text()


def test_page_table_and_markdown_give_every_claim_the_same_verdict(whole, page):
    table = {row["id"]: row["verdict"] for row in read(whole, "claims")}
    assert len(table) == 98
    on_page = re.findall(r"<b>(S\d-\d+)</b> <span class=\"status \w+\">(.*?)</span>", page)
    assert dict(on_page) == table
    markdown = re.findall(
        r"^\| (S\d-\d+) \|.*?\| \*\*([a-z ]+)\*\* \|", (whole.reports / "claims.md").read_text(), re.M
    )
    assert dict(markdown) == table


def test_the_page_counts_verdicts_in_words(whole, page):
    found = Counter(row["verdict"] for row in read(whole, "claims"))
    for verdict, number in found.items():
        assert f"> {verdict} <b>{number}</b>" in page
    assert {"supported", "inconclusive at this scale", "not run", "documentation"} <= set(found)


def test_links_of_claims_lead_somewhere(whole, page):
    text = (whole.reports / "claims.md").read_text()
    ids = set(re.findall(r'\bid="([^"]+)"', page))
    assert set(re.findall(r"\(index\.html#([^)]+)\)", text)) <= ids
    for path in set(re.findall(r"\(((?:tables|figures)/[^)]+)\)", text)):
        assert (whole.reports / path).is_file(), path


@pytest.mark.parametrize(
    ("test", "modality", "dataset", "metric", "a", "b"),
    [
        ("v1_over_scratch", "vision", "digits", "finetune_top1", "data2vec", "from scratch"),
        ("v1_over_random", "speech", "espeak", "linear_top1", "data2vec", "random weights"),
        ("v2_over_v1", "speech", "espeak-words", "wer_lm", "data2vec2", "data2vec"),
    ],
)
def test_effects_agree_with_the_results(whole, test, modality, dataset, metric, a, b):
    results = pd.read_csv(whole.reports / "results.csv", dtype={"variant": str}, keep_default_na=False)
    rows = results.query("experiment == 'main' and modality == @modality and dataset == @dataset and metric == @metric")
    wide = rows.assign(value=rows["value"].astype(float)).pivot(index="seed", columns="method", values="value")
    gain = (wide[a] - wide[b]) * (-1 if metric == "wer_lm" else 1)
    words = {"vision": "Images", "speech": "Speech"}[modality]
    (row,) = [row for row in read(whole, "claims_tests") if (row["test"], row["modality"]) == (test, words)]
    assert row["data set"] == dataset
    assert float(row["effect"]) == pytest.approx(gain.mean(), abs=0.05)
    half = 4.3027 * gain.std(ddof=1) / np.sqrt(3)
    assert float(row["low"]) == pytest.approx(gain.mean() - half, abs=0.06)
    assert float(row["high"]) == pytest.approx(gain.mean() + half, abs=0.06)


def judged(frame, ledger, synthetic, published=None):
    issues = []
    numbers = load_published(published or synthetic.PUBLISHED, issues)
    (found,) = judge_claims(ledger, frame, numbers, {}, issues)
    return {row.claim.id: row for row in found.rows}, issues


def test_every_published_row_that_the_ledger_names_is_there(whole, ledger, synthetic):
    rows, issues = judged(whole.frame(), ledger, synthetic)
    assert issues == []
    assert all(one.source for row in rows.values() for one in row.published)
    assert str(rows["S2-2"].published[0]) == "16.4 times"
    assert str(rows["S0-11"].published[0]) == "+1.4 points (84.2, 82.8)"


def test_a_published_row_that_is_gone_is_said_and_the_claim_stays(whole, ledger, synthetic, tmp_path):
    rows, issues = judged(whole.frame(), ledger, synthetic, tmp_path)
    assert rows["S2-2"].published[0].words == ABSENT
    assert any("test mae_time_over_v2 of the claims: no published rows with table headline_speedup" in issue.what
               for issue in issues)  # fmt: skip


def test_two_published_rows_are_one_too_many(synthetic):
    issues = []
    effect = PublishedEffect.model_validate({"row": {"table": "headline_speedup"}})
    (found,) = published_effects("claim S9-9", [effect], load_published(synthetic.PUBLISHED, []), issues)
    assert found.words == ABSENT
    assert issues[0].what == "claim S9-9: 3 published rows with table headline_speedup, one is needed"


def test_a_claim_without_its_metric_says_what_is_missing(whole, ledger, synthetic):
    frame = whole.frame()
    rows, _ = judged(frame[frame["method"] != "masked_lm"], ledger, synthetic)
    assert (rows["S1-17"].verdict, rows["S1-17"].reasons) == ("not run", ["main runs of text: without masked LM"])


def test_one_seed_gives_no_verdict_on_any_claim(whole, ledger, synthetic):
    frame = whole.frame()
    rows, _ = judged(frame[frame["seed"] == 0], ledger, synthetic)
    assert {str(row.verdict) for row in rows.values()} == {"not run", "documentation"}
    assert any("one run, 3 seeds are needed" in reason for row in rows.values() for reason in row.reasons)


def test_nan_and_doubled_rows_change_n_and_nothing_else(whole, ledger, synthetic):
    frame = whole.frame()
    at = (frame["method"] == "data2vec") & (frame["modality"] == "vision") & (frame["seed"] == 1)
    frame.loc[at & (frame["metric"] == "finetune_top1"), "value"] = np.nan
    rows, _ = judged(pd.concat([frame, frame[frame["seed"] == 0]]), ledger, synthetic)
    assert rows["S2-18"].findings[3].reason == "2 seeds, 3 are needed"
    assert rows["S1-17"].findings[0].n == 3


def test_a_battered_report_still_has_every_claim(battered):
    assert len(read(battered, "claims")) == 98
    assert "efficiency.csv is not there" in battered.missing()
    assert "test mae_time_over_v2 of the claims: no published rows" in battered.missing()
