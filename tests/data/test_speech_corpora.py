"""Layouts of corpora with transcripts."""

from pathlib import Path

import pytest

from data2vec.data.recordings import Corpus
from data2vec.data.speech_corpora import scan_an4, scan_librilight, scan_librispeech, scan_yesno
from data2vec.errors import UserError

from .made_data import tones


def splits(corpus: Corpus) -> dict[str, list[str]]:
    """Paths by split."""
    found: dict[str, list[str]] = {}
    for recording in corpus.recordings:
        found.setdefault(recording.split, []).append(recording.path)
    return found


def write_an4(root: Path, names: tuple[str, ...] = ("fash/an1-fash-b", "mjjs2/an2-mjjs2-b")) -> Path:
    tones(root / "wav" / "an4_clstk", *(f"{name}.flac" for name in names))
    (root / "etc").mkdir()
    (root / "etc" / "an4_train.fileids").write_text("".join(f"an4_clstk/{name}\n" for name in names))
    lines = (f"<s> ENTER {i} </s> ({name.split('/')[1]})\n" for i, name in enumerate(names))
    (root / "etc" / "an4_train.transcription").write_text("".join(lines))
    return root


def write_chapter(folder: Path) -> Path:
    """`<speaker>/<chapter>` with one utterance."""
    name = "-".join(folder.parts[-2:])
    tones(folder, f"{name}-0000.flac")
    (folder / f"{name}.trans.txt").write_text(f"{name}-0000 GO DO YOU HEAR\n")
    return folder


def test_an4_keeps_its_development_speakers_apart(tmp_path: Path) -> None:
    first, second = scan_an4(write_an4(tmp_path)).recordings
    assert (first.split, first.path) == ("train", "wav/an4_clstk/fash/an1-fash-b.flac")
    assert (first.speaker, first.transcript, first.label) == ("fash", "ENTER 0", "")
    assert (second.split, second.speaker) == ("valid", "mjjs2")


def test_an4_with_a_transcript_of_another_utterance_is_refused(tmp_path: Path) -> None:
    root = write_an4(tmp_path)
    (root / "etc" / "an4_train.transcription").write_text("<s> A </s> (x)\n<s> B </s> (y)\n")
    with pytest.raises(UserError, match="is not the transcript of an4_clstk/fash/an1-fash-b"):
        scan_an4(root)


def test_an4_with_fewer_transcripts_than_utterances_is_refused(tmp_path: Path) -> None:
    root = write_an4(tmp_path)
    (root / "etc" / "an4_train.transcription").write_text("<s> A </s> (an1-fash-b)\n")
    with pytest.raises(UserError, match=r"names 2 utterances, an4_train\.transcription transcribes 1"):
        scan_an4(root)


@pytest.mark.parametrize("above", ["", "LibriSpeech"])
def test_librispeech_parts_are_splits(above: str, tmp_path: Path) -> None:
    for part in ("train-clean-100", "train-other-500", "dev-clean"):
        write_chapter(tmp_path / above / part / "84" / "121")
    found = scan_librispeech(tmp_path)
    assert set(splits(found)) == {"train-clean-100", "train-other-500", "dev-clean"}
    assert {(r.speaker, r.transcript) for r in found.recordings} == {("84", "GO DO YOU HEAR")}
    assert all((tmp_path / recording.path).is_file() for recording in found.recordings)


@pytest.mark.parametrize("above", ["", "librispeech_finetuning"])
def test_librilight_subsets_are_nested(above: str, tmp_path: Path) -> None:
    for i in range(6):
        write_chapter(tmp_path / above / "1h" / str(i) / ("other" if i % 2 else "clean") / str(i) / "7")
    write_chapter(tmp_path / above / "9h" / "clean" / "10" / "7")
    speakers = {
        subset: [recording.speaker for recording in scan_librilight(tmp_path, subset).recordings]
        for subset in ("10min", "1h", "10h")
    }
    assert speakers == {"10min": ["0"], "1h": list("012345"), "10h": [*"012345", "10"]}


def test_librilight_takes_development_parts_from_a_librispeech_beside_it(tmp_path: Path) -> None:
    write_chapter(tmp_path / "librispeech_finetuning" / "1h" / "0" / "clean" / "1" / "2")
    for part in ("dev-other", "train-clean-100"):
        write_chapter(tmp_path / "LibriSpeech" / part / "3" / "4")
    assert list(splits(scan_librilight(tmp_path, "10min"))) == ["train", "dev-other"]
    with pytest.raises(UserError, match="holds no 9h/ of librispeech_finetuning"):
        scan_librilight(tmp_path, "10h")


def test_yesno_names_are_transcripts_and_every_part_begins_with_either_word(tmp_path: Path) -> None:
    """In the order of names all held-out recordings began with YES YES, and none of those learnt from did."""
    names = [f"{i:06b}" for i in range(60)]
    tones(tmp_path, *("_".join(name) + ".wav" for name in names), "readme_1.wav")
    found = scan_yesno(tmp_path)
    assert {split: len(paths) for split, paths in splits(found).items()} == {"train": 40, "valid": 5, "test": 15}
    texts = {Path(r.path).stem: r.transcript for r in found.recordings}
    assert texts["0_0_0_0_1_0"] == "NO NO NO NO YES NO"
    for split in ("train", "test"):
        begins = {" ".join(r.transcript.split()[:2]) for r in found.recordings if r.split == split}
        assert begins == {"NO NO", "NO YES", "YES NO", "YES YES"}
    assert [line.path for line in found.skipped] == ["readme_1.wav"]
    assert splits(scan_yesno(tmp_path)) == splits(found)


@pytest.mark.parametrize("scan", [scan_an4, scan_librispeech, scan_yesno])
def test_a_folder_of_another_layout_is_refused(scan, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match=r"is not (AN4|LibriSpeech|YESNO): "):
        scan(tmp_path)
