"""Scores of sentence tasks as GLUE reports them, times 100 (algorithms.md 9.6)."""

from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, matthews_corrcoef

from data2vec.data.sentence_sets import SentenceSet

# Metrics of each data set; the best weights are chosen by the first.
METRICS: dict[str, tuple[str, ...]] = {
    "cola": ("matthews", "accuracy"),
    "mrpc": ("acc_and_f1", "accuracy", "f1"),
    "qqp": ("acc_and_f1", "accuracy", "f1"),
    "word-order": ("accuracy", "matthews"),
}
OF_SCORES = ("pearson_and_spearman", "pearson", "spearman")
OF_CLASSES = ("accuracy",)


def metric_names(name: str, classes: list[str]) -> tuple[str, ...]:
    """Metrics of the data set `name`; the first is the one that selects."""
    return METRICS.get(name, OF_CLASSES) if classes else OF_SCORES


def score_sentences(name: str, dataset: SentenceSet, predicted: np.ndarray, suffix: str = "") -> list[dict[str, Any]]:
    """Rows of metric, value, unit for predicted class numbers or scores (N,)."""
    assert dataset.labels is not None
    values = (_of_classes if dataset.classes else _of_scores)(dataset.labels, predicted)
    names = metric_names(name, dataset.classes)
    return [{"metric": metric + suffix, "value": 100 * values[metric], "unit": "%"} for metric in names]


def confusion(dataset: SentenceSet, predicted: np.ndarray) -> list[list[int]]:
    """Counts by (true, predicted) class."""
    numbers = range(len(dataset.classes))
    table: list[list[int]] = confusion_matrix(dataset.labels, predicted, labels=list(numbers)).tolist()
    return table


def _of_classes(labels: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    accuracy, matthews = accuracy_score(labels, predicted), matthews_corrcoef(labels, predicted)
    values = {"accuracy": float(accuracy), "matthews": float(matthews)}
    if int(max(labels.max(), predicted.max())) < 2:
        values["f1"] = float(f1_score(labels, predicted, zero_division=0))  # of class 1
        values["acc_and_f1"] = (values["accuracy"] + values["f1"]) / 2
    return values


def _of_scores(labels: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    pearson, spearman = _correlation(labels, predicted), _correlation(rankdata(labels), rankdata(predicted))
    return {"pearson": pearson, "spearman": spearman, "pearson_and_spearman": (pearson + spearman) / 2}


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's; 0 where one of the two does not vary."""
    return float(np.corrcoef(x, y)[0, 1]) if np.ptp(x) > 0 and np.ptp(y) > 0 else 0.0
