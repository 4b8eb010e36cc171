"""Transcripts as letters."""

import pytest

from data2vec.downstream.letters import LIBRISPEECH, SPECIALS, Letters, plain


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello,  world!", "HELLO WORLD"),
        ("it\N{RIGHT SINGLE QUOTATION MARK}s well-known", "IT'S WELL KNOWN"),
        ("  ... ", ""),
        ("a|b <s>", "A B S"),
        ("Größe 12", "GRÖSSE 12"),
    ],
)
def test_transcripts_become_capitals_with_single_spaces(text: str, expected: str) -> None:
    assert plain(text) == expected


def test_librispeech_has_the_published_32_symbols_in_order() -> None:
    letters = Letters.of_librispeech()
    assert len(letters) == 32 and letters.symbols[:4] == SPECIALS
    assert letters.encode("THE") == [6, 11, 5, 4] and "".join(letters.symbols[4:]) == LIBRISPEECH


def test_letters_come_from_the_transcripts_most_frequent_first() -> None:
    letters = Letters.of_transcripts(["AB BA", "AC"])
    assert letters.symbols == (*SPECIALS, "|", "A", "B", "C")


def test_decoding_undoes_encoding() -> None:
    letters = Letters.of_transcripts(["IT'S A TEST"])
    assert letters.decode(letters.encode("IT'S A TEST")) == "IT'S A TEST"


def test_a_letter_outside_the_vocabulary_is_named_and_cannot_be_written() -> None:
    letters = Letters.of_transcripts(["ABC"])
    assert letters.unknown(["A É", "ÜB"]) == "ÉÜ"
    assert letters.decode(letters.encode("AÉ")) == "A?"
