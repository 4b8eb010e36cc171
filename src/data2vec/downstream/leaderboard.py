"""Predictions for splits whose labels are withheld, in the format of GLUE's leaderboard."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from data2vec.data.glue import TASKS
from data2vec.data.manifest import MANIFEST
from data2vec.data.sentence_sets import SentenceSet, load_sentences, sentence_splits
from data2vec.training.run_folder import write_atomic

FOLDER = "predictions"


def withheld(data: Path) -> Iterator[tuple[str, SentenceSet]]:
    """File name on the leaderboard, and rows, of every split without labels; MNLI's model predicts `diagnostic`."""
    names = dict(TASKS[data.name].board) if data.name in TASKS else {}
    for split, is_labelled in sentence_splits(data).items():
        if not is_labelled:
            yield names.get(split, f"{split}.tsv"), load_sentences(data, split)
    if data.name == "mnli" and (data.parent / "diagnostic" / MANIFEST).is_file():
        yield from withheld(data.parent / "diagnostic")


def write_predictions(run_dir: Path, data: Path, predict: Callable[[SentenceSet], np.ndarray]) -> None:
    """Write `predictions/<file>.tsv`; `predict` gives class numbers or scores (N,)."""
    for name, dataset in withheld(data):
        lines = ["index\tprediction"]
        for index, value in zip(dataset.index, predict(dataset).tolist(), strict=True):
            lines.append(f"{index}\t{dataset.classes[value] if dataset.classes else f'{value:.3f}'}")
        write_atomic(run_dir / FOLDER / name, "\n".join(lines) + "\n")
