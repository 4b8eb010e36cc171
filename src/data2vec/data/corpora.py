"""Where text comes from: the documents of each text data set, and their sentences.

A file is a document, a blank line ends a paragraph, unless `data2vec.data.layouts` knows better. Sentences are told
apart by a rule of thumb: `.`, `!` or `?` before a space and a capital letter or an opening quotation mark.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from data2vec.data import byte_pairs
from data2vec.data.archives import member_names, read_members
from data2vec.data.layouts import LAYOUTS, PARTS, Cut, Document, whole
from data2vec.errors import UserError

SPLITS = {"train": "train", "test": "test"} | dict.fromkeys(("valid", "val", "validation", "dev"), "valid")
HELD_OUT = 20  # one document in this many for validation, and one for testing
MOST_HELD_OUT = 500
SUBSTITUTE = "SUBSTITUTE: Project Gutenberg texts stand in the place of BookCorpus; the published corpus is another."
_OPENING = r"[A-Z0-9\"'\u201c\u2018(\[]"
_SENTENCE_END = re.compile(rf"(?<=[.!?])\s(?={_OPENING})|(?<=[.!?][\"'\u201d\u2019)\]])\s(?={_OPENING})")
_EXTRACTED = re.compile(r"wiki_\d+")  # WikiExtractor's names


def sentences(text: str) -> Iterator[str]:
    """The sentences of a document, white space collapsed."""
    for paragraph in re.split(r"\n\s*\n", text):
        yield from filter(None, _SENTENCE_END.split(" ".join(paragraph.split())))


def read_documents(name: str, files: Iterable[Path], limit: int) -> Iterator[Document]:
    """Documents of the data set `name`, made from archives or folders that unpack to at most `limit` bytes.

    Raises:
        UserError: a file is damaged, empty, not UTF-8 or holds NUL bytes, or there is no text.
    """
    for file in files:
        if name == "books-wikipedia":
            for part in parts_of(file):
                yield from _read(file / part, limit, PARTS[part], part)
        else:
            yield from _read(file, limit, LAYOUTS.get(name, whole), "")


def parts_of(folder: Path) -> list[str]:
    """The two sub-folders that make the paper's corpus, or its open substitute.

    Raises:
        UserError: Wikipedia or the books are missing, or there are two sorts of books.
    """
    found = [part for part in PARTS if (folder / part).is_dir()]
    if len(found) == 2 and "wikipedia" in found:
        return found
    raise UserError(
        f"{folder} holds {', '.join(f'{part}/' for part in found) or 'no part'} of books-wikipedia: it must hold "
        "wikipedia/ and one of bookcorpus/ or, as an open substitute, gutenberg/ (docs/data.md says where to get them)"
    )


def corpus_note(name: str, files: Iterable[Path]) -> str:
    """What a reader of numbers must know about the corpus beside its name."""
    is_substitute = name == "books-wikipedia" and any("gutenberg" in parts_of(file) for file in files)
    return SUBSTITUTE if is_substitute else ""


def _read(file: Path, limit: int, cut: Cut, part: str) -> Iterator[Document]:
    present = member_names(file, limit)
    # the order of ids of a released vocabulary is no text, though its name ends like one
    tables = {str(PurePosixPath(name).with_name(byte_pairs.ORDER)) for name in present if _is_merges(name)}
    names = [name for name in present if _is_text(name, part) and name not in tables]
    if not names:
        raise UserError(f"{file} holds no .txt files")
    named = {name: _named_split(name, file.is_dir()) for name in names}
    split_of = {name: split for name, split in named.items() if split}
    if len(split_of) < len(names):
        split_of = held_out(names)
    for name, content in read_members(file, limit, split_of.__contains__):
        yield from cut(Document(split_of[name], name, _decoded(content, f"{name} in {file}"), part))


def held_out(names: list[str]) -> dict[str, str]:
    """A split for each name: a twentieth, 1 to 500, for valid and for test; all for train below three."""
    order = sorted(names, key=lambda name: hashlib.sha256(name.encode(errors="surrogateescape")).digest())
    count = min(max(1, len(names) // HELD_OUT), MOST_HELD_OUT) if len(names) > 2 else 0
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


def _is_text(name: str, part: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix in (".txt", ".tokens", ".raw") or (part == "wikipedia" and bool(_EXTRACTED.fullmatch(path.name)))


def _is_merges(name: str) -> bool:
    return PurePosixPath(name).name == byte_pairs.MERGES


def _named_split(name: str, in_folder: bool) -> str | None:
    """The split that a path names by a folder (not the outermost of a folder), or by its own name."""
    *folders, file = PurePosixPath(name).parts[in_folder:]
    words = [*reversed(folders), file.lower().removeprefix("wiki.").partition(".")[0]]
    return next((SPLITS[word.lower()] for word in words if word.lower() in SPLITS), None)


def _decoded(content: bytes, where: str) -> str:
    """Text of a file. Raises UserError naming file, line and byte of what cannot be text."""
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{where}, line {_line(content, error.start)}: not UTF-8 text (byte {error.start:,}); convert it, for "
            "instance with iconv -f latin1 -t utf-8, or take it out"
        ) from None
    if (place := content.find(0)) >= 0:
        raise UserError(
            f"{where}, line {_line(content, place)}: a NUL byte (byte {place:,}); is it UTF-16, or no text at all? "
            "Convert it to UTF-8, or take it out"
        )
    if not text.strip():
        raise UserError(f"{where} is empty: fill it, or take it out")
    return text


def _line(content: bytes, place: int) -> int:
    return content.count(b"\n", 0, place) + 1
