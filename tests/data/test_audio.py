"""Reading speech sets back at 16 kHz: splits, lengths, waveforms, sets that are joined."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from data2vec.data.audio import join, load_audio, normalise_waveform
from data2vec.data.manifest import MANIFEST
from data2vec.errors import UserError

from .made_data import tone, tones

Prepare = Callable[..., Path]


def test_a_recording_that_is_gone_or_another_one_is_named(run_prepare: Prepare, tmp_path: Path) -> None:
    file = tone(tmp_path / "mine" / "a.wav")
    recordings = load_audio(run_prepare("audiofolder", tmp_path / "mine"), "train")
    tone(file, 0.7)
    with pytest.raises(UserError, match=r"a\.wav is not the one that was prepared"):
        recordings.waveform(0)
    file.unlink()
    with pytest.raises(UserError, match=r"a\.wav cannot be read any more"):
        recordings.waveform(0)


def test_other_rates_are_resampled_and_channels_averaged(
    run_prepare: Prepare, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for rate in (8_000, 22_050, 48_000):
        tone(tmp_path / "mine" / f"{rate}.wav", 0.501, rate, channels=2)
    folder = run_prepare("audiofolder", tmp_path / "mine")
    with caplog.at_level(logging.INFO):
        recordings = load_audio(folder, "train", normalise=False)
    assert "recordings of 8,000, 22,050, 48,000 Hz are resampled to 16,000 Hz" in caplog.text
    for i in range(3):
        waveform = recordings.waveform(i)
        assert waveform.dtype == torch.float32 and len(waveform) == recordings.lengths[i]
        spectrum = torch.fft.rfft(waveform).abs()
        assert abs(spectrum.argmax().item() / len(waveform) * 16_000 - 440) < 4


def test_autocast_around_reading_changes_nothing(run_prepare: Prepare, tmp_path: Path) -> None:
    tone(tmp_path / "mine" / "a.wav", 0.2, 8_000)
    recordings = load_audio(run_prepare("audiofolder", tmp_path / "mine"), "train")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        waveform = recordings.waveform(0)
    assert waveform.dtype == torch.float32 and torch.equal(waveform, recordings.waveform(0))


def test_waveforms_have_zero_mean_and_unit_variance(run_prepare: Prepare, tmp_path: Path) -> None:
    tone(tmp_path / "mine" / "a.wav")
    waveform = load_audio(run_prepare("audiofolder", tmp_path / "mine"), "train").waveform(0)
    assert abs(waveform.mean().item()) < 1e-5
    assert waveform.var(correction=0).item() == pytest.approx(1, abs=1e-3)
    quiet = torch.tensor([1e-3, -1e-3])
    assert torch.allclose(normalise_waveform(quiet), quiet / (1e-6 + 1e-5) ** 0.5)


def test_short_recordings_are_left_out_when_asked_for(
    run_prepare: Prepare, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tone(tmp_path / "mine" / "a.wav", 1.0)
    tone(tmp_path / "mine" / "b.wav", 0.4)
    folder = run_prepare("audiofolder", tmp_path / "mine")
    with caplog.at_level(logging.INFO):
        assert len(load_audio(folder, "train", min_samples=8_000)) == 1
    assert "1 of 2 recordings are under 0.50 s: left out" in caplog.text
    with pytest.raises(UserError, match=r"no train recordings of 2 s or more; lower speech.min_seconds"):
        load_audio(folder, "train", min_samples=32_000)


def test_recordings_without_a_transcript_are_left_out_when_asked_for(run_prepare: Prepare, tmp_path: Path) -> None:
    root = tones(tmp_path / "mine", "train/a.wav", "train/b.wav", "test/c.wav")
    (root / "train" / "b.txt").write_text("two")
    folder = run_prepare("audiofolder", root)
    assert load_audio(folder, "train").transcripts == ["", "TWO"]
    assert load_audio(folder, "train", transcribed=True).transcripts == ["TWO"]
    with pytest.raises(UserError, match="no test recording of audiofolder has a transcript"):
        load_audio(folder, "test", transcribed=True)


def test_a_kind_of_split_stands_for_all_its_parts(run_prepare: Prepare, tmp_path: Path) -> None:
    for part in ("dev-clean", "dev-other", "train-clean-100", "train-other-500"):
        chapter = tones(tmp_path / "libri" / part / "84" / "1", "84-1-0.flac")
        (chapter / "84-1.trans.txt").write_text(f"84-1-0 {part}\n")
    folder = run_prepare("librispeech", tmp_path / "libri")
    assert load_audio(folder, "train").transcripts == ["train-clean-100", "train-other-500"]
    assert load_audio(folder, "valid").transcripts == ["dev-clean", "dev-other"]
    assert load_audio(folder, "dev-other").transcripts == ["dev-other"]
    assert load_audio(folder, "train-clean-100+dev-clean").transcripts == ["train-clean-100", "dev-clean"]
    with pytest.raises(UserError, match="has no split 'train-clean-360', only "):
        load_audio(folder, "train-clean-100+train-clean-360")


def test_joined_sets_follow_one_another(run_prepare: Prepare, tmp_path: Path) -> None:
    own = load_audio(run_prepare("audiofolder", tones(tmp_path / "mine", "cat/a.wav", "dog/b.wav")), "train")
    digits = load_audio(run_prepare("fsdd", tones(tmp_path / "fsdd", "3_theo_7.wav")), "train")
    both = join([own, digits])
    assert both.labels == ["cat", "dog", "3"] and both.speakers == ["", "", "theo"]
    assert torch.equal(both.waveform(2), digits.waveform(0)) and both.lengths.tolist() == [1600] * 3


def test_wrong_split_or_modality_is_named(run_prepare: Prepare, tmp_path: Path) -> None:
    folder = run_prepare("audiofolder", tones(tmp_path / "mine", "a.wav"))
    with pytest.raises(UserError, match="has no split 'test', only train"):
        load_audio(folder, "test")
    with pytest.raises(UserError, match=r"no prepared data in .*: run `python -m data2vec prepare data=an4"):
        load_audio(folder.parent / "an4", "train")
    manifest = folder / MANIFEST
    manifest.write_text(manifest.read_text().replace('"speech"', '"vision"'))
    with pytest.raises(UserError, match="holds vision data, not speech"):
        load_audio(folder, "train")
