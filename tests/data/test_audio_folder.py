"""Folders of one's own: splits, transcripts, classes."""

from pathlib import Path

import pytest

from data2vec.data.audio_folder import scan_audio_folder
from data2vec.errors import UserError

from .made_data import tones


def by_path(root: Path, value: str) -> dict[str, str]:
    """A column of what is found, by path."""
    return {recording.path: getattr(recording, value) for recording in scan_audio_folder(root).recordings}


def test_without_splits_transcripts_or_classes_all_is_train(tmp_path: Path) -> None:
    tones(tmp_path, "a/one.wav", "two.flac", ".hidden/three.wav")
    (tmp_path / "notes.md").write_text("no audio")
    assert by_path(tmp_path, "split") == {"a/one.wav": "train", "two.flac": "train"}
    assert set(by_path(tmp_path, "label").values()) == {""}


@pytest.mark.parametrize("valid", ["valid", "dev", "val", "validation"])
def test_folders_are_splits(valid: str, tmp_path: Path) -> None:
    tones(tmp_path, "train/a.wav", f"{valid}/b.wav", "test/c.wav")
    assert list(by_path(tmp_path, "split").values()).count("valid") == 1
    assert sorted(by_path(tmp_path, "split").values()) == ["test", "train", "valid"]


def test_a_recording_outside_of_the_splits_is_refused(tmp_path: Path) -> None:
    tones(tmp_path, "train/a.wav", "test/b.wav", "three.wav")
    with pytest.raises(UserError, match=r"'three.wav' in none of them \(1 files\)"):
        scan_audio_folder(tmp_path)


def test_two_folders_for_one_split_are_refused(tmp_path: Path) -> None:
    tones(tmp_path, "dev/a.wav", "valid/b.wav")
    with pytest.raises(UserError, match="several folders for the split valid"):
        scan_audio_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("transcripts.tsv", "file\ttext\na.wav\tHello,  World\nsub/b\tyes\tno\n"),
        ("transcripts.csv", 'file,text\na.wav,"Hello,  World"\nsub/b.flac,yes no\n'),
        ("transcripts.csv", '\ufeffa.wav,"Hello,  World"\r\nsub/b.flac,yes no\r\n'),
    ],
)
def test_transcripts_from_a_table(name: str, text: str, tmp_path: Path) -> None:
    tones(tmp_path, "a.wav", "sub/b.wav", "c.wav")
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert by_path(tmp_path, "transcript") == {"a.wav": "HELLO, WORLD", "sub/b.wav": "YES NO", "c.wav": ""}
    assert scan_audio_folder(tmp_path).note == "1 of 3 recordings have no transcript: for pre-training only."


def test_transcripts_in_the_splits_and_beside_the_recordings(tmp_path: Path) -> None:
    tones(tmp_path, "train/a.wav", "train/b.wav", "test/a.wav")
    (tmp_path / "train" / "transcripts.tsv").write_text("a.wav\tone\n")
    (tmp_path / "train" / "b.txt").write_text("two\nlines\n")
    (tmp_path / "test" / "a.txt").write_text("three")
    assert by_path(tmp_path, "transcript") == {"train/a.wav": "ONE", "train/b.wav": "TWO LINES", "test/a.wav": "THREE"}


def test_a_line_that_is_no_transcript_is_named(tmp_path: Path) -> None:
    tones(tmp_path, "a.wav")
    (tmp_path / "transcripts.tsv").write_text("a.wav one\n")
    with pytest.raises(UserError, match=r"transcripts.tsv, line 1: 'a.wav one' is not file<TAB>text"):
        scan_audio_folder(tmp_path)


@pytest.mark.parametrize("above", ["", "train/"])
def test_class_folders_are_labels(above: str, tmp_path: Path) -> None:
    tones(tmp_path, f"{above}dog/a.wav", f"{above}cat/a.wav", f"{above}cat/b.wav")
    assert sorted(by_path(tmp_path, "label").values()) == ["cat", "cat", "dog"]


def test_folders_are_no_classes_where_there_are_transcripts(tmp_path: Path) -> None:
    tones(tmp_path, "anna/a.wav", "ben/a.wav")
    (tmp_path / "anna" / "a.txt").write_text("one")
    assert set(by_path(tmp_path, "label").values()) == {""}


def test_a_tenth_of_the_transcribed_recordings_is_held_out_for_each_part(tmp_path: Path) -> None:
    tones(tmp_path, *(f"{i}.wav" for i in range(40)))
    for i in range(20):
        (tmp_path / f"{i}.txt").write_text("one")
    splits = by_path(tmp_path, "split")
    held_out = {split: [path for path, s in splits.items() if s == split] for split in ("valid", "test")}
    assert [len(paths) for paths in held_out.values()] == [2, 2]
    assert all(int(Path(path).stem) < 20 for paths in held_out.values() for path in paths)
    assert by_path(tmp_path, "split") == splits
