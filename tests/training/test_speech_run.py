"""Pre-training on recordings from the command line: the files of a run, and a run that was stopped."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors.torch import load_file

from data2vec.cli import main

METHODS = ("data2vec", "data2vec2", "wav2vec2", "hubert")
SMALL = {
    "modality": "speech",
    "model": "tiny",
    "data": "audiofolder",
    "speech.conv_layers": "[[16,10,5],[16,8,8],[16,8,8]]",
    "speech.pos_conv_groups": "4",
    "speech.min_seconds": "0.3",
    "speech.max_seconds": "1.0",
    "speech.batch_seconds": "4.0",
    "speech.micro_seconds": "2.0",
    "model.dim": "16",
    "model.depth": "2",
    "target.top_k": "2",
    "decoder.dim": "16",
    "decoder.groups": "4",
    "quantiser.entries": "8",
    "hubert.clusters": "8",
    "optim.warmup_updates": "0",
    "train.updates": "4",
    "train.workers": "0",
    "train.threads": "1",
    "train.precision": "fp32",
    "train.log_every": "2",
}


@pytest.fixture(scope="module")
def speech_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a prepared set of twelve noises."""
    folder = tmp_path_factory.mktemp("speech")
    rng = np.random.default_rng(0)
    for i in range(12):
        samples = rng.normal(0, 0.1, int(rng.integers(5_000, 15_000)))
        (folder / "own").mkdir(exist_ok=True)
        soundfile.write(folder / "own" / f"{i}.wav", samples, 16_000)
    assert main(["prepare", "data=audiofolder", f"data.path={folder / 'own'}", f"data_dir={folder / 'data'}"]) == 0
    return folder / "data"


def pretrain(run_dir: Path, data_dir: Path, method: str, **options: str) -> int:
    settings = SMALL | {"method": method, "data_dir": str(data_dir)} | options
    return main(["pretrain", *(f"{k}={v}" for k, v in settings.items()), f"run_dir={run_dir}"])


def weights(run_dir: Path) -> bytes:
    tensors = load_file(run_dir / "checkpoint" / "model.safetensors")
    return b"".join(tensors[name].numpy().tobytes() for name in sorted(tensors))


@pytest.mark.parametrize(("limit", "warnings"), [(0.0, 1), (0.99, 0)])
def test_targets_that_depend_on_the_position_alone_are_reported_once(
    limit: float,
    warnings: int,
    speech_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("data2vec.training.pretrain.SHARED_MAX", limit)
    assert pretrain(tmp_path, speech_data, "data2vec2", **{"train.updates": "6", "train.log_every": "1"}) == 0
    assert caplog.text.count("the targets depend on the position") == warnings


@pytest.mark.parametrize("method", METHODS)
def test_a_run_leaves_its_files(method: str, speech_data: Path, tmp_path: Path) -> None:
    assert pretrain(tmp_path, speech_data, method) == 0
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["update"] for line in lines] == [1, 2, 4]
    assert all(np.isfinite([line["loss"], line["target_var"], line["pred_var"]]).all() for line in lines)
    assert all(line["position_var"] < line["target_var"] for line in lines if method.startswith("data2vec"))
    assert 0 < lines[-1]["masked_share"] < 1
    with np.load(tmp_path / "masked.npz") as arrays:
        rows, frames = arrays["is_masked"].shape
        assert arrays["waveform"].shape[0] == rows and arrays["waveform"].shape[1] // frames in range(320, 480)
        assert np.array_equal(np.isnan(arrays["error"]), ~arrays["is_masked"])
        assert arrays["target_var"].shape == arrays["pred_var"].shape == (rows, frames)
        assert (arrays["pred_var"] > 0).all() and arrays["rate"] == 16_000


@pytest.mark.parametrize("method", METHODS)
def test_stopping_at_every_update_changes_nothing(
    method: str, speech_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGUSR1 after each update; the same command goes on, and the bits are those of one run."""
    assert pretrain(tmp_path / "whole", speech_data, method) == 0
    from data2vec.methods.data2vec import Data2Vec
    from data2vec.methods.data2vec2 import Data2Vec2
    from data2vec.methods.hubert import Hubert
    from data2vec.methods.wav2vec2 import Wav2Vec2

    kind = {"data2vec": Data2Vec, "data2vec2": Data2Vec2, "wav2vec2": Wav2Vec2, "hubert": Hubert}[method]
    update_teacher = kind.update_teacher

    def stop_after(self: object, decay: float) -> None:
        update_teacher(self, decay)  # type: ignore[arg-type]
        os.kill(os.getpid(), signal.SIGUSR1)

    monkeypatch.setattr(kind, "update_teacher", stop_after)
    codes = [pretrain(tmp_path / "parts", speech_data, method) for _ in range(4)]
    assert codes == [143] * 3 + [0]
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")


def test_a_second_iteration_learns_units_of_an_earlier_run(speech_data: Path, tmp_path: Path) -> None:
    """Its units are clusters of the earlier run's features; a second start finds them in the run's folder."""
    earlier, second = tmp_path / "first", tmp_path / "second"
    assert pretrain(earlier, speech_data, "wav2vec2") == 0
    options = {"hubert.units_from": str(earlier), "hubert.layer": "2", "recipe": "hubert_speech_second"}
    assert pretrain(second, speech_data, "hubert", **options) == 0
    stored = load_file(second / "checkpoint" / "model.safetensors")
    first = load_file(earlier / "checkpoint" / "model.safetensors")
    name = "encoder.trunk.blocks.1.mlp.fc1.weight"
    assert np.array_equal(stored[name.replace("encoder", "teacher", 1)], first[name])
    assert not np.array_equal(stored[name], first[name])
    with np.load(second / "units.npz") as arrays:
        assert np.array_equal(arrays["centroids"], stored["centroids"]) and stored["centroids"].shape == (8, 16)
    written = (second / "units.npz").stat().st_mtime_ns
    (second / "metrics.json").unlink()
    assert pretrain(second, speech_data, "hubert", **options) == 0
    assert (second / "units.npz").stat().st_mtime_ns == written


def test_masks_as_released_train_too(speech_data: Path, tmp_path: Path) -> None:
    assert pretrain(tmp_path, speech_data, "data2vec2", variant="released") == 0
    assert "counts: free" in (tmp_path / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("speech.min_seconds", "1.0", "no train recordings of 1 s or more"),
        ("mask.ratio", "1.0", "lower"),
        ("data", "an4", "no prepared data"),
        ("speech.micro_seconds", "3.0", "speech.micro_seconds"),
        ("hubert.units_from", "nowhere", "nowhere/config.yaml: no such file"),
        ("hubert.clusters", "100000", "frames"),
        ("speech.conv_norms", "x", "did you mean 'speech.conv_norm'"),
    ],
)
def test_mistakes_end_in_one_line(
    key: str, value: str, said: str, speech_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    method = "hubert" if key.startswith("hubert.") else "data2vec2"
    assert pretrain(tmp_path, speech_data, method, **{key: value}) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
