"""Speech and text on the page, beside images."""

import csv
import re
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data2vec.reporting import drawing, figures_speech, figures_text
from data2vec.reporting.collect import score_dataset
from data2vec.reporting.names import METHODS, lower_is_better
from data2vec.reporting.report import build_report
from data2vec.reporting.runs import find_runs


@pytest.fixture(scope="module")
def page(whole):
    return (whole.reports / "index.html").read_text(encoding="utf-8")


def read(place, name):
    with (place.reports / "tables" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    "words",
    [
        'id="published-speech"', 'id="decoded-speech"', 'id="masked-text"', "mel filterbank", "TF-IDF",
        "rate is 27.6 ± 0.5 % with data2vec 2.0 and 71.1 ± 0.5 % with the strongest control, from scratch: 43.5 points "
        "less than the control", "Fine-tuned on GLUE, the average over its tasks is 62.2 ± 0.5 %",
        '<b>teach</b>', '<dd>BRING THE BOX TO FOR</dd>', '<i>BED</i><i>S</i>', "(nothing)",
    ],
)  # fmt: skip
def test_the_page_says_what_came_out_of_speech_and_text(page, words):
    assert words in page


def test_headings_and_ids_are_in_order(page):
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)
    levels = [int(level) for level in re.findall(r"<h([1-6])", page)]
    assert all(after - before <= 1 for before, after in pairwise(levels[1:]))
    assert len(page.encode()) < 5 * 2**20


@pytest.mark.parametrize("name", ["masked_speech", "masked_text", "ablation_label_amount", "cost_text"])
def test_each_figure_is_drawn_with_its_data(whole, name):
    path = whole.reports / "figures" / name
    with Image.open(path.with_suffix(".png")) as image:
        pixels = np.asarray(image.convert("L"))
    assert 0.01 < (pixels < 250).mean() < 0.9
    assert "<svg" in path.with_suffix(".svg").read_text()
    assert len(pd.read_csv(path.with_suffix(".csv"))) >= 4


def test_fewer_word_errors_are_better(whole):
    rows = {(row["method"], row["metric"]): row for row in read(whole, "controls_speech")}
    row = rows["data2vec 2.0", "espeak-words: word error rate (%)"]
    assert (row["strongest control"], row["verdict"]) == ("from scratch", "better than every control")
    low, high = map(float, row["95 % interval"].split(" to "))
    assert low < float(row["difference"]) < high < 0
    assert [lower_is_better(name) for name in ("wer_lm", "wer", "finetune_loss", "accuracy")] == [True] * 3 + [False]


def test_published_speech_stands_beside_ours_without_claiming_much(whole):
    rows = {(row["method"], row["metric"], row["ours on"]): row for row in read(whole, "headline_speech")}
    row = rows["data2vec 2.0", "espeak-words: word error rate with LM (%)", "espeak-words, tiny"]
    assert (row["published"], row["status"]) == ("11.5", "other data, not comparable")
    assert any(row["status"] == "not run" and row["published"] == "8.1" for row in rows.values())


def test_one_experiment_has_a_curve_and_a_direction_in_each_modality(whole, page):
    rows = read(whole, "ablation_top_k")
    assert list(dict.fromkeys(row["modality"] for row in rows)) == ["Images", "Speech", "Text"]
    assert {row["published"] for row in rows if row["target.top_k"] == "1"} == {"83.0", "39.4", "58.6"}
    assert "Images: same direction; Speech: same direction; Text: same direction" in page
    assert "Speech, trend: Kendall&#39;s τ = +" in page


def test_the_label_figure_has_every_method_and_the_published_hours(whole):
    data = pd.read_csv(whole.reports / "figures" / "ablation_label_amount.csv")
    ours = data.query("source == 'ours'")
    assert set(ours["method"]) == {"data2vec", "data2vec2", "from scratch"}
    published = data.query("source == 'published' and method == 'data2vec'")
    assert list(published["value"]) == [12.3, 9.1, 8.1, 6.8, 5.5]


@pytest.mark.parametrize(
    ("stage", "dataset", "name"),
    [
        ("finetune/librispeech-100h", "librispeech/test-other", "librispeech-100h/test-other"),
        ("finetune/fsdd-speaker", "fsdd", "fsdd-speaker"),
        ("finetune/fsdd", "fsdd", "fsdd"),
        ("finetune/label_amount--10", "espeak", "espeak"),
        ("probe", "espeak", "espeak"),
    ],
)
def test_two_tasks_on_one_data_set_do_not_fall_together(stage, dataset, name):
    assert score_dataset(stage, dataset) == name


@pytest.mark.parametrize(
    "words",
    [
        "data2vec 2.0: no accuracy for seed 1 (rte)",
        "wer is nan",
        "data2vec2/seed7, seed 0: ",
        "masked.npz: ",
        "data2vec 1.0, GLUE average: its row is not in the published tables",
        "experiment top_k: ",
    ],
)
def test_what_is_missing_is_said(battered_sequences, words):
    page = (battered_sequences.reports / "index.html").read_text(encoding="utf-8")
    assert words in page[page.index('<h2 id="missing">') :]


@pytest.mark.parametrize("module", [figures_speech, figures_text])
@pytest.mark.parametrize("damage", ["truncated", "shapes", "absent array", "not a zip"])
def test_a_damaged_picture_is_said_and_left_out(tmp_path, synthetic, module, damage):
    path = tmp_path / "masked.npz"
    (synthetic.write_speech_masked if module is figures_speech else synthetic.write_text_masked)(path, 0.5)
    assert module.load_masked(path, []) is not None
    with np.load(path) as file:
        arrays = dict(file)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:500])
    elif damage == "shapes":
        np.savez(path, **{**arrays, "error": arrays["error"][:, :2]})
    elif damage == "absent array":
        np.savez(path, **{name: arrays[name] for name in arrays if name != "error"})
    else:
        path.write_text("hello")
    issues = []
    assert module.load_masked(path, issues) is None
    assert [issue.kind for issue in issues] == ["unreadable"]


def test_a_text_without_hidden_tokens_still_draws(tmp_path, synthetic):
    folder = tmp_path / "results/embedded/text/data2vec2/seed0"
    synthetic.write_run(folder, "data2vec2", "main", "data2vec2", 0, modality="text", data="pydoc")
    synthetic.write_text_masked(folder / "masked.npz", 0.0)
    with drawing.style():
        figure, passages = figures_text.masked(find_runs(tmp_path / "results", None, []), [])
        drawing.save(figure, tmp_path)
    assert not any(piece.is_hidden for block in passages[0].blocks for piece in block)


def test_a_modality_with_nothing_but_a_control_builds(tmp_path, synthetic):
    rows = [{"metric": "wer", "value": 90.0, "unit": "%", "dataset": "an4"}]
    synthetic.write_json(tmp_path / "results/mini/speech/scratch/seed0/finetune/an4/metrics.json", {"rows": rows})
    page = build_report(tmp_path / "results", tmp_path / "reports", synthetic.PUBLISHED, tmp_path / "none")
    assert "an4: word error rate (%)" in page.read_text()


def test_every_method_has_a_look_of_its_own():
    assert set(METHODS) <= set(drawing.LOOK)
    assert len(set(drawing.LOOK.values())) == len(drawing.LOOK)
