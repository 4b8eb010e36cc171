"""Tables: the same cells in four formats, and words that do not claim too much."""

import csv
import math
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from data2vec.reporting.formats import EMPTY
from data2vec.reporting.ladders import control_verdict
from data2vec.reporting.published import PublishedNumber, load_published, match, status

TABLES = ("headline_vision", "controls_vision", "cost_vision", "missing", "ablation_top_k")


class Cells(HTMLParser):
    """The text of each cell of the first table, row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.inside = False

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")
            self.inside = True

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("th", "td")

    def handle_data(self, data):
        if self.inside:
            self.rows[-1][-1] += data


def read_markdown(text):
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def read_latex(text):
    body = [line.removesuffix(r" \\") for line in text.splitlines() if line.endswith(r" \\")]
    plain = [re.sub(r"\\([%_&#])", r"\1", line).replace("--", EMPTY) for line in body]
    return [line.split(" & ") for line in plain]


@pytest.mark.parametrize("name", TABLES)
def test_four_formats_have_the_same_cells(built, name):
    path = built.reports / "tables" / name
    with path.with_suffix(".csv").open(newline="") as file:
        rows = [[cell or EMPTY for cell in row] for row in csv.reader(file)]
    page = Cells()
    page.feed(path.with_suffix(".html").read_text())
    assert page.rows == rows
    assert read_markdown(path.with_suffix(".md").read_text()) == rows
    assert read_latex(path.with_suffix(".tex").read_text()) == rows


def read(built, name):
    with (built.reports / "tables" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_published_stands_beside_ours(built):
    rows = {(row["method"], row["metric"]): row for row in read(built, "headline_vision")}
    row = rows["data2vec 2.0", "fine-tuned (%)"]
    assert (row["published"], row["ours"], row["n"], row["difference"]) == ("84.5", "95.0", "3", "+10.5")
    assert row["spread"] == "0.2"
    assert row["status"] == "other data, not comparable"
    assert row["published on"] == "ImageNet-1K, ViT-B, 200 epochs"
    assert rows["data2vec 2.0", "nearest neighbours (%)"]["status"] == "no published number"


def test_pretraining_is_set_against_the_strongest_control(built):
    rows = {(row["method"], row["metric"]): row for row in read(built, "controls_vision")}
    row = rows["data2vec 2.0", "linear probe (%)"]
    assert (row["strongest control"], row["difference"]) == ("raw pixels", "+3.7")
    assert row["verdict"] == "better than every control"
    assert rows["data2vec 1.0", "nearest neighbours (%)"]["verdict"] == "within the spread"
    assert rows["raw pixels", "linear probe (%)"]["verdict"] == "control"


def test_the_published_ablation_stands_at_its_value(built):
    assert [row["published"] for row in read(built, "ablation_top_k")] == ["83.0", "83.5", "83.9", "83.8"]


HERE = PublishedNumber(84.5, "ImageNet-1K", "ViT-B", "200 epochs", "", "", checked=True)
SAME = {"dataset": "imagenet", "model": "base", "metric": "finetune_top1"}


@pytest.mark.parametrize(
    ("ours", "std", "n", "where", "published", "words"),
    [
        (84.4, 0.2, 3, SAME, HERE, "reproduced"),
        (84.0, 0.2, 3, SAME, HERE, "worse than published"),
        (85.0, 0.2, 3, SAME, HERE, "better than published"),
        (84.5, math.nan, 1, SAME, HERE, "one run, no verdict"),
        (84.5, 0.2, 3, SAME | {"dataset": "cifar10"}, HERE, "other data, not comparable"),
        (84.5, 0.2, 3, SAME | {"model": "tiny"}, HERE, "other model, not comparable"),
        (84.5, 0.2, 3, SAME, None, "no published number"),
        (math.nan, math.nan, 0, SAME, HERE, "not run"),
        (84.5, 0.2, 3, SAME, PublishedNumber(84.5, "ImageNet-1K", "Base", "", "", "", checked=False),
         "published value unchecked"),
    ],
)  # fmt: skip
def test_status_never_says_reproduced_without_the_same_data_and_model(ours, std, n, where, published, words):
    assert status(ours, std, n, where, "imagenet", published) == words


@pytest.mark.parametrize(
    ("method", "metric", "model", "value", "size"),
    [
        ("data2vec", "finetune_top1", "base", 84.2, "ViT-B"),
        ("data2vec", "finetune_top1", "large", 86.6, "ViT-L"),  # not the superseded 86.2
        ("data2vec2", "finetune_top1", "large", 86.8, "ViT-L"),
        ("data2vec2", "finetune_top1", "tiny", 84.5, "ViT-B"),
        ("data2vec", "linear_top1", "tiny", 77.3, "ViT-L"),
        ("from scratch", "finetune_top1", "base", 82.3, "ViT-B"),
    ],
)
def test_the_published_number_is_the_right_one(synthetic, method, metric, model, value, size):
    issues = []
    record = {"modality": "vision", "dataset": "digits", "metric": metric, "method": method, "model": model}
    found = match(load_published(synthetic.PUBLISHED, issues), record)
    assert issues == []
    assert (found.value, found.model) == (value, size)
    assert found.checked


def test_a_remembered_number_is_marked_as_unchecked(synthetic):
    record = {"modality": "vision", "dataset": "imagenet", "metric": "finetune_top1", "method": "data2vec2"}
    found = match(load_published(synthetic.PUBLISHED, []), record | {"model": "huge"})
    assert (found.value, found.checked) == (87.4, False)


def ladder(**controls):
    """A ladder of the linear probe: control -> (mean, std, n)."""
    names = {"random": "random weights", "pixels": "raw pixels"}
    rows = [{"method": names[key], "metric": "linear_top1", "mean": mean, "std": std, "n": n}
            for key, (mean, std, n) in controls.items()]  # fmt: skip
    columns = ["method", "metric", "mean", "std", "n"]
    return pd.DataFrame(rows, columns=columns).sort_values("mean", ascending=False)


@pytest.mark.parametrize(
    ("controls", "words"),
    [
        ({"random": (80, 1, 3), "pixels": (85, 0, 3)}, "better than every control"),
        ({"random": (80, 1, 3), "pixels": (85, math.nan, 1)}, "better than every control"),
        ({"random": (80, 1, 3), "pixels": (89.5, 0.1, 3)}, "within the spread"),
        ({"random": (80, 12, 3), "pixels": (85, 0, 3)}, "within the spread"),  # a wide control, though not the best
        ({"random": (80, 1, 3), "pixels": (95, 0, 3)}, "worse than a control"),
        ({"random": (80, 1, 3)}, "better, but without raw pixels"),
        ({"random": (80, math.nan, 1), "pixels": (85, 0, 3)}, "better, but one run of random weights"),
        ({}, "no control was run"),
    ],
)
def test_better_than_every_control_needs_every_control(controls, words):
    record = {"modality": "vision", "metric": "linear_top1", "mean": 90.0, "std": 0.5, "n": 3}
    assert control_verdict(record, ladder(**controls))[0] == words
