"""From letter probabilities to text: greedy, or beam search with a lexicon and a language model (algorithms.md 9.5).

The search is flashlight's through torchaudio. The package flashlight-text is optional and brings KenLM along, which
reads the language model.
"""

import logging
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from data2vec.downstream.ctc import BLANK
from data2vec.downstream.letters import WORD_END, Letters
from data2vec.downstream.scoring import score
from data2vec.errors import UserError
from data2vec.sections import TaskConfig

log = logging.getLogger(__name__)


def greedy(log_probs: Tensor, letters: Letters) -> str:
    """The most probable symbol of each frame (T, letters), repeats merged, blanks dropped."""
    best = torch.unique_consecutive(log_probs.argmax(-1))
    return letters.decode(best[best != BLANK].tolist())


def missing_decoder() -> str | None:
    """Why there is no beam search here, None if there is."""
    return None if find_spec("flashlight") else "flashlight-text is not installed (pip install flashlight-text)"


def lexicon_words(task: TaskConfig, transcripts: Iterable[str]) -> list[str]:
    """The words that the search can find: of `task.lexicon`, or of the transcripts."""
    if task.lexicon is None:
        return sorted({word for text in transcripts for word in text.split()})
    try:
        lines = Path(task.lexicon).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"task.lexicon = {task.lexicon} cannot be read: {error}") from None
    return sorted({line.split()[0].upper() for line in lines if line.strip()})


class BeamSearch:
    """Lexicon search with one language model, whose weights can be changed."""

    def __init__(self, letters: Letters, words: Sequence[str], lm: Path, task: TaskConfig) -> None:
        """`words` that cannot be spelt with `letters` are left out.

        Raises:
            UserError: the language model cannot be read.
        """
        if not lm.is_file():
            raise UserError(f"task.lm = {lm}: no such file (an ARPA or binary file of KenLM, or `train`)")
        self.letters, self.task = letters, task
        self.words = [word for word in words if not letters.unknown([word])]
        self._lm: Any = str(lm)  # after the first search the loaded model
        self.search: Any = None
        self.weigh(task.lm_weights[0], task.word_scores[0])

    def weigh(self, lm_weight: float, word_score: float) -> None:
        """Set the weight of the language model and what is added for every word."""
        from torchaudio.models.decoder import ctc_decoder  # type: ignore[import-untyped]

        with TemporaryDirectory() as folder:
            lexicon = Path(folder, "lexicon.txt")
            spelt = (f"{word} {' '.join(word)} {WORD_END}\n" for word in self.words)
            lexicon.write_text("".join(spelt), encoding="utf-8")
            self.search = ctc_decoder(
                str(lexicon),
                list(self.letters.symbols),
                self._lm,
                beam_size=self.task.beam,
                beam_threshold=self.task.beam_threshold,
                lm_weight=lm_weight,
                word_score=word_score,
                blank_token=self.letters.symbols[BLANK],
                sil_token=WORD_END,
            )
        self._lm = self.search.lm

    def __call__(self, log_probs: Tensor) -> str:
        """The best text of one utterance (T, letters)."""
        found = self.search(log_probs.float().contiguous()[None])[0]
        return " ".join(found[0].words) if found else ""

    def tune(self, emissions: Sequence[Tensor], references: Sequence[str]) -> dict[str, Any]:
        """Set the pair of weights of the grid with the lowest word error rate; the pair, and the rate of each."""
        grid = [(weight, bonus) for weight in self.task.lm_weights for bonus in self.task.word_scores]
        rates = []
        for weight, bonus in grid:
            self.weigh(weight, bonus)
            rates.append(score(references, [self(e) for e in emissions])["wer"] if len(grid) > 1 else 0.0)
        weight, bonus = grid[rates.index(min(rates))]
        self.weigh(weight, bonus)
        log.info("language model: weight %g, word score %g of %d pairs", weight, bonus, len(grid))
        tried = [{"lm_weight": w, "word_score": b, "valid_wer": r} for (w, b), r in zip(grid, rates, strict=True)]
        return {"lm_weight": weight, "word_score": bonus, "tried": tried if len(grid) > 1 else []}
