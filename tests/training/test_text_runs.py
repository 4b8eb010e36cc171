"""Pre-training on text from the command line: what it leaves, and that stopping anywhere changes nothing."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from data2vec.cli import main

VOCAB = 60
OPTIONS = {
    "modality": "text",
    "model": "tiny",
    "data": "textfolder",
    "data.vocab_size": str(VOCAB),
    "text.tokens_per_sample": "24",
    "model.dim": "16",
    "model.depth": "2",
    "target.top_k": "2",
    "decoder.dim": "16",
    "mask.ratio": "0.4",
    "train.updates": "6",
    "optim.warmup_updates": "2",
    "train.batch_size": "8",
    "train.micro_batch": "4",
    "train.workers": "0",
    "train.threads": "1",
    "train.precision": "fp32",
    "train.log_every": "2",
}
FEW = "the cat sat on a mat while some old dog ran after it over hills and far away".split()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("text")
    rng = np.random.default_rng(0)
    for split in ("train", "valid"):
        (root / "texts" / split).mkdir(parents=True)
        lines = [" ".join(rng.choice(FEW, rng.integers(3, 9))).capitalize() + "." for _ in range(200)]
        (root / "texts" / split / "story.txt").write_text("\n\n".join(lines))
    words = ["prepare", "data=textfolder", f"data.path={root / 'texts'}", f"data.vocab_size={VOCAB}"]
    assert main([*words, f"data_dir={root}"]) == 0
    return root


def command(data_dir: Path, run_dir: Path, **changes: str) -> list[str]:
    options = OPTIONS | {"data_dir": str(data_dir)} | changes
    return ["pretrain", *(f"{key}={value}" for key, value in options.items()), f"run_dir={run_dir}"]


@pytest.mark.parametrize("method", ["data2vec", "data2vec2", "masked_lm"])
def test_stopping_at_every_update_changes_nothing(
    method: str, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    from data2vec.methods.data2vec import Data2Vec
    from data2vec.methods.data2vec2 import Data2Vec2
    from data2vec.methods.masked_lm import MaskedLM

    assert main(command(prepared, tmp_path / "whole", method=method)) == 0
    kind = {"data2vec": Data2Vec, "data2vec2": Data2Vec2, "masked_lm": MaskedLM}[method]
    update_teacher = kind.update_teacher

    def stop_after(self: object, decay: float) -> None:
        update_teacher(self, decay)  # type: ignore[arg-type]
        os.kill(os.getpid(), signal.SIGUSR1)

    monkeypatch.setattr(kind, "update_teacher", stop_after)
    codes = [main(command(prepared, tmp_path / "parts", method=method)) for _ in range(6)]
    assert codes == [143] * 5 + [0]
    whole, parts = (load_file(tmp_path / name / "checkpoint" / "model.safetensors") for name in ("whole", "parts"))
    assert all((whole[name] == parts[name]).all() for name in whole)
    losses = [
        [json.loads(line)["loss"] for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("whole", "parts")
    ]
    assert losses[0] == losses[1]
    with np.load(tmp_path / "parts" / "masked.npz") as picture:
        hidden = picture["is_masked"]
        assert picture["tokens"].shape == hidden.shape == picture["error"].shape == picture["nearest"].shape
        assert (np.isnan(picture["error"]) == ~hidden).all() and len(picture["pieces"]) == VOCAB


def test_another_vocabulary_than_the_prepared_one_is_a_mistake(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = command(prepared, tmp_path, **{"data.vocab_size": "61"})
    assert main(words) == 2
    assert "prepared with data.vocab_size = 60, this run says 61" in capsys.readouterr().err


def test_the_released_variant_hands_the_teacher_the_selected_tokens_only() -> None:
    from data2vec.compose import compose

    words = {"modality": "text", "method": "data2vec", "data": "novels", "recipe": "data2vec_text_spans"}
    config = compose(words | {"variant": "released"})
    assert config.text.teacher_input == "masked_only" and compose(words).text.teacher_input == "full"
    assert (config.mask.ratio, config.mask.length, config.mask.keep) == (0.35, 4, 0.0)
    assert (config.optim.schedule, config.teacher.anneal_updates) == ("cosine", 300_000)
