"""Pre-training on text from the command line: what it leaves, and that stopping anywhere changes nothing."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from data2vec.cli import main
from data2vec.data.prepare import prepare
from data2vec.data.tokenizer import load_tokenizer
from data2vec.errors import UserError
from data2vec.sections import DataConfig
from data2vec.training.checkpoint import check_vocabulary

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
        assert picture["pieces"].shape == hidden.shape == picture["error"].shape
        assert picture["nearest"].shape == (*hidden.shape, 3) and picture["error"].dtype == np.float32
        assert (np.isnan(picture["error"]) == ~hidden).all()
        assert ((picture["nearest"] == "") == ~hidden[..., None]).all()
        assert (picture["pieces"][:, 0] == "<s>").all() and "</s>" in picture["pieces"]


@pytest.mark.slow
def test_spans_train_on_text_without_a_download(tmp_path: Path) -> None:
    """The recipe of the released configuration, on Python's own documentation, with nothing but sizes changed."""
    assert main(["prepare", "data=pydoc", f"data_dir={tmp_path}", "offline=true"]) == 0
    kept = ("model", "model.dim", "model.depth", "target.top_k", "text.tokens_per_sample")
    sizes = {key: value for key, value in OPTIONS.items() if key in kept or key.startswith(("train.", "optim."))}
    sizes |= {"data_dir": str(tmp_path), "data": "pydoc", "modality": "text", "method": "data2vec"}
    words = [f"{key}={value}" for key, value in sizes.items()]
    assert main(["pretrain", *words, "recipe=data2vec_text_spans", f"run_dir={tmp_path / 'run'}"]) == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["update"] for line in lines] == [1, 2, 4, 6] and all(line["loss"] > 0 for line in lines)
    shares = [line["masked_share"] for line in lines]
    assert 0.2 < np.mean(shares) < 0.45  # spans of 4 over 35 %, minus overlaps; 15 % would be the other recipe
    with np.load(tmp_path / "run" / "masked.npz") as picture:
        hidden = picture["is_masked"]
    lengths = [len(run) for row in hidden for run in "".join("x" if m else " " for m in row).split()]
    assert np.mean(lengths) > 2.5


def test_a_checkpoint_knows_the_vocabulary_that_it_was_trained_with(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(command(prepared, tmp_path / "run", method="data2vec")) == 0
    model = tmp_path / "run" / "checkpoint" / "model.safetensors"
    check_vocabulary(model, load_tokenizer(prepared / "textfolder"))
    (tmp_path / "other").mkdir()
    rng = np.random.default_rng(1)
    for i in range(3):
        words = [" ".join(rng.choice(FEW[::-1], 5)) + "!" for _ in range(100)]
        (tmp_path / "other" / f"{i}.txt").write_text("\n\n".join(words))
    choice = DataConfig(name="textfolder", path=str(tmp_path / "other"), vocab_size=VOCAB)
    other = load_tokenizer(prepare(choice, tmp_path / "data").parent)
    assert other.vocab_size == VOCAB
    with pytest.raises(UserError, match=r"model\.safetensors was trained with another vocabulary .* prepare the text"):
        check_vocabulary(model, other)


def test_a_sequence_over_the_position_limit_is_a_mistake(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = command(prepared, tmp_path, method="data2vec", **{"text.max_positions": "20"})
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "text.tokens_per_sample = 24" in error and "2 to text.max_positions = 20" in error


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
