"""Preparing speech sets: recordings that cannot be used, archives in parts, the real sets of a mirror."""

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data2vec.data.integrity import file_digest
from data2vec.data.sources import SOURCES
from data2vec.errors import UserError

from .made_data import table, tone, tones, tree, write_archive

Prepare = Callable[..., Path]


def reasons(folder: Path) -> dict[str, str]:
    """What skipped.csv gives as the reason for each recording left out; the manifest must say the same."""
    rows = table(folder, "skipped")
    assert json.loads((folder / "manifest.json").read_text())["skipped"] == [
        f"{r['path']}: {r['reason']}" for r in rows
    ]
    return {row["path"]: row["reason"] for row in rows}


# ---- recordings that cannot be used


def test_each_recording_left_out_is_named_with_its_reason(
    run_prepare: Prepare, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "mine"
    tone(root / "good.wav")
    tone(root / "frame.wav", 0.025)
    tone(root / "short.wav", 0.0249)
    soundfile.write(root / "silent.wav", np.zeros(16_000), 16_000)
    soundfile.write(root / "long.wav", np.zeros(301 * 1000), 1000)
    (root / "broken.flac").write_bytes(b"not a flac file")
    (root / "empty.wav").write_bytes(b"")
    whole = tone(root / "cut.flac", 3.0).read_bytes()
    (root / "cut.flac").write_bytes(whole[: len(whole) // 2])
    soundfile.write(root / "nan.wav", np.full(16_000, np.nan), 16_000, subtype="FLOAT")
    with caplog.at_level(logging.WARNING):
        folder = run_prepare("audiofolder", root)
    said = reasons(folder)
    assert {name: said.pop(name) for name in ("short.wav", "silent.wav", "long.wav", "empty.wav", "nan.wav")} == {
        "short.wav": "too short, 0.025 s",
        "silent.wav": "silent",
        "long.wav": "too long, 301 s",
        "empty.wav": "empty, 0 bytes",
        "nan.wav": "holds values that are not finite",
    }
    assert said.pop("broken.flac").startswith("unreadable")
    assert said.pop("cut.flac").startswith(("cut short", "unreadable")) and not said
    assert [row["path"] for row in table(folder, "train")] == ["frame.wav", "good.wav"]
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1 and "left out 7 of 9 recordings (" in lines[0] and "1 silent" in lines[0]


def test_a_recording_that_only_the_transcripts_name_is_listed(run_prepare: Prepare, tmp_path: Path) -> None:
    root = tones(tmp_path / "mine", "a.wav", "b.wav")
    (root / "transcripts.tsv").write_text("a.wav\tone\nghost.wav\ttwo\nb.wav\tthree\n")
    folder = run_prepare("audiofolder", root)
    assert reasons(folder) == {"ghost.wav": "named in the lists of the set, but there is no such recording"}
    assert {row["transcript"] for row in table(folder, "train")} == {"ONE", "THREE"}


def test_a_recording_named_twice_keeps_its_first_transcript(run_prepare: Prepare, tmp_path: Path) -> None:
    root = tones(tmp_path / "mine", "a.wav", "b.wav")
    (root / "transcripts.tsv").write_text("a.wav\tone\nb.wav\ttwo\na\tthree\n")
    folder = run_prepare("audiofolder", root)
    assert reasons(folder) == {"a.wav": "named again in line 3 of transcripts.tsv; the first text is used"}
    assert [row["transcript"] for row in table(folder, "train")] == ["ONE", "TWO"]


def test_one_recording_in_two_formats_is_used_once(run_prepare: Prepare, tmp_path: Path) -> None:
    folder = run_prepare("audiofolder", tones(tmp_path / "mine", "a.wav", "a.flac", "sub/a.wav"))
    assert reasons(folder) == {"a.wav": "has the same name as a.flac, which is used"}
    assert [row["path"] for row in table(folder, "train")] == ["a.flac", "sub/a.wav"]


def test_a_recording_that_a_corpus_lists_twice_is_used_once(run_prepare: Prepare, tmp_path: Path) -> None:
    chapter = tones(tmp_path / "dev-clean" / "84" / "121", "84-121-0000.flac")
    (chapter / "84-121.trans.txt").write_text("84-121-0000 GO\n84-121-0000 STAY\n")
    folder = run_prepare("librispeech", tmp_path / "dev-clean")
    assert list(reasons(folder).values()) == ["named twice; its first entry is used"]
    assert [row["transcript"] for row in table(folder, "dev-clean")] == ["GO"]


@pytest.mark.parametrize("beside", [True, False])
def test_a_transcript_that_is_not_utf8_leaves_its_recording_out(
    beside: bool, run_prepare: Prepare, tmp_path: Path
) -> None:
    root = tones(tmp_path / "mine", "a.wav", "b.wav")
    if beside:
        (root / "a.txt").write_bytes("grün".encode("latin-1"))
        (root / "b.txt").write_text("grün")
    else:
        (root / "transcripts.tsv").write_bytes("a.wav\tgrün\n".encode("latin-1") + "b.wav\tgrün\n".encode())
    folder = run_prepare("audiofolder", root)
    assert reasons(folder) == {"a.wav": "its transcript is not UTF-8 text"}
    assert [(row["path"], row["transcript"]) for row in table(folder, "train")] == [("b.wav", "GRÜN")]


def test_a_corpus_with_a_transcript_that_is_not_utf8(run_prepare: Prepare, tmp_path: Path) -> None:
    chapter = tones(tmp_path / "train-clean-100" / "84" / "121", "84-121-0000.flac", "84-121-0001.flac", "x.flac")
    (chapter / "84-121.trans.txt").write_bytes(b"84-121-0000 CAF\xc9\n84-121-0001 GO\n")
    said = reasons(run_prepare("librispeech", tmp_path / "train-clean-100"))
    assert sorted(said.values()) == ["84-121.trans.txt has no transcript of it", "its transcript is not UTF-8 text"]


def test_a_set_without_any_usable_recording_is_refused(run_prepare: Prepare, tmp_path: Path) -> None:
    tone(tmp_path / "mine" / "a.wav", 0.01)
    with pytest.raises(UserError, match=r"none of 1 recordings can be used; the first: a\.wav: too short"):
        run_prepare("audiofolder", tmp_path / "mine")
    assert not list((tmp_path / "data").iterdir())


# ---- preparing again, places


def test_preparing_twice_reads_nothing_again_and_a_new_file_is_noticed(run_prepare: Prepare, tmp_path: Path) -> None:
    tone(tmp_path / "mine" / "one.wav")
    before = tree(run_prepare("audiofolder", tmp_path / "mine"))
    assert tree(run_prepare("audiofolder", tmp_path / "mine")) == before
    tone(tmp_path / "mine" / "two.wav")
    assert len(table(run_prepare("audiofolder", tmp_path / "mine"), "train")) == 2


def test_librispeech_without_a_folder_says_what_to_do(run_prepare: Prepare) -> None:
    with pytest.raises(UserError, match=r"openslr.*data.path=FOLDER"):
        run_prepare("librispeech")


@pytest.mark.parametrize("name", ["audioset", "audiofolder"])
def test_a_set_that_only_its_user_has_asks_for_the_folder(name: str, run_prepare: Prepare) -> None:
    with pytest.raises(UserError, match=rf"'{name}' needs data.path=FOLDER: put "):
        run_prepare(name)


@pytest.mark.parametrize("in_mirror", [True, False])
def test_official_archives_in_parts_are_checked_and_unpacked(
    in_mirror: bool, run_prepare: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "mirror" / "librispeech"
    archives = {}
    for part in ("dev-clean", "test-other"):
        flac = tone(tmp_path / "a.flac").read_bytes()
        chapter = f"LibriSpeech/{part}/84/121/84-121"
        files = {f"{chapter}-0000.flac": flac, f"{chapter}.trans.txt": b"84-121-0000 GO\n"}
        archives[part] = write_archive(base / f"{part}.tar.gz", files)
    stated = tuple((f"{part}.tar.gz", f"sha256:{file_digest(path)}") for part, path in archives.items())
    monkeypatch.setitem(SOURCES, "librispeech", replace(SOURCES["librispeech"], archives=stated))
    where = {"mirror": tmp_path / "mirror"} if in_mirror else {"path": base}
    folder = run_prepare("librispeech", **where)
    assert [len(table(folder, part)) for part in archives] == [1, 1]
    assert json.loads((folder / "manifest.json").read_text())["originals"][0]["checksum"] == stated[0][1]
    shutil.rmtree(folder)
    archives["dev-clean"].write_bytes(archives["dev-clean"].read_bytes() + b"\0")
    with pytest.raises(UserError, match=r"dev-clean\.tar\.gz is not the expected file"):
        run_prepare("librispeech", **where)


# ---- the real thing

REAL = {
    "an4": {"train": 844, "valid": 104},
    "fsdd": {"train": 2700, "test": 300},
    "yesno": {"train": 40, "valid": 5, "test": 15},
    "esc10": {"train": 58, "test": 22},
    "librispeech": {"dev-clean": 1, "test-clean": 4},
}


@pytest.mark.parametrize("name", REAL)
def test_real_sets_of_a_mirror(name: str, run_prepare: Prepare, real_mirror: Path) -> None:
    folder = run_prepare(name, mirror=real_mirror)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert {split: entry["items"] for split, entry in manifest["splits"].items()} == REAL[name]
    assert manifest["skipped"] == [] and manifest["source"] == "mirror"
    assert all(entry["checksum"] for entry in manifest["originals"])
    if name in ("fsdd", "esc10"):
        assert len(manifest["classes"]) == 10
        assert all(len(entry["per_class"]) == 10 for entry in manifest["splits"].values())
    else:
        assert all(row["transcript"] for split in REAL[name] for row in table(folder, split))
