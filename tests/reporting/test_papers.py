"""The papers' tables and figures: one file each, in the paper's layout, complete whatever was run."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from data2vec.errors import UserError
from data2vec.papers import read_papers
from data2vec.reporting.collect import collect
from data2vec.reporting.papers import build_paper, rows_of
from data2vec.reporting.papers_page import page
from data2vec.reporting.published import load_published

ROOT = Path(__file__).parents[2]
CONFIG = {name: ROOT / "config" / place for name, place in
          {"papers": "papers.yaml", "published": "published", "experiments": "experiments"}.items()}  # fmt: skip
PAPERS = read_papers(CONFIG["papers"])


@pytest.fixture(scope="module")
def runs(tmp_path_factory, synthetic):
    """Run folders of all three modalities, without a report."""
    root = tmp_path_factory.mktemp("papers")
    synthetic.make_all(root)
    return SimpleNamespace(root=root, reports=root / "reports")


@pytest.fixture(scope="module")
def published():
    return load_published(CONFIG["published"], [])


def table(place, name: str) -> pd.DataFrame:
    made = place.reports / "papers" / f"{name}.md"
    if not made.exists():
        build_paper(name, place.root / "results", place.reports, CONFIG)
    return pd.read_csv(made.with_suffix(".csv"), dtype=str, keep_default_na=False)


@pytest.mark.parametrize("name", PAPERS)
def test_every_table_and_figure_is_made_with_all_its_files(runs, name):
    table(runs, name)
    for file in PAPERS[name].files:
        assert (runs.reports / "papers" / file).stat().st_size > 0
    text = (runs.reports / "papers" / f"{name}.md").read_text(encoding="utf-8")
    assert f"paper_{name}" in text and PAPERS[name].state in text


def test_every_published_row_of_the_two_papers_belongs_to_a_table(published):
    mine = published[published["source"].str.contains("2202.03555v3|2212.07525")]
    mine = mine[~mine["table"].isin(["recipe_d2v1", "headline_speedup", "derived"])]  # prose, not tables
    covered = pd.concat([rows_of(paper, published) for paper in PAPERS.values()]).index
    left = mine.loc[~mine.index.isin(covered), "source"]
    assert not [s for s in left if "third-party note" not in s and "Papers with Code" not in s]


@pytest.mark.parametrize("name", [name for name, paper in PAPERS.items() if paper.layout != "none"])
def test_every_published_value_stands_in_its_table(runs, published, name):
    rows = rows_of(PAPERS[name], published)
    rows = rows[~rows["metric"].isin(["pretrain_time", "speedup_pretrain_wallclock"])]
    if PAPERS[name].layout == "scores":
        rows = rows[rows["file"] != "ablations"]
    cells = {cell for row in table(runs, name).to_numpy() for cell in row}
    numbers = {f"{float(cell):g}" for cell in cells if cell.replace(".", "", 1).isdigit()}
    assert len(rows)
    for value in rows["value"]:
        assert value in cells or f"{float(value):g}" in numbers, value


def test_ours_stands_below_the_system_and_nothing_of_ours_in_a_column_of_the_paper(runs):
    found = table(runs, "v1_table2")
    row = found.index[found["system"].str.startswith("data2vec, ours")]
    assert len(row) == 1
    assert found.loc[row[0] - 1, "system"] == "data2vec"
    assert found.loc[row[0], "espeak-words: word error rate (%)"] == "31.1 ± 0.5 (3)"
    assert (found.loc[row, [c for c in found if c.endswith("labelled")]] == "").all(axis=None)
    assert set(found.loc[found["system"] == "WavLM", "here"]) == {"not trained here"}
    assert set(found.loc[found["system"] == "HuBERT", "here"]) == {"not run at this scale"}


def test_each_task_of_glue_falls_into_its_column(runs):
    found = table(runs, "v1_table4").set_index("system")
    (ours,) = [name for name in found.index if name.startswith("data2vec, ours")]
    scores = collect(runs.root / "results").frame.query(
        "experiment == 'main' and method == 'data2vec' and dataset == 'rte'"
    )["value"]
    assert found.loc[ours, "RTE"] == f"{scores.mean():.1f} ± {scores.std():.1f} (3)"
    assert found.loc[ours, "GLUE_avg"].endswith("(3)")


@pytest.mark.parametrize("name", ["v1_table1", "v1_table5", "v2_figure_efficiency"])
def test_without_any_run_the_published_values_stand_alone(tmp_path, name):
    found = table(SimpleNamespace(root=tmp_path, reports=tmp_path / "reports"), name)
    assert "not run at this scale" in set(found["here"])
    assert "ours" not in set(found["here"])


def test_a_table_that_no_paper_has_is_named(tmp_path):
    with pytest.raises(UserError, match="did you mean 'v1_table2'"):
        build_paper("v1_tabel2", tmp_path, tmp_path, CONFIG)


def test_the_settings_of_the_papers_are_ours_or_said_to_differ(runs):
    found = table(runs, "v2_table8")
    assert set(found["here"]) <= {"same", "differs", "no key: depends on the machine"}
    base = found[found["model"] == "ViT-B"].set_index("setting")
    assert (base.loc[["R", "A", "B", "K", "target_norm"], "here"] == "same").all()


def test_the_kept_page_is_up_to_date():
    kept = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")
    assert kept == page(ROOT / "config"), "python -m data2vec report papers_page=docs/papers.md"
