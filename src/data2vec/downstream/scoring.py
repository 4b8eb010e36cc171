"""Word and letter error rates by jiwer, with their uncertainty and the utterances that went worst."""

from collections.abc import Sequence
from typing import Any

import jiwer
import numpy as np

RESAMPLES = 1000


def score(references: Sequence[str], hypotheses: Sequence[str]) -> dict[str, Any]:
    """Error rates over a whole set, in %: 100 * edits / words of the references (algorithms.md 9.5).

    `wer`, `cer`, counts of edits and words, and `wer_interval`, 95 % by the bootstrap over utterances.
    """
    words = jiwer.process_words(list(references), list(hypotheses))
    edits, lengths = _edits(words)
    return {
        "wer": 100 * words.wer,
        "cer": 100 * jiwer.cer(list(references), list(hypotheses)),
        "wer_interval": bootstrap(edits, lengths),
        "substitutions": words.substitutions,
        "deletions": words.deletions,
        "insertions": words.insertions,
        "words": int(lengths.sum()),
        "utterances": len(references),
    }


def bootstrap(edits: np.ndarray, lengths: np.ndarray) -> list[float]:
    """The range in % that 95 % of the error rates of resampled utterances fall into; always the same draws."""
    rng = np.random.default_rng(0)
    rates = []
    for _ in range(RESAMPLES):
        drawn = rng.integers(len(edits), size=len(edits))
        rates.append(100 * edits[drawn].sum() / lengths[drawn].sum())
    return [round(float(x), 3) for x in np.percentile(rates, (2.5, 97.5))]


def worst(
    names: Sequence[str], references: Sequence[str], hypotheses: Sequence[str], count: int = 10
) -> list[dict[str, Any]]:
    """The `count` utterances with most word edits: name, edits, words, and the alignment as lines of text."""
    edits, lengths = _edits(jiwer.process_words(list(references), list(hypotheses)))
    order = np.lexsort((-edits / lengths, -edits))[:count]
    return [
        {
            "name": names[i],
            "edits": int(edits[i]),
            "words": int(lengths[i]),
            "alignment": alignment(references[i], hypotheses[i]),
        }
        for i in order
        if edits[i]
    ]


def alignment(reference: str, hypothesis: str) -> list[str]:
    """Three lines: reference, hypothesis, and S, D, I under what was substituted, deleted, inserted."""
    output = jiwer.process_words(reference, hypothesis)
    lines = jiwer.visualize_alignment(output, show_measures=False).splitlines()
    return [line.rstrip() for line in lines if line.startswith(("REF:", "HYP:", "     "))]


def _edits(output: jiwer.WordOutput) -> tuple[np.ndarray, np.ndarray]:
    """Word edits and words of each utterance."""
    edits = [
        sum(max(c.ref_end_idx - c.ref_start_idx, c.hyp_end_idx - c.hyp_start_idx) for c in chunks if c.type != "equal")
        for chunks in output.alignments
    ]
    return np.array(edits), np.array([len(words) for words in output.references])
