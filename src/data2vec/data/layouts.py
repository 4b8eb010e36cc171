"""How the files of each corpus divide into documents, where a file is not simply one.

A layout takes a file as one document and gives the documents in it. Paragraphs end at a blank line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

_HEADING = re.compile(r"^ ?= [^=].* = ?$")
_ARTICLE = re.compile(r"^<doc [^>\n]*>$\n?(.*?)^</doc>$", re.MULTILINE | re.DOTALL)
_GUTENBERG_START = re.compile(r"^\*\*\* ?START OF TH(?:E|IS) PROJECT GUTENBERG EBOOK.*$", re.MULTILINE | re.IGNORECASE)
_GUTENBERG_END = re.compile(r"^\*\*\* ?END OF TH(?:E|IS) PROJECT GUTENBERG EBOOK.*$", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True)
class Document:
    """One document of a split; `part` is the sub-corpus that it belongs to, where there are some."""

    split: str
    name: str
    text: str
    part: str = ""


Cut = Callable[[Document], Iterator[Document]]


def whole(file: Document) -> Iterator[Document]:
    """A file is a document."""
    yield file


def wikitext(file: Document) -> Iterator[Document]:
    """The articles of a WikiText file: ` = Title = ` begins one, each line is a paragraph."""
    lines: list[str] = []
    for line in [*file.text.split("\n"), " = end = "]:
        if _HEADING.match(line):
            if any(part.strip() for part in lines):
                yield replace(file, text="\n\n".join(lines))
            lines = []
        lines.append(line)


def play(file: Document) -> Iterator[Document]:
    """One long file: 90 % of its paragraphs for train, 5 % for valid, 5 % for test, in this order."""
    paragraphs = re.split(r"\n\s*\n", file.text)
    borders = [0, len(paragraphs) * 90 // 100, len(paragraphs) * 95 // 100, len(paragraphs)]
    for split, first, last in zip(("train", "valid", "test"), borders, borders[1:], strict=False):
        if first < last:
            yield replace(file, split=split, text="\n\n".join(paragraphs[first:last]))


def wikipedia(file: Document) -> Iterator[Document]:
    """The articles of a file that WikiExtractor wrote, or one article; each line is a paragraph."""
    articles = _ARTICLE.findall(file.text) if "<doc " in file.text else [file.text]
    for article in articles:
        if article.strip():
            yield replace(file, text=article.replace("\n", "\n\n"))


def lines(file: Document) -> Iterator[Document]:
    """One book, or a file of sentences; each line is a paragraph."""
    yield replace(file, text=file.text.replace("\n", "\n\n"))


def gutenberg(file: Document) -> Iterator[Document]:
    """One book without the header and footer of Project Gutenberg."""
    start, end = _GUTENBERG_START.search(file.text), _GUTENBERG_END.search(file.text)
    yield replace(file, text=file.text[start.end() if start else 0 : end.start() if end else None])


LAYOUTS: dict[str, Cut] = {"wikitext-2": wikitext, "wikitext-103": wikitext, "tinyshakespeare": play}
PARTS: dict[str, Cut] = {"wikipedia": wikipedia, "bookcorpus": lines, "gutenberg": gutenberg}
