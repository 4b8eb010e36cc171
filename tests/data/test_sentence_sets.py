"""Labelled sentences: GLUE's layouts, own tables, the embedded tasks; preparation and reading back."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data2vec.data import sentence_sets
from data2vec.data.corpora import Document
from data2vec.data.order_tasks import is_sentence, pair_order, shuffled, word_order
from data2vec.data.sentence_rows import Labelled
from data2vec.data.sentence_sets import load_sentences, sentence_splits
from data2vec.errors import UserError

from .made_data import write_archive, write_files

COLA = {
    "CoLA/train.tsv": b"gj04\t1\t\tThe cat sat.\ngj04\t0\t*\tCat the sat.\n",
    "CoLA/dev.tsv": b"gj04\t1\t\tA dog ran.\n",
    "CoLA/test.tsv": b'index\tsentence\n7\t"Who ran?\n',
    "CoLA/original/train.tsv": b"not this one",
}
MNLI_LABELS = ("entailment", "contradiction", "neutral")


def mnli(rows: int, extra: int) -> bytes:
    head = ["index", *(f"skipped{i}" for i in range(7)), "sentence1", "sentence2"]
    head += [f"label{i}" for i in range(extra)] + (["gold_label"] if extra else [])
    lines = ["\t".join(head)]
    for i in range(rows):
        labels = ["n/a"] * extra + [MNLI_LABELS[i % 3]] if extra else []
        lines.append("\t".join([str(i), *["n/a"] * 7, f"One {i}.", f"Two {i}.", *labels]))
    return ("\n".join(lines) + "\n").encode()


def test_an_official_archive_is_read_as_it_is(tmp_path: Path, run_prepare: Callable[..., Path]) -> None:
    archive = write_archive(tmp_path / "CoLA.zip", COLA)
    folder = run_prepare("cola", archive)
    train, test = load_sentences(folder, "train"), load_sentences(folder, "test")
    assert train.texts == ["The cat sat.", "Cat the sat."] and train.partners is None
    assert train.labels is not None and train.labels.tolist() == [1, 0]
    assert test.labels is None and test.texts == ['"Who ran?'] and test.index == ["7"]
    assert sentence_splits(folder) == {"train": True, "valid": True, "test": False}
    assert train.where(1) == f"{folder / 'train.tsv'}, line 3"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["splits"]["train"] == manifest["splits"]["train"] | {"items": 2, "per_class": {"1": 1, "0": 1}}
    assert "2 of the 8,551 official rows of train" in manifest["note"] and manifest["licence"]
    before = (folder / "manifest.json").stat().st_mtime_ns
    run_prepare("cola", archive)
    assert (folder / "manifest.json").stat().st_mtime_ns == before


def test_a_folder_of_all_tasks_gives_the_one_that_is_asked_for(
    tmp_path: Path, run_prepare: Callable[..., Path]
) -> None:
    files = {f"MNLI/{name}": mnli(rows, extra) for name, rows, extra in MNLI_FILES}
    folder = run_prepare("mnli", write_files(tmp_path / "glue", COLA | files))
    assert {split: len(load_sentences(folder, split)) for split in sentence_splits(folder)} == {
        **{"train": 6, "valid": 3, "valid_mismatched": 4, "test": 2, "test_mismatched": 1}
    }
    valid = load_sentences(folder, "valid")
    assert valid.partners == ["Two 0.", "Two 1.", "Two 2."] and valid.labels is not None
    assert [valid.classes[i] for i in valid.labels] == list(MNLI_LABELS)


MNLI_FILES = (
    *(("train.tsv", 6, 1), ("dev_matched.tsv", 3, 5), ("dev_mismatched.tsv", 4, 5)),
    *(("test_matched.tsv", 2, 0), ("test_mismatched.tsv", 1, 0)),
)


def test_broken_rows_of_qqp_are_left_out_and_counted_as_in_the_released_preparation(
    tmp_path: Path, run_prepare: Callable[..., Path]
) -> None:
    head = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
    train = f"{head}1\t1\t2\tWho?\tWhat?\t0\n2\t3\t4\tbroken\n3\t3\t4\tA?\t\t1\n".encode()
    files = {"QQP/train.tsv": train, "QQP/dev.tsv": f"{head}1\t1\t2\tWho?\tWhat?\t0\n".encode()}
    folder = run_prepare("qqp", write_files(tmp_path / "mine", files))
    assert load_sentences(folder, "train").partners == ["What?", ""]
    assert "1 malformed rows of train are left out" in json.loads((folder / "manifest.json").read_text())["note"]


def test_the_diagnostic_set_has_no_labels(tmp_path: Path, run_prepare: Callable[..., Path]) -> None:
    file = tmp_path / "AX.tsv"
    file.write_bytes(b"index\tsentence1\tsentence2\n0\tA.\tB.\n")
    folder = run_prepare("diagnostic", file)
    assert load_sentences(folder, "test").labels is None and sentence_splits(folder) == {"test": False}


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("train.tsv", b"gj04\t1\tThe cat.\n", r"train\.tsv, line 1: 3 columns instead of 4"),
        ("train.tsv", b"gj04\t1\t\tA.\ngj04\t2\t\tB.\n", r"train\.tsv, line 2: unknown label '2', known are 0, 1"),
        ("dev.tsv", b"", r"dev\.tsv is empty"),
        ("test.tsv", b"number\tsentence\n1\tA.\n", r"test\.tsv, line 1: no column 'index' among number, sentence"),
    ],
)
def test_a_broken_official_file_leaves_nothing_behind(
    tmp_path: Path, run_prepare: Callable[..., Path], file: str, content: bytes, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run_prepare("cola", write_files(tmp_path / "mine", COLA | {f"CoLA/{file}": content}))
    assert not (tmp_path / "data" / "cola").exists()


def test_a_missing_official_file_is_named(tmp_path: Path, run_prepare: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match=r"mine holds no dev\.tsv of CoLA"):
        run_prepare("cola", write_files(tmp_path / "mine", {"train.tsv": COLA["CoLA/train.tsv"]}))
    with pytest.raises(UserError, match=r"CoLA\.zip from https://.*/CoLA\.zip by hand"):
        run_prepare("cola")
    with pytest.raises(UserError, match=r"'mrpc' is not here: fetch it from https://gluebenchmark\.com"):
        run_prepare("mrpc")


def test_own_tables_name_their_classes_or_hold_scores(tmp_path: Path, run_prepare: Callable[..., Path]) -> None:
    rows = b"text\tlabel\nGood.\tyes\nBad.\tno\n"
    folder = run_prepare("sentences", write_files(tmp_path / "a", {"train.tsv": rows, "valid.tsv": rows}))
    train = load_sentences(folder, "train")
    assert train.classes == ["no", "yes"] and train.labels is not None and train.labels.tolist() == [1, 0]
    pairs = b"text\ttext2\tscore\nA.\tB.\t0.5\n"
    folder = run_prepare("sentences", write_files(tmp_path / "b", {"train.tsv": pairs, "valid.tsv": pairs}))
    train = load_sentences(folder, "train")
    assert train.classes == [] and train.partners == ["B."] and train.labels is not None
    assert train.labels.dtype == np.float64 and train.labels.tolist() == [0.5]


@pytest.mark.parametrize(
    ("valid", "message"),
    [
        (b"text\tlabel\nGood.\tmaybe\n", r"valid\.tsv, line 2: unknown label 'maybe', known are no, yes"),
        (b"text\nGood.\n", r"valid\.tsv, line 1: no column 'label' among text"),
        (None, r"holds no valid\.tsv: a table with the columns text and label"),
    ],
)
def test_own_tables_must_fit_each_other(
    tmp_path: Path, run_prepare: Callable[..., Path], valid: bytes | None, message: str
) -> None:
    files = {"train.tsv": b"text\tlabel\nGood.\tyes\nBad.\tno\n"} | ({"valid.tsv": valid} if valid else {})
    with pytest.raises(UserError, match=message):
        run_prepare("sentences", write_files(tmp_path / "mine", files))


def test_one_label_alone_is_no_task(tmp_path: Path, run_prepare: Callable[..., Path]) -> None:
    rows = b"text\tlabel\nGood.\tyes\n"
    with pytest.raises(UserError, match=r"train\.tsv: every label is 'yes', at least two different ones are needed"):
        run_prepare("sentences", write_files(tmp_path / "mine", {"train.tsv": rows, "valid.tsv": rows}))


def test_a_corpus_is_no_set_of_labelled_sentences(digits: Path) -> None:
    with pytest.raises(UserError, match="holds no labelled sentences"):
        load_sentences(digits / "digits", "train")


TEXT = "The old man bought some fresh bread there. He then went home to eat it alone.\n\n    code = [1, 2]\n\nYes."


def test_both_labels_of_the_embedded_tasks_have_the_same_words() -> None:
    for make in (word_order, pair_order):
        items = list(make(Document("train", "d", TEXT), set()))
        assert len(items) in (2, 4)
        for (label, one), (other_label, other) in zip(items[::2], items[1::2], strict=True):
            assert (label, other_label) == ("1", "0") and one != other
            assert Counter(" ".join(one).split()) == Counter(" ".join(other).split())


def test_the_order_of_words_is_not_given_away_by_capitals_and_full_stops() -> None:
    items = [text for _, (text, _) in word_order(Document("train", "d", TEXT), set())]
    assert items[0] == "the old man bought some fresh bread there" and items[0] != items[1]
    assert not any(text[0].isupper() or text.endswith(".") for text in items)
    assert shuffled(["a", "b"]) == ["b", "a"] and shuffled(list("abcd")) == shuffled(list("abcd"))


def test_what_was_seen_in_one_split_is_not_in_another() -> None:
    seen: set[str] = set()
    assert list(word_order(Document("train", "a", TEXT), seen))
    assert not list(word_order(Document("test", "b", TEXT), seen))


def test_code_and_lists_are_no_sentences() -> None:
    assert is_sentence("The object returned by this method is kept.", 6, 24)
    for text in ("Return x.", "the object returned by this method is kept.", "A = b + c ( d ) [ e ] == f ** g."):
        assert not is_sentence(text, 6, 24)


def test_an_embedded_task_is_prepared_once(run_prepare: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def make(name: str) -> dict[str, Labelled]:
        calls.append(name)
        return {split: Labelled(["A b.", "B a."], None, ["1", "0"], ["0", "1"]) for split in ("train", "valid", "test")}

    monkeypatch.setattr(sentence_sets, "make_items", make)
    folder = run_prepare("word-order")
    run_prepare("word-order")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert calls == ["word-order"] and manifest["source"] == "embedded" and manifest["classes"] == ["0", "1"]
    assert "not a published one" in manifest["note"]


GLUE_ROWS = {
    "cola": {"train": 8_551, "valid": 1_043, "test": 1_063},
    "mrpc": {"train": 3_668, "valid": 408, "test": 1_725},
    "stsb": {"train": 5_749, "valid": 1_500, "test": 1_379},
    "wnli": {"train": 635, "valid": 71, "test": 146},
    "diagnostic": {"test": 1_104},
}


@pytest.mark.parametrize("name", GLUE_ROWS)
def test_the_mirrors_glue_is_complete(name: str, real_mirror: Path, run_prepare: Callable[..., Path]) -> None:
    if not (real_mirror / "glue").is_dir():
        pytest.skip("the mirror holds no GLUE")
    manifest = json.loads((run_prepare(name, mirror=real_mirror) / "manifest.json").read_text())
    assert {split: entry["items"] for split, entry in manifest["splits"].items()} == GLUE_ROWS[name]
    assert "official rows" not in manifest["note"]
    if name == "mrpc":
        assert manifest["splits"]["train"]["per_class"] == {"0": 1_194, "1": 2_474}
