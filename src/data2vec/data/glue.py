"""GLUE's official files: which columns each task's tables have, read without changing them.

A file is found by its name anywhere in the archive or folder, except under `original/`; in a folder of all tasks,
under the task's own name. Columns are found by name where there is a header (all but CoLA's train and dev).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from data2vec.data.archives import read_members
from data2vec.data.sentence_rows import Labelled, to_labelled
from data2vec.data.tables import parse_table
from data2vec.errors import UserError

_PLAIN = (("train.tsv", "train"), ("dev.tsv", "valid"), ("test.tsv", "test"))
_MATCHED = (
    ("train.tsv", "train"),
    ("dev_matched.tsv", "valid"),
    ("dev_mismatched.tsv", "valid_mismatched"),
    ("test_matched.tsv", "test"),
    ("test_mismatched.tsv", "test_mismatched"),
)
_YES_NO = ("0", "1")
_ENTAILMENT = ("entailment", "not_entailment")


@dataclass(frozen=True)
class GlueTask:
    """Columns and files of one task. Without `classes` labels are scores.

    `board`: split and file name of the predictions that the leaderboard takes. `lenient`: rows with another number
    of columns are left out, as in the released preparation.
    """

    folder: str
    text: str
    text2: str | None
    label: str
    classes: tuple[str, ...]
    files: tuple[tuple[str, str], ...] = _PLAIN
    headless: tuple[str, ...] | None = None
    index: str = "index"
    lenient: bool = False
    board: tuple[tuple[str, str], ...] = ()


TASKS = {
    "cola": GlueTask(
        *("CoLA", "sentence", None, "label", _YES_NO),
        headless=("source", "label", "mark", "sentence"),
        board=(("test", "CoLA.tsv"),),
    ),
    "sst2": GlueTask("SST-2", "sentence", None, "label", _YES_NO, board=(("test", "SST-2.tsv"),)),
    "mrpc": GlueTask("MRPC", "#1 String", "#2 String", "Quality", _YES_NO, board=(("test", "MRPC.tsv"),)),
    "stsb": GlueTask("STS-B", "sentence1", "sentence2", "score", (), board=(("test", "STS-B.tsv"),)),
    "qqp": GlueTask(
        *("QQP", "question1", "question2", "is_duplicate", _YES_NO),
        index="id",
        lenient=True,
        board=(("test", "QQP.tsv"),),
    ),
    "mnli": GlueTask(
        *("MNLI", "sentence1", "sentence2", "gold_label", ("contradiction", "entailment", "neutral"), _MATCHED),
        board=(("test", "MNLI-m.tsv"), ("test_mismatched", "MNLI-mm.tsv")),
    ),
    "qnli": GlueTask("QNLI", "question", "sentence", "label", _ENTAILMENT, board=(("test", "QNLI.tsv"),)),
    "rte": GlueTask("RTE", "sentence1", "sentence2", "label", _ENTAILMENT, board=(("test", "RTE.tsv"),)),
    "wnli": GlueTask("WNLI", "sentence1", "sentence2", "label", _YES_NO, board=(("test", "WNLI.tsv"),)),
    "diagnostic": GlueTask(
        *("diagnostic", "sentence1", "sentence2", "label", ("contradiction", "entailment", "neutral")),
        files=(("diagnostic.tsv", "test"), ("AX.tsv", "test")),
        board=(("test", "AX.tsv"),),
    ),
}


def read_glue(name: str, files: Iterable[Path], limit: int) -> dict[str, Labelled]:
    """The splits of a task, from its official archive, or a folder that holds its tables.

    Raises:
        UserError: with file and line; or tables are missing.
    """
    task = TASKS[name]
    splits = {}
    wanted = dict(task.files)
    for member, content in _tables(task, files, limit):
        split = wanted[PurePosixPath(member).name]
        if split in splits:
            raise UserError(f"{member} is not the only table for the {split} split of {name}: remove the others")
        splits[split] = _read(task, split, content, member)
    needed = [split for split in ("train", "valid") if split in wanted.values()] or ["test"]
    if absent := [file for file, split in task.files if split in needed and split not in splits]:
        places = ", ".join(str(file) for file in files)
        raise UserError(f"{places} holds no {' or '.join(absent)} of {task.folder}")
    return splits


def _tables(task: GlueTask, files: Iterable[Path], limit: int) -> Iterator[tuple[str, bytes]]:
    """Name and content of the task's tables."""
    names = [file for file, _ in task.files]

    def wanted(member: str) -> bool:
        path = PurePosixPath(member)
        return path.name in names and not {"original", "__MACOSX"} & set(path.parts)

    for file in files:
        if file.suffix == ".tsv":
            yield file.name, file.read_bytes()
            continue
        # a folder of all tasks: only the one that bears the task's name
        folder = file / task.folder if (file / task.folder).is_dir() else file
        yield from read_members(folder, limit, wanted)


def _read(task: GlueTask, split: str, content: bytes, where: str) -> Labelled:
    is_test = split.startswith("test")
    table = parse_table(content, where, None if is_test else task.headless, task.lenient and not is_test)
    label = None if is_test else task.label
    index = task.index if is_test else None
    return to_labelled(table, where, task.text, task.text2, label, task.classes, index=index, lenient=task.lenient)
