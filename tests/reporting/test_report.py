"""The whole report: one page that can be sent, and that builds whatever is missing."""

import html
import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from data2vec.errors import UserError
from data2vec.reporting.files import write_text
from data2vec.reporting.report import build_report

VOID = {"meta", "link", "img", "br", "input"}


class Outline(HTMLParser):
    """Tags of a page: attributes of each, and whether they are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.stack: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag


@pytest.fixture(scope="module")
def page(built):
    return (built.reports / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def outline(page):
    parser = Outline()
    parser.feed(page)
    assert parser.stack == []
    return parser.tags


def test_the_page_needs_nothing_from_elsewhere(page, outline):
    for tag, attributes in outline:
        for name in ("src", "href", "srcset", "data", "poster", "action"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes[name][:80])
        assert tag not in ("script", "iframe", "object", "embed")
    assert not re.search(r"url\((?!data:)", page)
    assert "@import" not in page
    assert len(page.encode()) < 5 * 2**20


def test_each_picture_has_words_for_those_who_cannot_see_it(outline, built):
    alts = [attributes.get("alt", "") for tag, attributes in outline if tag == "img"]
    assert len(alts) == len(list((built.reports / "figures").glob("*.png")))
    assert all(len(alt) > 20 and re.search(r"\d", alt) for alt in alts)  # what was measured, not only what it is
    assert len(set(alts)) == len(alts)


def test_headings_step_down_one_level_at_a_time(outline):
    levels = [int(tag[1]) for tag, _ in outline if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    body = levels[levels.index(1) :]
    assert all(after - before <= 1 for before, after in pairwise(body))


def test_contents_and_skip_link_lead_somewhere(outline):
    ids = [attributes["id"] for _, attributes in outline if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {attributes["href"][1:] for tag, attributes in outline if tag == "a"}
    assert targets <= set(ids)
    parts = {f"{part}-vision" for part in ("published", "controls", "masked", "curves", "cost")}
    assert {"main", "summary", "vision", "ablations", "missing", "provenance", *parts} <= targets


def test_scrolling_boxes_can_be_reached_by_keyboard(outline):
    boxes = [attributes for _, attributes in outline if "scroll" in attributes.get("class", "").split()]
    assert boxes
    assert all(box.get("tabindex") == "0" and box.get("aria-label") for box in boxes)


def test_the_skip_link_comes_first_and_nothing_takes_focus_away(page, outline):
    body = outline[[tag for tag, _ in outline].index("body") + 1 :]
    assert body[0] == ("a", {"class": "skip", "href": "#main"})
    assert [attributes.get("tabindex") for _, attributes in outline if attributes.get("id") == "main"] == ["-1"]
    assert {attributes["tabindex"] for _, attributes in outline if "tabindex" in attributes} <= {"0", "-1"}
    style = page[page.index("<style>") : page.index("</style>")]
    assert ":focus-visible { outline: 3px" in style and "outline: none" not in style and "outline: 0" not in style


def test_print_unfolds_what_the_screen_folds(page):
    printed = page[page.index("@media print") : page.index("</style>")]
    assert "details::details-content { content-visibility: visible" in printed
    assert "nav, .skip { display: none; }" in printed


def test_each_figure_says_the_command_that_makes_it_again(page, built):
    found = {}
    for place in page.split("Files: <code>figures/")[1:]:
        code = re.search(r"Made again by <code>(.*?)</code>", place).group(1)
        found[place.partition(".png")[0]] = html.unescape(re.sub("<.*?>", "", code))
    assert set(found) == {path.stem for path in (built.reports / "figures").glob("*.png")}
    start = "snakemake --cores all reports/figures --config scale=embedded seeds=3 'modalities=[vision]' "
    assert found["headline_vision"] == start + "'experiments=[]'"
    assert found["ablation_top_k"] == found["curves_top_k"] == start + "'experiments=[top_k]'"


def test_the_first_paragraph_has_the_real_values(page):
    lead = re.search(r'<p class="lead">(.*?)</p>', page, re.S).group(1)
    for words in ("digits", "tiny", "3 seeds", "300 updates", "38,400 samples", "Some CPU @ 2.5 GHz",
                  "92.6 ± 0.4 %", "raw pixels", "no row here is a reproduction"):  # fmt: skip
        assert words in lead


def test_the_page_says_where_it_comes_from(page):
    for words in (
        "0123456789ab",
        "2026-01-02",
        "torch 2.11.0",
        "3.11.9",
        "python -m data2vec report results=",
    ):
        assert words in page


def test_nothing_is_called_reproduced_on_other_data(built):
    assert "reproduced" not in (built.reports / "tables" / "headline_vision.csv").read_text()


def test_the_same_runs_give_the_same_page(built, again):
    names = re.compile(r"[\w./-]*results(?=/embedded| )|(reports|experiments)=[\w./-]+")
    first, second = ((place.reports / "index.html").read_text() for place in (built, again))
    assert names.sub("", first) == names.sub("", second)


@pytest.mark.parametrize(
    "words",
    [
        "data2vec 1.0: no linear probe for seed 1",
        "data2vec 1.0: no nearest neighbours for seed 1",
        "finetune_top1 is nan",
        "data2vec2/seed7, seed 0: ",
        "linear_top1 (kept 92.6, left out 92.6)",
        "no control “raw pixels” for linear probe on digits",
        "metrics.jsonl: 1 of 33 lines",
        "data2vec 2.0, fine-tuned: its row is not in the published tables",
        "efficiency.csv is not there",
        "experiment later: For later",
        "experiment top_k, target.top_k = 8: no linear probe for seeds 0, 1, 2",
        "experiment top_k, target.top_k = 4: no linear probe for seed 2",
        "experiment top_k, target.top_k = 2: no linear probe for seed 1",
        "top_k--2/seed1/probe: linear_top1 is nan",
        "experiments/broken.yaml: while parsing",
    ],
)
def test_what_is_missing_is_said(battered, words):
    page = (battered.reports / "index.html").read_text(encoding="utf-8")
    assert words in page[page.index('<h2 id="missing">') :]


def test_what_is_missing_changes_n_and_nothing_else(battered):
    table = pd.read_csv(battered.reports / "tables" / "headline_vision.csv").set_index(["method", "metric"])
    assert table.loc[("data2vec 2.0", "linear probe (%)"), "n"] == 3  # a doubled seed does not count twice
    assert table.loc[("data2vec 1.0", "linear probe (%)"), "n"] == 2
    assert table.loc[("data2vec 1.0", "fine-tuned (%)"), "n"] == 2
    assert table.loc[("data2vec 1.0", "fine-tuned (%)"), "ours"] == pytest.approx(94.2)
    assert table.loc[("data2vec 2.0", "fine-tuned (%)"), "status"] == "no published number"
    ablation = pd.read_csv(battered.reports / "tables" / "ablation_top_k.csv").set_index("target.top_k")
    assert list(ablation["n"]) == [3, 2, 2, 3]
    assert ablation["published"].isna().to_list() == [True, False, False, False]  # the row of K = 1 is gone


def test_without_any_published_number_the_report_still_builds(place, tmp_path):
    place.published = tmp_path / "nowhere"
    assert "no table “d2v1_topK_fig2”" in place.build()


def test_one_seed_and_nothing_but_pretraining_builds(tmp_path, synthetic):
    folder = tmp_path / "results" / "embedded" / "vision" / "data2vec2" / "seed0"
    synthetic.write_run(folder, "data2vec2", "main", "data2vec2", 0)
    target = build_report(tmp_path / "results", tmp_path / "reports", synthetic.PUBLISHED, tmp_path / "none")
    page = target.read_text()
    assert "No score yet" in page
    assert "not run" in page


def test_a_run_that_recorded_almost_nothing_builds(tmp_path, synthetic):
    folder = tmp_path / "results" / "embedded" / "vision" / "data2vec2" / "seed0"
    synthetic.write_json(folder / "metrics.json", {"rows": [{"metric": "linear_top1", "value": 50}]})
    synthetic.write_json(folder / "provenance.json", {"hardware": "a laptop", "packages": None})
    (folder / "metrics.jsonl").write_text('{"update": 1, "loss": NaN}\n{"update": 2}\n')
    target = build_report(tmp_path / "results", tmp_path / "reports", synthetic.PUBLISHED, tmp_path / "none")
    assert "linear probe" in target.read_text()


@pytest.mark.parametrize("scale", [None, "mini"])
def test_nothing_to_report_says_where_it_looked_and_what_to_run(tmp_path, scale, synthetic):
    (tmp_path / "results" / "embedded").mkdir(parents=True)
    with pytest.raises(UserError, match="nothing to report: no finished run under") as error:
        build_report(tmp_path / "results", tmp_path / "reports", synthetic.PUBLISHED, tmp_path / "none", scale)
    assert "snakemake" in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "reports").exists()


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    target = tmp_path / "index.html"
    write_text(target, "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("data2vec.reporting.files.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_text(target, "new")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_two_scales_stand_apart(place, synthetic):
    for seed in range(2):
        folder = place.root / "results/mini/vision/data2vec2" / f"seed{seed}"
        synthetic.write_run(folder, "data2vec2", "main", "data2vec2", seed)
        (folder / "config.yaml").write_text((folder / "config.yaml").read_text().replace("digits", "cifar10"))
        rows = [{"metric": "linear_top1", "value": 48.0 + seed, "unit": "%", "dataset": "cifar10"}]
        synthetic.write_json(folder / "probe/metrics.json", {"rows": rows})
    place.build()
    table = pd.read_csv(place.reports / "tables" / "headline_vision.csv")
    means = table.loc[(table["method"] == "data2vec 2.0") & (table["metric"] == "linear probe (%)"), "ours"]
    assert np.isclose(sorted(means), [48.5, 92.6]).all()


def test_the_page_does_not_tell_where_its_maker_keeps_things(page, built):
    assert str(built.root.parent) not in page
    assert str(built.published) not in page
