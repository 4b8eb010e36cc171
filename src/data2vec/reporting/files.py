"""Writing that a reader never sees half done, and reading that never breaks a report.

What cannot be read becomes an `Issue`, which the page lists under "What is missing".
"""

import json
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml


@dataclass(frozen=True, order=True)
class Issue:
    """One thing the report does without, in words."""

    kind: str  # missing | not a number | doubled | unreadable | no published number | not run
    what: str


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; on success it is flushed to disk and takes target's place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays: matplotlib and others choose the format by it.
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem}.", suffix=target.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp makes files that only their owner can read
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Write `text` as UTF-8 with Unix line ends, whole or not at all."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def read_mapping(path: Path, issues: list[Issue]) -> dict[str, Any] | None:
    """The JSON or YAML mapping in `path`; None if it is absent, None and an issue if it is unreadable."""
    if not path.exists():
        return None
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text) if path.suffix in (".yaml", ".yml") else json.loads(text)
    except (OSError, UnicodeDecodeError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        issues.append(Issue("unreadable", f"{short_path(path)}: {reason}"))
        return None
    if not isinstance(content, dict):
        issues.append(Issue("unreadable", f"{short_path(path)}: not a mapping but {content!r:.40}"))
        return None
    return content


def read_json_lines(path: Path, issues: list[Issue]) -> list[dict[str, Any]]:
    """The JSON objects of a .jsonl file; other lines (a run killed mid-line) are counted as an issue."""
    if not path.exists():
        return []
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        issues.append(Issue("unreadable", f"{short_path(path)}: {error.strerror}"))
        return []
    records, broken = [], 0
    for line in filter(None, map(str.strip, lines)):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if isinstance(record, dict):
            records.append(record)
        else:
            broken += 1
    if broken:
        issues.append(Issue("unreadable", f"{short_path(path)}: {broken} of {broken + len(records)} lines"))
    return records


def to_csv_text(frame: pd.DataFrame) -> str:
    """A frame as CSV text with Unix line ends; the same frame gives the same text."""
    return str(frame.to_csv(index=False, lineterminator="\n"))


def number(value: Any) -> float:
    """`value` as a float; NaN for None, words, booleans and infinities."""
    if isinstance(value, bool) or value is None:
        return math.nan
    try:
        result = float(value)
    except (TypeError, ValueError):
        return math.nan
    return result if math.isfinite(result) else math.nan


def short_path(path: Path) -> str:
    """`path` from the current folder when it lies below it, else its last four parts: pages travel."""
    try:
        return path.resolve().relative_to(Path.cwd().resolve()).as_posix() or "."
    except ValueError:
        return Path(*path.resolve().parts[1:][-4:]).as_posix()
