"""What was masked in text: the sentence, its hidden pieces, and the student's nearest tokens, from masked.npz.

The page shows it as text (`Passage`), the figure file has the same words drawn.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from data2vec.reporting.drawing import BLUE, GREY, INK, VERMILLION, Figure, new_canvas, placeholder
from data2vec.reporting.files import Issue
from data2vec.reporting.masked_arrays import Arrays, first_of_each_method, load_arrays, mean_error
from data2vec.reporting.names import method_label
from data2vec.reporting.runs import Run

ARRAYS = ("pieces", "is_masked", "nearest", "error")
WORD_STARTS = ("\u2581", "\u0120")  # how SentencePiece and byte-level BPE mark a space
PASSAGES = 2  # blocks of text that the page shows
PIECES = 48  # of a block: a few lines
LINE = 86  # characters across the figure


@dataclass(frozen=True)
class Piece:
    """One token: its text, whether a word begins with it, and, if it was hidden, what the student is nearest to."""

    text: str
    starts_word: bool
    is_hidden: bool
    nearest: tuple[str, ...]


@dataclass(frozen=True)
class Passages:
    """Some text of one run."""

    method: str
    hidden: str  # share, in words
    blocks: list[list[Piece]]


def load_masked(path: Path, issues: list[Issue]) -> Arrays | None:
    """The arrays of a text's masked.npz; None and an issue if they are absent, broken or do not fit."""
    return load_arrays(path, ARRAYS, _fits, issues)


def _fits(arrays: Arrays) -> bool:
    shape = arrays["is_masked"].shape
    nearest = arrays["nearest"].shape
    same = arrays["pieces"].shape == shape == arrays["error"].shape == nearest[:2]
    return len(shape) == 2 and min(shape) > 0 and same and len(nearest) == 3


def masked(runs: list[Run], issues: list[Issue]) -> tuple[Figure, list[Passages]]:
    """The figure, and the same text for the page."""
    name, title = "masked_text", "What was masked"
    shown = first_of_each_method(runs, load_masked, issues)
    if not shown:
        return placeholder(name, title, "No picture of the masks: no masked.npz was found."), []
    passages = [_passages(run, arrays) for run, arrays in shown]
    lines = [_wrapped(found.blocks[0]) for found in passages]
    heights = [len(rows) * 0.62 + 0.45 for rows in lines]
    canvas = new_canvas(sum(heights))
    grid = canvas.subplots(len(shown), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for axes, found, rows in zip(grid, passages, lines, strict=True):
        axes.set_title(f"{method_label(found.method)}: {found.hidden} hidden")
        _draw(axes, rows)
    caption = (
        "Training text; marked: tokens that were hidden from the student. Under each, nearest first, the three tokens "
        "whose teacher targets, in other training text, lie nearest to the student's prediction (for a masked language "
        "model: its three likeliest tokens); set off where the hidden token is among them."
    )
    said = "; ".join(
        f"{method_label(run.method)}: {arrays['is_masked'].mean():.0%} of the tokens hidden, "
        f"mean error {mean_error(arrays['error']):.3g}"
        for run, arrays in shown
    )
    data = pd.concat([_tokens(run, arrays) for run, arrays in shown], ignore_index=True)
    return Figure(name, title, caption, f"Text with hidden tokens marked. {said}.", canvas, data), passages


def _passages(run: Run, arrays: Arrays) -> Passages:
    share = f"{arrays['is_masked'].mean():.0%}"
    return Passages(run.method, share, [_pieces(arrays, i) for i in range(min(PASSAGES, len(arrays["pieces"])))])


def _pieces(arrays: Arrays, block: int) -> list[Piece]:
    return [
        Piece(
            _plain(str(text)),
            str(text).startswith((*WORD_STARTS, "<", "[")),
            bool(hidden),
            tuple(word for word in map(_plain, map(str, nearest)) if word) if hidden else (),
        )
        for text, hidden, nearest in zip(
            arrays["pieces"][block][:PIECES],
            arrays["is_masked"][block][:PIECES],
            arrays["nearest"][block][:PIECES],
            strict=True,
        )
        if str(text)
    ]


def _plain(piece: str) -> str:
    return piece[1:] if piece.startswith(WORD_STARTS) and len(piece) > 1 else piece


def _wrapped(pieces: list[Piece]) -> list[list[tuple[int, Piece]]]:
    """Lines of (column, piece): each piece as wide as its longest word, a gap before a word."""
    rows: list[list[tuple[int, Piece]]] = [[]]
    column = 0
    for piece in pieces:
        gap = int(column > 0 and (piece.starts_word or piece.is_hidden or bool(rows[-1][-1][1].is_hidden)))
        width = max(map(len, (piece.text, *piece.nearest)))
        if column and column + gap + width > LINE:
            rows.append([])
            column = gap = 0
        rows[-1].append((column + gap, piece))
        column += gap + width
    return rows


def _draw(axes: Axes, rows: list[list[tuple[int, Piece]]]) -> None:
    axes.set_axis_off()
    axes.set_xlim(0, LINE)
    axes.set_ylim(len(rows) * 4.4, -0.6)
    common: dict[str, Any] = {"family": "DejaVu Sans Mono", "va": "center", "parse_math": False}
    for number, row in enumerate(rows):
        for column, piece in row:
            top = number * 4.4
            box = {"facecolor": "#dfe6f2", "edgecolor": "none", "pad": 1.0} if piece.is_hidden else None
            axes.text(column, top, piece.text, color=INK, fontsize=8.2, bbox=box, **common)
            for place, word in enumerate(piece.nearest):
                colour = BLUE if word == piece.text else (VERMILLION if place == 0 else GREY)
                weight = "bold" if word == piece.text else "normal"
                axes.text(column, top + 1 + 0.85 * place, word, color=colour, fontsize=7, weight=weight, **common)


def _tokens(run: Run, arrays: Arrays) -> pd.DataFrame:
    """Source data: one row per token of the blocks shown."""
    pieces = arrays["pieces"][:PASSAGES]
    block, place = np.indices(pieces.shape).reshape(2, -1)
    nearest = arrays["nearest"][:PASSAGES].reshape(-1, arrays["nearest"].shape[2])
    columns = {f"nearest_{k + 1}": nearest[:, k] for k in range(nearest.shape[1])}
    return pd.DataFrame(
        {
            "method": run.method,
            "seed": run.seed,
            "block": block,
            "place": place,
            "piece": pieces.reshape(-1),
            "is_masked": arrays["is_masked"][:PASSAGES].reshape(-1),
            "error": arrays["error"][:PASSAGES].reshape(-1),
            **columns,
        }
    )
