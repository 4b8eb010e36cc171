"""Features of a folder of files: the same as the encoder's, resumed, and honest about what could not be read."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

import data2vec
from data2vec.cli import main
from data2vec.data.audio import normalise_waveform
from data2vec.data.augment import normalise
from data2vec.data.sentence_pieces import train_pieces
from data2vec.data.vocabulary import FILE
from data2vec.errors import UserError
from data2vec.interop import inputs
from data2vec.interop.extract import Choice, extract

from .runs import SPEECH, TEXT, VISION, changed, save_run

SENTENCES = ["the cat sat on the mat", "a dog ran to the log", "birds sing in the morning sun", "we see the sea"] * 5


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three pictures, two of one name but another kind, one in a subfolder."""
    rng = np.random.default_rng(0)
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name in ("a.png", "a.bmp", "sub/b.png"):
        Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.md").write_text("not a picture")
    return tmp_path / "in"


def made(out: Path) -> dict[str, np.ndarray]:
    return {p.relative_to(out).as_posix(): np.load(p) for p in sorted(out.rglob("*.npy"))}


def test_pictures_give_the_encoders_features_under_their_names(pictures: Path, tmp_path: Path) -> None:
    save_run(tmp_path / "run", VISION)
    encoder = data2vec.load(tmp_path / "run")
    pixels = np.asarray(Image.open(pictures / "sub" / "b.png")).transpose(2, 0, 1).copy()
    image = normalise(torch.from_numpy(pixels)[None], encoder.config.vision.mean, encoder.config.vision.std)
    expected = {
        "none": encoder(image)[0],
        "mean": encoder(image)[0].mean(0),
        "class_token": encoder.class_token(image)[0],
    }
    for pooling, value in expected.items():
        extract(tmp_path / "run", pictures, tmp_path / pooling, Choice(pooling=pooling))
        found = made(tmp_path / pooling)
        assert list(found) == ["a.bmp.npy", "a.png.npy", "sub/b.png.npy"]
        assert found["sub/b.png.npy"].dtype == np.float32
        assert np.allclose(found["sub/b.png.npy"], value, atol=1e-5)
    extract(tmp_path / "run", pictures, tmp_path / "layer", Choice(layer=1, weights="teacher"))
    teacher = data2vec.load(tmp_path / "run", "teacher")
    assert np.allclose(made(tmp_path / "layer")["sub/b.png.npy"], teacher(image, layer=1)[0], atol=1e-5)


def test_recordings_are_resampled_normalised_and_long_ones_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_run(tmp_path / "run", SPEECH)
    (tmp_path / "in").mkdir()
    samples = 0.1 * np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    soundfile.write(tmp_path / "in" / "a.wav", samples, 16_000, subtype="FLOAT")
    soundfile.write(tmp_path / "in" / "b.flac", samples, 8_000)
    extract(tmp_path / "run", tmp_path / "in", tmp_path / "out")
    found, encoder = made(tmp_path / "out"), data2vec.load(tmp_path / "run")
    waveform = normalise_waveform(torch.from_numpy(samples))[None]
    assert np.allclose(found["a.wav.npy"], encoder(waveform)[0], atol=1e-5)
    assert len(found["b.flac.npy"]) == encoder(torch.zeros(1, 8000)).shape[1]
    monkeypatch.setattr(inputs, "MAX_SECONDS", 0.1)
    extract(tmp_path / "run", tmp_path / "in", tmp_path / "pieces")
    pieces = torch.cat([encoder(piece)[0] for piece in waveform.split(1600, dim=1)])
    assert np.allclose(made(tmp_path / "pieces")["a.wav.npy"], pieces, atol=1e-5)


def test_text_is_read_by_the_vocabulary_of_its_run(tmp_path: Path) -> None:
    tokenizer = train_pieces(SENTENCES, "bpe", 40)
    values = changed(TEXT, data={"vocab_size": 40, "name": "mine"}) | {"data_dir": str(tmp_path / "data")}
    save_run(tmp_path / "run", values)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "short.txt").write_text("the cat")
    (tmp_path / "in" / "long.txt").write_text(" ".join(SENTENCES))
    with pytest.raises(UserError, match="vocabulary"):
        extract(tmp_path / "run", tmp_path / "in", tmp_path / "out")
    (tmp_path / "data" / "mine").mkdir(parents=True)
    (tmp_path / "data" / "mine" / FILE).write_bytes(tokenizer.files[FILE])
    extract(tmp_path / "run", tmp_path / "in", tmp_path / "out")
    found, encoder = made(tmp_path / "out"), data2vec.load(tmp_path / "run")
    ids = [tokenizer.encode(text) for text in ("the cat", " ".join(SENTENCES))]
    assert np.allclose(found["short.txt.npy"], encoder(torch.tensor([[0, *ids[0], 2]]))[0], atol=1e-5)
    assert len(found["long.txt.npy"]) == len(ids[1]) + 2 * -(-len(ids[1]) // 18)


def test_what_is_there_is_not_made_again(pictures: Path, tmp_path: Path) -> None:
    save_run(tmp_path / "run", VISION)
    out = tmp_path / "out"
    assert extract(tmp_path / "run", pictures, out) == 3
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.npy")}
    (out / "a.png.npy").unlink()
    assert extract(tmp_path / "run", pictures, out) == 1
    after = {p: p.stat().st_mtime_ns for p in out.rglob("*.npy")}
    assert {p for p in after if after[p] != before[p]} == {out / "a.png.npy"}


def test_features_of_another_model_or_choice_are_never_mixed(pictures: Path, tmp_path: Path) -> None:
    save_run(tmp_path / "run", VISION)
    extract(tmp_path / "run", pictures, tmp_path / "out")
    with pytest.raises(UserError, match="another model or choice"):
        extract(tmp_path / "run", pictures, tmp_path / "out", Choice(layer=1))
    save_run(tmp_path / "other", changed(VISION, model={"depth": 3}))
    with pytest.raises(UserError, match="another model or choice"):
        extract(tmp_path / "other", pictures, tmp_path / "out")
    with pytest.raises(UserError, match="not a folder of features"):
        extract(tmp_path / "run", pictures, pictures)


def test_unreadable_inputs_are_listed_the_others_made_and_the_exit_code_says_so(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_run(tmp_path / "run", VISION)
    (pictures / "empty.png").write_bytes(b"")
    (pictures / "cut.png").write_bytes((pictures / "a.png").read_bytes()[:100])
    words = ["extract", f"checkpoint={tmp_path / 'run'}", f"input={pictures}", f"output={tmp_path / 'out'}"]
    assert main(words) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: 2 of 5 inputs") and "unreadable.csv" in error
    with (tmp_path / "out" / "unreadable.csv").open(newline="") as file:
        assert [row["input"] for row in csv.DictReader(file)] == ["cut.png", "empty.png"]
    assert len(made(tmp_path / "out")) == 3
    for name in ("empty.png", "cut.png"):
        (pictures / name).unlink()
    assert main(words) == 0 and not (tmp_path / "out" / "unreadable.csv").exists()


def test_recordings_that_cannot_be_used_are_listed(tmp_path: Path) -> None:
    save_run(tmp_path / "run", SPEECH)
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "short.wav", np.zeros(5), 16_000)
    soundfile.write(tmp_path / "in" / "nan.wav", np.full(4000, np.nan), 16_000, subtype="FLOAT")
    (tmp_path / "in" / "noise.wav").write_bytes(b"noise")
    with pytest.raises(UserError, match="3 of 3 inputs"):
        extract(tmp_path / "run", tmp_path / "in", tmp_path / "out")
    reasons = (tmp_path / "out" / "unreadable.csv").read_text()
    assert all(word in reasons for word in ("too short", "not finite", "cannot be decoded"))


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"input": "none"}, "no such folder"),
        ({"input": "empty"}, "no vision files"),
        ({"layer": "9"}, "0 to 2"),
        ({"layer": "last"}, "whole number"),
        ({"pooling": "max"}, "none, mean, class_token"),
        ({"weights": "both"}, "student or teacher"),
        ({"inputs": "in"}, "did you mean 'input'"),
    ],
)
def test_mistakes_end_in_one_line_and_write_nothing(
    change: dict[str, str], part: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_run(tmp_path / "run", VISION)
    (tmp_path / "empty").mkdir()
    places = {k: str(tmp_path / v) if k == "input" else v for k, v in change.items()}
    words = {"checkpoint": str(tmp_path / "run"), "input": str(pictures), "output": str(tmp_path / "out")} | places
    assert main(["extract", *(f"{k}={v}" for k, v in words.items())]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and part in error, error
    assert not (tmp_path / "out").exists()
