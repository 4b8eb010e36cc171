"""Labelled recordings made of tones, and an encoder that was not trained."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from data2vec import config as schema
from data2vec.cli import main
from data2vec.compose import compose
from data2vec.methods.build import build_method
from data2vec.training.checkpoint import save_model

RATE = 16_000
WORDS = {"LOW": 300.0, "HIGH": 2400.0}
SPEECH = {
    "modality": "speech",
    "model": "tiny",
    "data": "audiofolder",
    "speech.conv_layers": "[[16,10,5],[16,8,8],[16,8,8]]",
    "speech.pos_conv_groups": "4",
    "speech.batch_seconds": "20.0",
    "model.dim": "16",
    "model.depth": "2",
    "target.top_k": "2",
    "decoder.dim": "16",
    "decoder.groups": "4",
    "train.workers": "0",
    "train.threads": "1",
    "train.precision": "fp32",
    "train.log_every": "2",
}


def tone(word: str, rng: np.random.Generator) -> np.ndarray:
    """A quarter of a second, more or less, at the word's pitch, and a pause."""
    time = np.arange(int(rng.integers(3_000, 5_000))) / RATE
    sound = 0.3 * np.sin(2 * np.pi * WORDS[word] * rng.uniform(0.9, 1.1) * time)
    return np.concatenate([sound, np.zeros(800)]) + rng.normal(0, 0.01, len(time) + 800)


def write(path: Path, words: list[str], rng: np.random.Generator) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.concatenate([tone(word, rng) for word in words]), RATE)


def prepare(root: Path) -> Path:
    data = root.with_name(f"{root.name}-data")
    assert main(["prepare", "data=audiofolder", f"data.path={root}", f"data_dir={data}"]) == 0
    return data


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with recordings of one to four words and their transcripts, in three splits."""
    root, rng = tmp_path_factory.mktemp("spoken") / "own", np.random.default_rng(0)
    for split, count in (("train", 16), ("valid", 4), ("test", 4)):
        lines = []
        for i in range(count):
            words = rng.choice(sorted(WORDS), int(rng.integers(1, 5))).tolist()
            write(root / split / f"{i}.wav", words, rng)
            lines.append(f"{i}.wav\t{' '.join(words)}\n")
        (root / split / "transcripts.tsv").write_text("file\ttext\n" + "".join(lines))
    return prepare(root)


@pytest.fixture(scope="session")
def sorted_tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with recordings of one word in a folder for each class."""
    root, rng = tmp_path_factory.mktemp("sorted") / "own", np.random.default_rng(1)
    for split, count in (("train", 12), ("test", 6)):
        for i in range(count):
            word = sorted(WORDS)[i % 2]
            write(root / split / word / f"{i}.wav", [word], rng)
    return prepare(root)


@pytest.fixture(scope="session")
def speech_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a pre-training run that ended before its first update."""
    import torch

    run_dir = tmp_path_factory.mktemp("run")
    config = compose(SPEECH)
    torch.manual_seed(0)
    save_model(run_dir / "checkpoint" / "model.safetensors", build_method(config), {})
    (run_dir / "config.yaml").write_text(schema.dump(config))
    return run_dir
