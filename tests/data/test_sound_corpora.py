"""Layouts of sets with classes."""

import csv
from pathlib import Path

import pytest

from data2vec.data.recordings import Corpus
from data2vec.data.sound_corpora import scan_audioset, scan_esc, scan_fsdd, scan_speech_commands
from data2vec.errors import UserError

from .made_data import tones


def paths(corpus: Corpus, split: str) -> list[str]:
    return [recording.path for recording in corpus.recordings if recording.split == split]


def test_fsdd_holds_out_the_first_five_of_each_digit_and_speaker(tmp_path: Path) -> None:
    tones(tmp_path, *(f"7_theo_{i}.wav" for i in range(7)), "other.wav")
    found = scan_fsdd(tmp_path)
    assert paths(found, "test") == [f"7_theo_{i}.wav" for i in range(5)]
    assert paths(found, "train") == ["7_theo_5.wav", "7_theo_6.wav"]
    first = found.recordings[0]
    assert (first.speaker, first.transcript, first.label) == ("theo", "SEVEN", "7")
    assert [line.path for line in found.skipped] == ["other.wav"]


def test_speech_commands_follows_its_lists(tmp_path: Path) -> None:
    names = ("bed/0a_nohash_0.wav", "bed/0b_nohash_1.wav", "cat/0a_nohash_0.wav", "_background_noise_/rain.wav")
    tones(tmp_path, *names)
    (tmp_path / "validation_list.txt").write_text("bed/0b_nohash_1.wav\n")
    (tmp_path / "testing_list.txt").write_text("cat/0a_nohash_0.wav\ncat/gone_nohash_0.wav\n")
    found = scan_speech_commands(tmp_path)
    assert [paths(found, split) for split in ("train", "valid", "test")] == [[names[0]], [names[1]], [names[2]]]
    assert [(r.speaker, r.label, r.transcript) for r in found.recordings][-1] == ("0a", "cat", "CAT")
    assert [line.path for line in found.skipped] == ["cat/gone_nohash_0.wav"]


def write_esc(root: Path, rows: list[tuple[int, str, str, bool]]) -> Path:
    """ESC-50's table of (fold, category, src_file, esc10); the file is called by its number."""
    (root / "meta").mkdir(parents=True)
    with (root / "meta" / "esc50.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["filename", "fold", "target", "category", "esc10", "src_file", "take"])
        writer.writerows((f"{i}.wav", fold, 0, name, ten, src, "A") for i, (fold, name, src, ten) in enumerate(rows))
    return root


def test_esc50_holds_out_fold_5(tmp_path: Path) -> None:
    rows = [(fold, name, f"{fold}{i}", name == "dog") for fold in (1, 4, 5) for i, name in enumerate(("dog", "siren"))]
    whole, ten = (scan_esc(write_esc(tmp_path, rows) if only else tmp_path, only) for only in (True, False))
    assert len(ten.recordings) == 6 and len(whole.recordings) == 3
    assert paths(whole, "test") == ["audio/4.wav"] and whole.recordings[0].label == "dog"


def test_a_single_fold_is_split_by_source_recording(tmp_path: Path) -> None:
    sources = {"dog": "11 12 13 14 15 16 17 18", "cry": "21 21 21 22 22 22 23 23", "hum": "31 31 31 31"}
    rows = [(4, name, src, True) for name, listed in sources.items() for src in listed.split()]
    found = scan_esc(write_esc(tmp_path, rows), True)
    test = {rows[int(Path(path).stem)][2] for path in paths(found, "test")}
    train = {rows[int(Path(path).stem)][2] for path in paths(found, "train")}
    assert test == {"17", "18", "23"}  # a quarter of each class; hum has one source only
    assert not test & train and "split by source recording" in found.note


def test_audioset_uses_the_clips_that_exist_and_reports_coverage(tmp_path: Path) -> None:
    comment = "# Segments csv created Sun Mar  5 10:54:31 2017\n# YTID, start_seconds, end_seconds, positive_labels\n"
    train = 'aaaaaaaaaaa, 30.000, 40.000, "/m/09x0r,/m/0bt9lr"\nbbbbbbbbbbb, 0.000, 10.000, "/m/09x0r"\n'
    train += '-_ccccccccc, 0.000, 10.000, "/m/09x0r"\n'
    (tmp_path / "balanced_train_segments.csv").write_text(comment + train)
    (tmp_path / "eval_segments.csv").write_text(comment + 'ddddddddddd, 0.000, 9.000, "/m/zz"\n')
    (tmp_path / "class_labels_indices.csv").write_text(
        'index,mid,display_name\n0,/m/09x0r,"Male speech, man"\n1,/m/0bt9lr,Dog\n'
    )
    tones(tmp_path / "clips", "Yaaaaaaaaaaa.wav", "-_ccccccccc_0_10000.flac", "ddddddddddd.wav", "zzzzzzzzzzz.wav")
    found = scan_audioset(tmp_path)
    assert [(r.split, r.path, r.label) for r in found.recordings] == [
        ("train-balanced", "clips/Yaaaaaaaaaaa.wav", "Male speech, man;Dog"),
        ("train-balanced", "clips/-_ccccccccc_0_10000.flac", "Male speech, man"),
        ("test", "clips/ddddddddddd.wav", "/m/zz"),
    ]
    assert found.note == "Coverage: train-balanced 2 of 3 clips, test 1 of 1 clips."
    assert [line.path for line in found.absent] == ["bbbbbbbbbbb"] and not found.skipped


def test_audioset_without_clips_is_refused(tmp_path: Path) -> None:
    (tmp_path / "eval_segments.csv").write_text('ddddddddddd, 0.000, 9.000, "/m/zz"\n')
    with pytest.raises(UserError, match=r"none of the clips .*test 0 of 1 clips"):
        scan_audioset(tmp_path)


@pytest.mark.parametrize(
    "scan", [scan_fsdd, scan_speech_commands, scan_audioset, lambda root: scan_esc(root, only_esc10=False)]
)
def test_a_folder_of_another_layout_is_refused(scan, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match=r"is not (FSDD|Speech Commands|AudioSet|ESC-50): "):
        scan(tmp_path)
