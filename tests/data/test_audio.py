"""Speech sets: layouts, recordings that cannot be used, and reading them back at 16 kHz."""

import csv
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from data2vec.config import DataConfig
from data2vec.data.audio import load_audio, normalise_waveform
from data2vec.data.prepare import prepare
from data2vec.errors import UserError


def tone(path: Path, seconds: float = 1.0, rate: int = 16_000, channels: int = 1, seed: int = 0) -> Path:
    """A noisy tone; the ending of the name decides the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(seed).normal(0, 0.05, (len(t), channels))
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * 440 * t)[:, None] + noise, rate)
    return path


def prepared(name: str, folder: Path, data_dir: Path) -> dict:
    return json.loads(prepare(DataConfig(name=name, path=str(folder)), data_dir).read_text())


def table(data_dir: Path, name: str, split: str = "train") -> list[dict[str, str]]:
    with (data_dir / name / f"{split}.csv").open() as stream:
        return list(csv.DictReader(stream))


def write_an4(root: Path, names: tuple[str, ...] = ("fash/an1-fash-b", "mjjs2/an2-mjjs2-b")) -> Path:
    for i, name in enumerate(names):
        tone(root / "wav" / "an4_clstk" / f"{name}.flac", 0.5 + i / 10, seed=i)
    (root / "etc").mkdir()
    (root / "etc" / "an4_train.fileids").write_text("".join(f"an4_clstk/{name}\n" for name in names))
    lines = (f"<s> ENTER {i} </s> ({name.split('/')[1]})\n" for i, name in enumerate(names))
    (root / "etc" / "an4_train.transcription").write_text("".join(lines))
    return root


# ---- layouts


def test_an4_keeps_its_development_speakers_apart(tmp_path: Path) -> None:
    manifest = prepared("an4", write_an4(tmp_path / "an4"), tmp_path / "data")
    assert {split: entry["items"] for split, entry in manifest["splits"].items()} == {"train": 1, "valid": 1}
    assert table(tmp_path / "data", "an4") == [
        {
            "path": "wav/an4_clstk/fash/an1-fash-b.flac",
            "frames": "8000",
            "rate": "16000",
            "speaker": "fash",
            "transcript": "ENTER 0",
            "label": "",
        }
    ]
    assert table(tmp_path / "data", "an4", "valid")[0]["speaker"] == "mjjs2"


def test_an4_with_a_transcript_of_another_utterance_is_refused(tmp_path: Path) -> None:
    root = write_an4(tmp_path / "an4")
    (root / "etc" / "an4_train.transcription").write_text("<s> A </s> (x)\n<s> B </s> (y)\n")
    with pytest.raises(UserError, match="is not the transcript of an4_clstk/fash/an1-fash-b"):
        prepare(DataConfig(name="an4", path=str(root)), tmp_path / "data")


@pytest.mark.parametrize("wrapped", [True, False])
def test_librispeech_parts_become_splits(tmp_path: Path, wrapped: bool) -> None:
    root = tmp_path / "libri"
    base = root / "LibriSpeech" if wrapped else root
    for part in ("train-clean-100", "train-other-500", "dev-clean"):
        chapter = base / part / "84" / "121"
        tone(chapter / "84-121-0000.flac")
        (chapter / "84-121.trans.txt").write_text("84-121-0000 GO DO YOU HEAR\n")
    manifest = prepared("librispeech", root, tmp_path / "data")
    assert {split: entry["items"] for split, entry in manifest["splits"].items()} == {
        "dev-clean": 1,
        "train-clean-100": 1,
        "train-other-500": 1,
    }
    assert table(tmp_path / "data", "librispeech", "dev-clean")[0]["transcript"] == "GO DO YOU HEAR"


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    tone(tmp_path / "mine" / "a" / "one.wav")
    tone(tmp_path / "mine" / "two.flac", 0.5)
    (tmp_path / "mine" / "notes.txt").write_text("no audio")
    manifest = prepared("audiofolder", tmp_path / "mine", tmp_path / "data")
    assert manifest["splits"]["train"]["items"] == 2 and manifest["splits"]["train"]["hours"] == 0.0004
    recordings = load_audio(tmp_path / "data" / "audiofolder", "train")
    assert recordings.lengths.tolist() == [16_000, 8_000]
    assert [len(recordings.waveform(i)) for i in range(2)] == [16_000, 8_000]


def test_a_folder_with_splits(tmp_path: Path) -> None:
    tone(tmp_path / "mine" / "train" / "one.wav")
    tone(tmp_path / "mine" / "test" / "two.wav")
    assert list(prepared("audiofolder", tmp_path / "mine", tmp_path / "data")["splits"]) == ["test", "train"]
    tone(tmp_path / "mine" / "three.wav")
    with pytest.raises(UserError, match=r"'three.wav' in none of them"):
        prepare(DataConfig(name="audiofolder", path=str(tmp_path / "mine")), tmp_path / "data")


@pytest.mark.parametrize("name", ["an4", "librispeech", "audiofolder"])
def test_a_folder_of_another_layout_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"is not AN4|is not LibriSpeech|holds no audio files"):
        prepare(DataConfig(name=name, path=str(tmp_path / "empty")), tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())


def test_librispeech_without_a_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"openslr.*data.path=FOLDER"):
        prepare(DataConfig(name="librispeech"), tmp_path)


def test_preparing_twice_reads_nothing_again_and_a_new_file_is_noticed(tmp_path: Path) -> None:
    tone(tmp_path / "mine" / "one.wav")
    prepared("audiofolder", tmp_path / "mine", tmp_path / "data")
    before = (tmp_path / "data" / "audiofolder" / "manifest.json").stat().st_mtime_ns
    prepared("audiofolder", tmp_path / "mine", tmp_path / "data")
    assert (tmp_path / "data" / "audiofolder" / "manifest.json").stat().st_mtime_ns == before
    tone(tmp_path / "mine" / "two.wav")
    assert prepared("audiofolder", tmp_path / "mine", tmp_path / "data")["splits"]["train"]["items"] == 2


# ---- recordings that cannot be used


def test_each_recording_left_out_is_named_with_its_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "mine"
    tone(root / "good.wav")
    tone(root / "short.wav", 0.02)
    soundfile.write(root / "silent.wav", np.zeros(16_000), 16_000)
    soundfile.write(root / "long.wav", np.zeros(301 * 1000), 1000)
    (root / "broken.flac").write_bytes(b"not a flac file")
    (root / "empty.wav").write_bytes(b"")
    whole = tone(root / "cut.flac", 3.0).read_bytes()
    (root / "cut.flac").write_bytes(whole[: len(whole) // 2])
    with caplog.at_level(logging.WARNING):
        manifest = prepared("audiofolder", root, tmp_path / "data")
    reasons = dict(line.split(": ", 1) for line in manifest["skipped"])
    assert set(reasons) == {"short.wav", "silent.wav", "long.wav", "broken.flac", "empty.wav", "cut.flac"}
    assert reasons["silent.wav"] == "silent" and reasons["short.wav"].startswith("too short")
    assert reasons["long.wav"] == "too long, 301 s"
    assert reasons["empty.wav"] == "empty, 0 bytes" and reasons["broken.flac"].startswith("unreadable")
    assert reasons["cut.flac"].startswith(("cut short", "unreadable"))
    assert "left out 6 of 7 recordings (" in caplog.text and "Left out:" in manifest["note"]
    assert [row["path"] for row in table(tmp_path / "data", "audiofolder")] == ["good.wav"]


def test_a_set_without_any_usable_recording_is_refused(tmp_path: Path) -> None:
    tone(tmp_path / "mine" / "a.wav", 0.01)
    with pytest.raises(UserError, match=r"none of 1 recordings can be used; the first: a\.wav: too short"):
        prepare(DataConfig(name="audiofolder", path=str(tmp_path / "mine")), tmp_path / "data")


def test_a_recording_that_is_gone_or_another_one_is_named(tmp_path: Path) -> None:
    file = tone(tmp_path / "mine" / "a.wav")
    prepared("audiofolder", tmp_path / "mine", tmp_path / "data")
    recordings = load_audio(tmp_path / "data" / "audiofolder", "train")
    tone(file, 0.7)
    with pytest.raises(UserError, match=r"a\.wav is not the one that was prepared"):
        recordings.waveform(0)
    file.unlink()
    with pytest.raises(UserError, match=r"a\.wav cannot be read any more"):
        recordings.waveform(0)


# ---- reading


def test_other_rates_are_resampled_and_channels_averaged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for rate in (8_000, 22_050, 48_000):
        tone(tmp_path / "mine" / f"{rate}.wav", 0.501, rate, channels=2)
    prepared("audiofolder", tmp_path / "mine", tmp_path / "data")
    with caplog.at_level(logging.INFO):
        recordings = load_audio(tmp_path / "data" / "audiofolder", "train", normalise=False)
    assert "recordings of 8,000, 22,050, 48,000 Hz are resampled to 16,000 Hz" in caplog.text
    for i in range(3):
        waveform = recordings.waveform(i)
        assert waveform.dtype == torch.float32 and len(waveform) == recordings.lengths[i]
        spectrum = torch.fft.rfft(waveform).abs()
        assert abs(spectrum.argmax().item() / len(waveform) * 16_000 - 440) < 4


def test_waveforms_have_zero_mean_and_unit_variance(tmp_path: Path) -> None:
    tone(tmp_path / "mine" / "a.wav")
    prepared("audiofolder", tmp_path / "mine", tmp_path / "data")
    waveform = load_audio(tmp_path / "data" / "audiofolder", "train").waveform(0)
    assert abs(waveform.mean().item()) < 1e-5
    assert waveform.var(correction=0).item() == pytest.approx(1, abs=1e-3)
    quiet = torch.tensor([1e-3, -1e-3])
    assert torch.allclose(normalise_waveform(quiet), quiet / (1e-6 + 1e-5) ** 0.5)


def test_short_recordings_are_left_out_when_asked_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tone(tmp_path / "mine" / "a.wav", 1.0)
    tone(tmp_path / "mine" / "b.wav", 0.4)
    prepared("audiofolder", tmp_path / "mine", tmp_path / "data")
    with caplog.at_level(logging.INFO):
        assert len(load_audio(tmp_path / "data" / "audiofolder", "train", min_samples=8_000)) == 1
    assert "1 of 2 recordings are under 0.50 s: left out" in caplog.text
    with pytest.raises(UserError, match=r"no train recordings of 2 s or more; lower speech.min_seconds"):
        load_audio(tmp_path / "data" / "audiofolder", "train", min_samples=32_000)


def test_wrong_split_or_modality_is_named(tmp_path: Path) -> None:
    tone(tmp_path / "mine" / "a.wav")
    prepared("audiofolder", tmp_path / "mine", tmp_path / "data")
    with pytest.raises(UserError, match="has no split 'test', only train"):
        load_audio(tmp_path / "data" / "audiofolder", "test")
    prepare(DataConfig(name="digits"), tmp_path / "data")
    with pytest.raises(UserError, match="holds vision data, not speech"):
        load_audio(tmp_path / "data" / "digits", "train")
