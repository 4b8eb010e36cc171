"""Error rates against values worked out by hand, and against an independent edit distance."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data2vec.downstream.scoring import alignment, bootstrap, score, worst

REFERENCES = ["A B C", "D E", "F"]
HYPOTHESES = ["A X C Z", "D", "F"]


def test_edits_of_a_whole_set() -> None:
    found = score(REFERENCES, HYPOTHESES)
    assert found["wer"] == pytest.approx(100 * 3 / 6) and (found["words"], found["utterances"]) == (6, 3)
    assert (found["substitutions"], found["deletions"], found["insertions"]) == (1, 1, 1)
    assert score(["AB"], ["AC"])["cer"] == pytest.approx(50)


def distance(a: list[str], b: list[str]) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, start=1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]


words = st.lists(st.sampled_from("ABC"), max_size=6)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(words.filter(bool), words), min_size=1, max_size=4))
def test_the_rate_is_levenshteins_over_the_words(pairs: list[tuple[list[str], list[str]]]) -> None:
    expected = 100 * sum(distance(a, b) for a, b in pairs) / sum(len(a) for a, _ in pairs)
    found = score([" ".join(a) for a, _ in pairs], [" ".join(b) for _, b in pairs])
    assert found["wer"] == pytest.approx(expected)


def test_the_interval_holds_the_rate_narrows_with_utterances_and_repeats() -> None:
    edits, lengths = np.array([0, 1, 2, 3] * 5), np.full(20, 6)
    low, high = bootstrap(edits, lengths)
    assert low < 25 < high and [low, high] == bootstrap(edits, lengths)
    more = bootstrap(np.tile(edits, 20), np.tile(lengths, 20))
    assert more[1] - more[0] < (high - low) / 2


def test_the_worst_utterances_come_first_and_right_ones_never() -> None:
    found = worst(["a", "b", "c"], REFERENCES, HYPOTHESES)
    assert [(w["name"], w["edits"], w["words"]) for w in found] == [("a", 2, 3), ("b", 1, 2)]
    assert found[1]["alignment"] == ["REF: D E", "HYP: D *", "       D"]


def test_an_alignment_of_an_empty_hypothesis() -> None:
    assert alignment("A B", "")[:2] == ["REF: A B", "HYP: * *"]
