"""Tab-separated tables: what is read, and what each mistake is called, with file and line."""

import pytest

from data2vec.data.sentence_rows import to_labelled
from data2vec.data.tables import parse_table
from data2vec.errors import UserError


def test_fields_are_taken_literally_quotes_and_strange_line_breaks_included() -> None:
    content = 'a\tb\r\n"He said\t""no""\nx\u2028y\x0b\t\x85 z\n'.encode()
    table = parse_table(b"\xef\xbb\xbf" + content, "t.tsv")
    assert table.columns == ("a", "b") and table.lines == [2, 3]
    assert table.rows == [['"He said', '""no""'], ["x\u2028y\x0b", "\x85 z"]]
    assert table.column("b") == ['""no""', "\x85 z"]


def test_a_table_without_header_begins_with_its_first_row() -> None:
    table = parse_table(b"1\tyes\n2\tno", "t.tsv", columns=("n", "word"))
    assert table.column("word") == ["yes", "no"] and table.lines == [1, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"t\.tsv is empty"),
        (b"\n\n", r"t\.tsv is empty"),
        (b"a\tb\n", r"t\.tsv holds no rows under its header"),
        (b"a\tb\n1\t2\n1\t2\t3\n", r"t\.tsv, line 3: 3 columns instead of 2, a, b"),
        (b"a\tb\n1\t2\n\n1\t2\n", r"t\.tsv, line 3: 1 columns instead of 2"),
        ("a\tb\n1\tGrün\n".encode("latin1"), r"t\.tsv, line 2: not UTF-8 text; convert it"),
        (b"a\tb\n1\t2\n1\t\x00\n", r"t\.tsv, line 3: holds a NUL byte"),
    ],
)
def test_a_damaged_table_is_named_with_its_line(content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_table(content, "t.tsv")


def test_malformed_rows_are_counted_where_they_may_be_left_out() -> None:
    table = parse_table(b"a\tb\n1\n1\t2\n", "t.tsv", skip_malformed=True)
    assert table.left_out == 1 and table.lines == [3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"text\tclass\nx\t1\n", r"t\.tsv, line 1: no column 'label' among text, class"),
        (b"text\tlabel\nx\t1\nx\tmaybe\n", r"t\.tsv, line 3: unknown label 'maybe', known are 0, 1"),
        (b"text\tlabel\n \t1\n", r"t\.tsv, line 2: the sentence is empty"),
    ],
)
def test_rows_that_are_no_labelled_sentences_are_named(content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        to_labelled(parse_table(content, "t.tsv"), "t.tsv", "text", None, "label", ("0", "1"))


@pytest.mark.parametrize("value", ["high", "nan", ""])
def test_scores_are_numbers(value: str) -> None:
    table = parse_table(f"text\tscore\nx\t3.5\ny\t{value}\n".encode(), "t.tsv")
    with pytest.raises(UserError, match=r"t\.tsv, line 3: the score '.*' is not a number"):
        to_labelled(table, "t.tsv", "text", None, "score", ())
