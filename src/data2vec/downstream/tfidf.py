"""Controls without a network: word counts (TF-IDF), as features of a probe and as a model of their own.

Words and pairs of neighbouring words; a pair of sentences is both vectors, their absolute difference and their
product. `finetune.init=tfidf` fits logistic regression, or ridge regression to scores, with C chosen on a held-out
fifth of the training rows.
"""

import logging
import time
import warnings
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from safetensors.torch import save
from sklearn.decomposition import TruncatedSVD
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge

from data2vec import config as schema
from data2vec.config import RunConfig
from data2vec.data.sentence_sets import SentenceSet, load_sentences
from data2vec.downstream.features import stratified
from data2vec.downstream.leaderboard import write_predictions
from data2vec.downstream.sentence_metrics import score_sentences
from data2vec.downstream.sentences import reported_splits, score_splits
from data2vec.downstream.task import task_data
from data2vec.errors import UserError
from data2vec.training.device import cpu_name
from data2vec.training.run_folder import RunFolder, write_atomic

log = logging.getLogger(__name__)

GRID = (0.1, 1.0, 10.0, 100.0)
MAX_FEATURES = 200_000  # of one sentence
WORD = r"(?u)\w+"


class WordCounts:
    """TF-IDF with the words of a training set."""

    def __init__(self, train: SentenceSet) -> None:
        self.vectoriser = TfidfVectorizer(
            ngram_range=(1, 2), token_pattern=WORD, sublinear_tf=True, max_features=MAX_FEATURES
        )
        try:
            self.vectoriser.fit([*train.texts, *(train.partners or [])])
        except ValueError:
            raise UserError(f"{train.file} holds no words") from None

    def __call__(self, dataset: SentenceSet) -> sp.csr_matrix:
        """Sparse features (N, F) of every row."""
        first = self.vectoriser.transform(dataset.texts)
        if dataset.partners is None:
            return first
        second = self.vectoriser.transform(dataset.partners)
        return sp.hstack([first, second, abs(first - second), first.multiply(second)], format="csr")


def fit_control(config: RunConfig, folder: RunFolder) -> None:
    """Fit the control on the task's data and leave the same files as a fine-tuning."""
    if config.task.kind != "sentences":
        raise UserError(f"finetune.init = tfidf is not allowed for task {config.task.name}: it needs sentences")
    started, data = time.monotonic(), task_data(config)
    write_atomic(folder.path / "config.yaml", schema.dump(config))
    train = load_sentences(data, "train")
    assert train.labels is not None
    counts = WordCounts(train)
    groups = train.labels if train.classes else np.zeros(len(train))
    chosen = stratified(groups, config.finetune.train_limit, config.seed)
    x, y = counts(train)[chosen], train.labels[chosen]
    best, held_out = _choose(x, y, train, data.name)
    model = _fit(best, x, y, train)

    def predict(dataset: SentenceSet) -> np.ndarray:
        predicted: np.ndarray = model.predict(counts(dataset))
        return predicted if train.classes else predicted.clip(y.min(), y.max())

    scores = score_splits(data.name, {split: load_sentences(data, split) for split in reported_splits(data)}, predict)
    write_predictions(folder.path, data, predict)
    tensors = {"weight": np.atleast_2d(model.coef_), "bias": np.atleast_1d(model.intercept_)}
    tensors["idf"] = counts.vectoriser.idf_
    stored = {name: torch.from_numpy(value.astype(np.float32)) for name, value in tensors.items()}
    write_atomic(folder.model, save(stored, metadata={"config": schema.dump(config)}))
    facts = {"seed": config.seed, "pretrain_seconds": round(time.monotonic() - started, 3), "updates": 0}
    facts |= {"samples": len(y), "parameters": tensors["weight"].size + tensors["bias"].size}
    folder.write_json("provenance.json", folder.provenance(cpu_name(), torch.device("cpu"), **facts))
    rows = [{"dataset": data.name} | row for row in scores.rows]
    log.info("%s", ", ".join(f"{row['metric']} {row['value']:.2f} {row['unit']}" for row in rows))
    chosen_by = {"train_rows": len(y), "C": best, "held_out": held_out}
    folder.write_json("metrics.json", {"rows": rows, "init": "tfidf", **chosen_by, **scores.details})


def reduced_counts(train: SentenceSet, dataset: SentenceSet, dim: int = 256) -> np.ndarray:
    """TF-IDF features of `dataset` (N, at most `dim`) float32, reduced as the training set's demand."""
    counts = WordCounts(train)
    known = counts(train)
    svd = TruncatedSVD(min(dim, min(known.shape) - 1), random_state=0).fit(known)
    reduced: np.ndarray = svd.transform(counts(dataset))
    return reduced.astype(np.float32)


def _fit(c: float, x: Any, y: np.ndarray, train: SentenceSet) -> LogisticRegression | Ridge:
    model = LogisticRegression(C=c, max_iter=300) if train.classes else Ridge(alpha=1 / c)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a control stopped early is still one
        return model.fit(x, y)


def _choose(x: Any, y: np.ndarray, train: SentenceSet, name: str) -> tuple[float, dict[str, float]]:
    """The C that does best on a held-out fifth, and the score of each."""
    order = np.random.default_rng(0).permutation(len(y))
    held, kept = order[: max(1, len(y) // 5)], order[max(1, len(y) // 5) :]
    scores = {}
    for c in GRID:
        predicted = _fit(c, x[kept], y[kept], train).predict(x[held])
        part = SentenceSet(train.file, train.classes, [], None, y[held], [])
        rows = score_sentences(name, part, predicted)
        scores[c] = rows[0]["value"]
    return max(scores, key=lambda c: scores[c]), {str(c): score for c, score in scores.items()}
