"""The estimated language model: a distribution, and the one that KenLM reads from the file."""

import math
from pathlib import Path

import pytest

from data2vec.downstream.ngram import arpa

TEXT = ["YES NO NO", "NO YES", "NO NO YES YES", "YES"]


def read(text: str) -> dict[tuple[str, ...], tuple[float, float]]:
    """n-gram -> probability and back-off weight of an ARPA file."""
    grams = {}
    for line in text.splitlines():
        fields = line.split("\t")
        if len(fields) >= 2:
            back_off = float(fields[2]) if len(fields) > 2 else 0.0
            grams[tuple(fields[1].split())] = (10 ** float(fields[0]), 10**back_off)
    return grams


def probability(grams: dict[tuple[str, ...], tuple[float, float]], context: tuple[str, ...], word: str) -> float:
    if (*context, word) in grams:
        return grams[*context, word][0]
    return grams.get(context, (0, 1.0))[1] * probability(grams, context[1:], word)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_probabilities_sum_to_one_after_every_context(order: int) -> None:
    grams = read(arpa(TEXT, order))
    words = [gram[0] for gram in grams if len(gram) == 1 and gram != ("<s>",)]
    assert sorted(words) == ["</s>", "<unk>", "NO", "YES"]
    contexts = [gram for gram in grams if len(gram) < order and gram[-1] != "</s>"]
    for context in [(), *contexts]:
        assert sum(probability(grams, context, word) for word in words) == pytest.approx(1, abs=1e-5), context


def test_a_bigram_by_hand() -> None:
    """Of TEXT: after <s> come YES, NO, NO, YES; all in all 5 YES, 5 NO, 4 ends."""
    unigram = (5 + 3 / 4) / (14 + 3)
    assert read(arpa(TEXT, 2))[("<s>", "NO")][0] == pytest.approx((2 + 2 * unigram) / (4 + 2), rel=1e-5)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_kenlm_reads_the_same_probabilities(order: int, tmp_path: Path) -> None:
    decoder = pytest.importorskip("flashlight.lib.text.decoder.kenlm")
    dictionary = pytest.importorskip("flashlight.lib.text.dictionary")
    path = tmp_path / "lm.arpa"
    path.write_text(arpa(TEXT, order))
    numbers = dictionary.create_word_dict({word: [[word]] for word in ("YES", "NO", "<unk>")})
    model, grams = decoder.KenLM(str(path), numbers), read(path.read_text())
    for sentence in ("NO NO YES", "YES YES YES NO", "<unk> NO", ""):
        words, state = ["<s>", *sentence.split()], model.start(False)
        for i in range(1, len(words)):
            state, found = model.score(state, numbers.get_index(words[i]))
            expected = probability(grams, tuple(words[max(0, i - order + 1) : i]), words[i])
            assert found == pytest.approx(math.log10(expected), abs=1e-5)
        _, end = model.finish(state)
        assert end == pytest.approx(math.log10(probability(grams, tuple(words[-order + 1 :]), "</s>")), abs=1e-5)
