"""A word n-gram model of some text, as the ARPA file that KenLM reads.

Interpolated Witten-Bell smoothing: p(w | h) = (c(h w) + d(h) p(w | h')) / (c(h) + d(h)), where h' is h without its
first word, c counts and d(h) is how many different words follow h; the unigrams are interpolated with the uniform
distribution over words, sentence end and unknown word. Exact as a back-off model: what was not seen after h gets
d(h) / (c(h) + d(h)) times p(w | h').
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable

START, END, UNKNOWN = "<s>", "</s>", "<unk>"
Gram = tuple[str, ...]


def arpa(sentences: Iterable[str], order: int) -> str:
    """The ARPA file of an n-gram model of sentences of words; `order` 2 to 4."""
    followers = _count(sentences, order)
    probabilities: list[dict[Gram, float]] = [{} for _ in range(order)]
    words = [*sorted(followers[()]), UNKNOWN]
    share = 1 / len(words)
    for length in range(order):  # of the context
        for context in (c for c in followers if len(c) == length):
            counts = followers[context]
            total = sum(counts.values()) + len(counts)
            for word in words if length == 0 else counts:
                shorter = share if length == 0 else probabilities[length - 1][(*context[1:], word)]
                probabilities[length][(*context, word)] = (counts[word] + len(counts) * shorter) / total
    backoff = {c: len(n) / (sum(n.values()) + len(n)) for c, n in followers.items()}
    return _write(probabilities, backoff)


def _count(sentences: Iterable[str], order: int) -> dict[Gram, Counter[str]]:
    """How often each word follows each context of up to `order` - 1 words."""
    followers: dict[Gram, Counter[str]] = defaultdict(Counter)
    for sentence in sentences:
        words = [START, *sentence.split(), END]
        for i in range(1, len(words)):
            for length in range(min(order - 1, i) + 1):
                followers[tuple(words[i - length : i])][words[i]] += 1
    return followers


def _write(probabilities: list[dict[Gram, float]], backoff: dict[Gram, float]) -> str:
    grams: list[list[Gram]] = [sorted(part) for part in probabilities]
    grams[0].insert(0, (START,))
    lines = ["\\data\\", *(f"ngram {n}={len(part)}" for n, part in enumerate(grams, start=1))]
    for n, part in enumerate(grams, start=1):
        lines += ["", f"\\{n}-grams:"]
        for gram in part:
            value = -99.0 if gram == (START,) else math.log10(probabilities[n - 1][gram])
            line = f"{value:.7f}\t{' '.join(gram)}"
            lines.append(line if n == len(grams) else f"{line}\t{math.log10(backoff.get(gram, 1.0)):.7f}")
    return "\n".join([*lines, "", "\\end\\", ""])
