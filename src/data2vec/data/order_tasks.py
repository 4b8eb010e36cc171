"""Two tasks made from the embedded corpus, so that fine-tuning on text needs no download.

`word-order`: does a sentence, in small letters and without its full stop, have its own order of words (1) or another
(0)? `pair-order`: do two neighbouring sentences stand in their order (1), or the other way round (0)? Every item
stands there with both labels from the same words, so word counts tell nothing. Splits are those of the corpus's
documents: pre-training has not read valid and test. Deterministic, but for the version of Python whose documentation
is used.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from itertools import pairwise

from data2vec.data.corpora import Document, python_documents, sentences
from data2vec.data.sentence_rows import Labelled

ORDINARY = re.compile(r"[A-Za-z'-]+[.,;:]?")
SHARE_ORDINARY = 0.7  # of a sentence's words; the rest of the corpus is code and tables


def make_items(name: str) -> dict[str, Labelled]:
    """All splits of `word-order` or `pair-order`."""
    documents = sorted(python_documents(), key=lambda document: ("train", "valid", "test").index(document.split))
    made: dict[str, Labelled] = {}
    seen: set[str] = set()  # what is repeated belongs to the first split that holds it
    make = MAKERS[name]
    for document in documents:
        split = made.setdefault(document.split, Labelled([], [] if name == "pair-order" else None, [], []))
        for label, (text, partner) in make(document, seen):
            split.texts.append(text)
            if split.partners is not None:
                split.partners.append(partner)
            assert split.labels is not None
            split.labels.append(label)
            split.index.append(str(len(split.index)))
    return made


def word_order(document: Document, seen: set[str]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Each new sentence of a document, intact and shuffled; a capital or full stop would give the order away."""
    for sentence in sentences(document.text):
        words = sentence.lower().rstrip(".?!").split()
        intact = " ".join(words)
        if is_sentence(sentence, 6, 24) and len(set(words)) > 1 and intact not in seen:
            seen.add(intact)
            yield "1", (intact, "")
            yield "0", (" ".join(shuffled(words)), "")


def pair_order(document: Document, seen: set[str]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Each new pair of neighbouring sentences within a paragraph, both ways round."""
    for paragraph in re.split(r"\n\s*\n", document.text):
        for first, second in pairwise(sentences(paragraph)):
            pair = f"{first}\n{second}"
            if first != second and pair not in seen and is_sentence(first, 3, 30) and is_sentence(second, 3, 30):
                seen.add(pair)
                yield "1", (first, second)
                yield "0", (second, first)


def is_sentence(text: str, least: int, most: int) -> bool:
    """Whether a text looks like a sentence of so many words: the corpus also holds code, lists and tables."""
    words = text.split()
    if not (least <= len(words) <= most and text[0].isupper() and text[-1] in ".?!"):
        return False
    return sum(ORDINARY.fullmatch(word) is not None for word in words) >= SHARE_ORDINARY * len(words)


def shuffled(words: list[str]) -> list[str]:
    """The words in another order; the draw depends on them alone."""
    rng = random.Random(" ".join(words))
    made = list(words)
    while made == words:
        rng.shuffle(made)
    return made


MAKERS: dict[str, Callable[[Document, set[str]], Iterator[tuple[str, tuple[str, str]]]]] = {
    "word-order": word_order,
    "pair-order": pair_order,
}
