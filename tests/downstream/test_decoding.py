"""Greedy and lexicon decoding of probabilities made by hand."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from data2vec.downstream import decoding
from data2vec.downstream.decoding import BeamSearch, greedy, lexicon_words, missing_decoder
from data2vec.downstream.letters import Letters
from data2vec.downstream.ngram import arpa
from data2vec.errors import UserError
from data2vec.sections import TaskConfig

LETTERS = Letters.of_transcripts(["NO YES"])
TEXT = ["YES NO", "YES NO", "NO YES"]
needs_decoder = pytest.mark.skipif(missing_decoder() is not None, reason=str(missing_decoder()))


def frames(symbols: str, sure: float = 0.9) -> Tensor:
    """Log-probabilities that favour one symbol a frame; `.` is blank, `|` ends a word."""
    ids = [0 if symbol == "." else LETTERS.symbols.index(symbol) for symbol in symbols]
    rest = (1 - sure) / (len(LETTERS) - 1)
    probabilities = torch.full((len(ids), len(LETTERS)), rest)
    probabilities[torch.arange(len(ids)), torch.tensor(ids)] = sure
    return probabilities.log()


@pytest.mark.parametrize(
    ("symbols", "text"), [("NN.O|", "NO"), ("NO||.YEES|", "NO YES"), ("N.NO", "NNO"), ("....", ""), ("|.|NO|", "NO")]
)
def test_greedy_merges_repeats_and_drops_blanks(symbols: str, text: str) -> None:
    assert greedy(frames(symbols), LETTERS) == text


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "lm.arpa"
    path.write_text(arpa(TEXT, 3))
    return path


@needs_decoder
def test_the_lexicon_repairs_a_misspelt_word(model: Path) -> None:
    search = BeamSearch(LETTERS, ["YES", "NO"], model, TaskConfig())
    assert greedy(frames("YE.O|NO|", 0.6), LETTERS) == "YEO NO"
    assert search(frames("YE.O|NO|", 0.6)) == "YES NO"


@needs_decoder
def test_a_batch_of_two_weights_finds_the_better_and_says_so(model: Path) -> None:
    task = TaskConfig(lm_weights=[0.0, 50.0], word_scores=[0.0])
    search = BeamSearch(LETTERS, ["YES", "NO"], model, task)
    found = search.tune([frames("YES|YES|YES|")], ["YES YES YES"])
    assert found["lm_weight"] == 0 and [t["valid_wer"] for t in found["tried"]] == [0.0, pytest.approx(100 * 2 / 3)]
    assert search(frames("YES|YES|YES|")) == "YES YES YES"


@needs_decoder
def test_words_that_cannot_be_spelt_are_left_out(model: Path) -> None:
    assert BeamSearch(LETTERS, ["YES", "MAYBE"], model, TaskConfig()).words == ["YES"]


def test_words_come_from_a_file_or_the_transcripts(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("no N O |\nyes\n\n")
    assert lexicon_words(TaskConfig(lexicon=str(tmp_path / "words.txt")), []) == ["NO", "YES"]
    assert lexicon_words(TaskConfig(), ["B A", "B"]) == ["A", "B"]
    with pytest.raises(UserError, match="cannot be read"):
        lexicon_words(TaskConfig(lexicon=str(tmp_path / "absent")), [])


def test_a_language_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        BeamSearch(LETTERS, ["NO"], tmp_path / "absent.bin", TaskConfig())


def test_without_the_package_the_reason_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "find_spec", lambda name: None)
    assert missing_decoder() == "flashlight-text is not installed (pip install flashlight-text)"
