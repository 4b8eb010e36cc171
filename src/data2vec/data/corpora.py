"""Where text comes from: the documents of each text data set, and their sentences.

A file is a document, a blank line ends a paragraph. Sentences are told apart by a rule of thumb: `.`, `!` or `?`
before a space and a capital letter or an opening quotation mark.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from data2vec.data.archives import member_names, read_members
from data2vec.errors import UserError

SPLITS = {"train": "train", "test": "test"} | dict.fromkeys(("valid", "val", "validation", "dev"), "valid")
HELD_OUT = 20  # one document in this many for validation, and one for testing
_OPENING = r"[A-Z0-9\"'\u201c\u2018(\[]"
_SENTENCE_END = re.compile(rf"(?<=[.!?])\s(?={_OPENING})|(?<=[.!?][\"'\u201d\u2019)\]])\s(?={_OPENING})")
_ARTICLE = re.compile(r"^ ?= [^=].* = ?$")


@dataclass(frozen=True)
class Document:
    """One document of a split."""

    split: str
    name: str
    text: str


def sentences(text: str) -> Iterator[str]:
    """The sentences of a document, white space collapsed."""
    for paragraph in re.split(r"\n\s*\n", text):
        yield from filter(None, _SENTENCE_END.split(" ".join(paragraph.split())))


def read_documents(name: str, files: Iterable[Path], limit: int) -> Iterator[Document]:
    """Documents of the data set `name`, made from archives or folders that unpack to at most `limit` bytes.

    Raises:
        UserError: a file is damaged, is not UTF-8, or there is no text.
    """
    for file in files:
        names = [member for member in member_names(file, limit) if _is_text(member)]
        if not names:
            raise UserError(f"{file} holds no .txt files")
        named = {member: _named_split(member, file.is_dir()) for member in names}
        split_of = {member: split for member, split in named.items() if split}
        if len(split_of) < len(names):
            split_of = held_out(names)
        for member, content in read_members(file, limit, _is_text):
            split, text = split_of[member], _decoded(content, f"{member} in {file}")
            if name == "wikitext-2":
                yield from _articles(split, member, text)
            else:
                yield Document(split, member, text)


def held_out(names: list[str]) -> dict[str, str]:
    """A split for each name: a twentieth, at least one, for valid and for test; all for train below three."""
    order = sorted(names, key=lambda name: hashlib.sha256(name.encode(errors="surrogateescape")).digest())
    count = max(1, len(names) // HELD_OUT) if len(names) > 2 else 0
    return {name: ("test", "valid")[i // count] if i < 2 * count else "train" for i, name in enumerate(order)}


def python_documents() -> Iterator[Document]:
    """Prose that comes with Python: the language reference's topics and the docstrings of the standard library."""
    from pydoc_data import topics

    texts: dict[str, str] = {f"topic {name}": text for name, text in topics.topics.items()}
    root = Path(sysconfig.get_path("stdlib"))
    for name in sorted(sys.stdlib_module_names):
        for file in [root / f"{name}.py", *sorted((root / name).glob("*.py"))]:
            if file.is_file() and (text := "\n\n".join(_docstrings(file))):
                texts[f"module {file.relative_to(root).as_posix()}"] = text
    split_of = held_out(list(texts))
    return (Document(split_of[name], name, text) for name, text in texts.items())


def _docstrings(file: Path) -> Iterator[str]:
    with warnings.catch_warnings(action="ignore"):  # old escapes in strings, no business of ours
        tree = ast.parse(file.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if text := ast.get_docstring(node):
                yield text


def _is_text(name: str) -> bool:
    return PurePosixPath(name).suffix in (".txt", ".tokens")


def _named_split(name: str, in_folder: bool) -> str | None:
    """The split that a path names by a folder (not the outermost of a folder), or by its own name."""
    *folders, file = PurePosixPath(name).parts[in_folder:]
    words = [*reversed(folders), file.lower().removeprefix("wiki.").partition(".")[0]]
    return next((SPLITS[word.lower()] for word in words if word.lower() in SPLITS), None)


def _decoded(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{where} is not UTF-8 text (byte {error.start:,}); convert it, for instance with iconv -f latin1 -t utf-8"
        ) from None


def _articles(split: str, name: str, text: str) -> Iterator[Document]:
    """The articles of a WikiText file: ` = Title = ` begins one, each line is a paragraph."""
    lines: list[str] = []
    for line in [*text.split("\n"), " = end = "]:
        if _ARTICLE.match(line):
            if any(part.strip() for part in lines):
                yield Document(split, name, "\n\n".join(lines))
            lines = []
        lines.append(line)
