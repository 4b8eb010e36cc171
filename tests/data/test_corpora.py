"""The documents of each corpus, the splits they get, and files that are no text."""

from collections.abc import Callable
from pathlib import Path

import pytest

from data2vec.data.corpora import SUBSTITUTE, corpus_note, held_out, parts_of, read_documents, sentences
from data2vec.data.layouts import Document
from data2vec.errors import UserError

from .made_data import write_archive, write_files

LIMIT = 10**6


def documents(name: str, file: Path) -> list[Document]:
    return list(read_documents(name, [file], LIMIT))


def test_sentences_end_where_they_should() -> None:
    text = 'Mr. smith said, "Is it so?" He was\nright. "Yes!" they cried.\n\nCHAPTER II\n\n'
    text += "  It rained (a lot).  Then 3.5 km."
    assert list(sentences(text)) == [
        *('Mr. smith said, "Is it so?"', "He was right.", '"Yes!" they cried.', "CHAPTER II"),
        *("It rained (a lot).", "Then 3.5 km."),
    ]


def test_a_split_is_named_by_a_folder_or_drawn_from_the_names() -> None:
    names = [f"{i}.txt" for i in range(100)]
    drawn = held_out(names)
    assert drawn == held_out(names[::-1])
    assert [list(drawn.values()).count(split) for split in ("train", "valid", "test")] == [90, 5, 5]
    assert set(held_out(["a", "b"]).values()) == {"train"}
    many = list(held_out([str(i) for i in range(20_000)]).values())
    assert many.count("valid") == many.count("test") == 500


@pytest.mark.parametrize("name", ["wikitext-2", "wikitext-103"])
@pytest.mark.parametrize("ending", ["tokens", "raw"])
def test_wikitext_divides_into_articles(name: str, ending: str, tmp_path: Path) -> None:
    article = " \n = Cat = \n \n A cat sleeps . \n It purrs . \n = = Food = = \n Fish . \n"
    files = {f"{name}/wiki.{split}.{ending}": (article * 2).encode() for split in ("train", "valid", "test")}
    found = documents(name, write_archive(tmp_path / f"{name}-v1.zip", files))
    assert [document.split for document in found] == ["train"] * 2 + ["valid"] * 2 + ["test"] * 2
    assert list(sentences(found[1].text)) == ["= Cat =", "A cat sleeps .", "It purrs .", "= = Food = =", "Fish ."]


def test_one_long_play_is_cut_into_three_splits(tmp_path: Path) -> None:
    text = "\n\n".join(f"SPEAKER:\nline {i}" for i in range(100))
    found = documents("tinyshakespeare", write_files(tmp_path / "t", {"input.txt": text.encode()}))
    assert [(d.split, d.text.count("SPEAKER")) for d in found] == [("train", 90), ("valid", 5), ("test", 5)]
    assert "\n\n".join(document.text for document in found) == text


@pytest.fixture
def both(tmp_path: Path) -> Path:
    """Wikipedia as WikiExtractor writes it, and two books of Project Gutenberg."""
    articles = (
        '<doc id="1" url="u" title="Cat">\nCat\n\nA cat.\nIt purrs.\n</doc>\n<doc id="2" url="u" title="R">\n\n</doc>\n'
    )
    book = "Licence.\n*** START OF THE PROJECT GUTENBERG EBOOK EMMA ***\nEmma was\nclever.\n\nShe was rich.\n"
    book += "*** END OF THE PROJECT GUTENBERG EBOOK EMMA ***\nMore licence."
    files = {"wikipedia/AA/wiki_00": articles, "wikipedia/train/one.txt": "An article.", "gutenberg/train/1.txt": book}
    files |= {"gutenberg/train/2.txt": "A book without a licence.", "encoder.json": "{}", "dict.txt": "1 2"}
    return write_files(tmp_path / "both", {name: text.encode() for name, text in files.items()})


def test_books_and_wikipedia_are_two_parts_of_one_corpus(both: Path) -> None:
    found = documents("books-wikipedia", both)
    assert [document.part for document in found] == ["wikipedia"] * 2 + ["gutenberg"] * 2
    assert [list(sentences(document.text)) for document in found] == [
        ["Cat", "A cat.", "It purrs."],
        ["An article."],
        ["Emma was clever.", "She was rich."],
        ["A book without a licence."],
    ]


def test_the_open_substitute_is_labelled_as_one(both: Path) -> None:
    assert corpus_note("books-wikipedia", [both]) == SUBSTITUTE and "SUBSTITUTE" in SUBSTITUTE
    (both / "gutenberg").rename(both / "bookcorpus")
    assert corpus_note("books-wikipedia", [both]) == "" == corpus_note("textfolder", [both])
    lines = [list(sentences(document.text)) for document in documents("books-wikipedia", both)]
    assert ["Emma was", "clever.", "She was rich."] == lines[2][2:5]  # a line of BookCorpus is a sentence


def test_a_corpus_without_its_parts_says_which(both: Path) -> None:
    (both / "bookcorpus").mkdir()
    with pytest.raises(UserError, match=r"holds wikipedia/, bookcorpus/, gutenberg/ .* one of bookcorpus/ or"):
        parts_of(both)
    with pytest.raises(UserError, match=r"holds no part of books-wikipedia: it must hold wikipedia/"):
        parts_of(both / "wikipedia")


def test_the_table_of_a_released_vocabulary_is_no_text(tmp_path: Path) -> None:
    files = {"a.txt": b"Some text.", "bpe/dict.txt": b"1 2\n", "bpe/vocab.bpe": b"a b\n", "other/dict.txt": b"A word."}
    found = documents("textfolder", write_files(tmp_path / "own", files))
    assert [document.text for document in found] == ["Some text.", "A word."]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("Eins.\nGrüße".encode("latin1"), r"bad\.txt in .*, line 2: not UTF-8 text \(byte 8\); convert it"),
        ("Eins.\nZwei.".encode("utf-16-le"), r"bad\.txt in .*, line 1: a NUL byte \(byte 1\); is it UTF-16"),
        (b"One.\nTwo.\n\0\0", r"bad\.txt in .*, line 3: a NUL byte \(byte 10\)"),
        (b"", r"bad\.txt in .* is empty: fill it, or take it out"),
        (b" \n\n \t", r"bad\.txt in .* is empty"),
    ],
    ids=["latin-1", "UTF-16", "binary", "no bytes", "white space"],
)
@pytest.mark.parametrize("write", [write_files, lambda path, files: write_archive(path.with_suffix(".tar.xz"), files)])
def test_a_file_that_is_no_text_is_named_with_its_line(
    write: Callable[[Path, dict[str, bytes]], Path], content: bytes, said: str, tmp_path: Path
) -> None:
    place = write(tmp_path / "texts", {"good.txt": b"A sentence.", "bad.txt": content})
    with pytest.raises(UserError, match=said):
        documents("textfolder", place)


def test_a_folder_without_text_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no \.txt files"):
        documents("textfolder", write_files(tmp_path / "own", {"a.md": b"text"}))
