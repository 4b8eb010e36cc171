"""`python -m data2vec evaluate`: linear probe and k-NN on frozen features, beside two controls.

The controls are the same network with random weights, and the input itself (pixels, filterbank, words).
scikit-learn's logistic regression on standardised features; C is chosen on a held-out fifth of the training samples.
"""

import itertools
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from data2vec.config import RunConfig
from data2vec.downstream.features import labelled_features, load_encoder, load_student, probe_data
from data2vec.errors import UserError
from data2vec.methods.build import build_encoder
from data2vec.nn.encoder import Encoder
from data2vec.scales import PROBE_CONTROLS
from data2vec.training.checkpoint import load_model
from data2vec.training.device import Device, choose_device
from data2vec.training.run_folder import write_atomic
from data2vec.training.snapshots import find_snapshots

log = logging.getLogger(__name__)


def evaluate(config: RunConfig, run_dir: Path, out: Path) -> None:
    """Probe the run's encoder (or a control) and write the metrics to `out`."""
    allowed = ("encoder", *PROBE_CONTROLS[config.modality])
    if config.probe.features not in allowed:
        raise UserError(
            f"probe.features = {config.probe.features} is not allowed on {config.modality}: {', '.join(allowed)}"
        )
    device = choose_device(config.train)
    encoder: Encoder | None = None
    if config.probe.features in ("encoder", "random"):
        torch.manual_seed(config.seed)
        encoder = load_encoder(config, run_dir) if config.probe.features == "encoder" else build_encoder(config)
        encoder = encoder.to(device.torch).eval()
    x_train, y_train, x_test, y_test = _features(config, encoder, device, run_dir)
    best_c, scores = _choose_c(x_train, y_train, config.probe.regularisation)
    linear = _top1(_linear(best_c), x_train, y_train, x_test, y_test)
    neighbours = min(config.probe.neighbours, len(y_train))
    knn = make_pipeline(Normalizer(), KNeighborsClassifier(neighbours, weights="distance"))
    nearest = _top1(knn, x_train, y_train, x_test, y_test)
    log.info("%s features: linear %.2f %%, %d-NN %.2f %%", config.probe.features, linear, neighbours, nearest)
    values: list[dict[str, Any]] = [
        {"metric": "linear_top1", "value": linear},
        {"metric": "knn_top1", "value": nearest},
        {"metric": "linear_top1_valid", "value": scores[best_c]},
    ]
    if encoder is not None and config.probe.features == "encoder":
        values += _along_the_run(config, encoder, device, run_dir, best_c)
    rows = [row | {"unit": "%", "dataset": probe_data(config).name} for row in values]
    content = {
        "rows": rows,
        "features": config.probe.features,
        "train_samples": len(y_train),
        "test_samples": len(y_test),
        "C": best_c,
        "validation_top1": {str(c): score for c, score in scores.items()},
    }
    write_atomic(out, json.dumps(content, indent=1) + "\n")


def _features(config: RunConfig, encoder: Encoder | None, device: Device, run_dir: Path) -> tuple[np.ndarray, ...]:
    """Features and labels of training, then of test."""
    parts = (labelled_features(config, split, encoder, device, run_dir) for split in ("train", "test"))
    return tuple(itertools.chain.from_iterable(parts))


def _along_the_run(
    config: RunConfig, encoder: Encoder, device: Device, run_dir: Path, c: float
) -> list[dict[str, Any]]:
    """Linear probe of every encoder kept of the run, with the C of its last one: rows with what was spent till then."""
    rows = []
    for kept in find_snapshots(run_dir):
        load_student(encoder, load_model(kept.path), run_dir)
        score = _top1(_linear(c), *_features(config, encoder, device, run_dir))
        cost = {"updates": kept.updates, "samples": kept.samples, "pretrain_seconds": kept.pretrain_seconds}
        rows.append({"metric": f"linear_top1@{kept.updates}", "value": score, **cost})
        log.info("after %d updates: linear %.2f %%", kept.updates, score)
    return rows


def _linear(c: float) -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=300))


def _choose_c(x: np.ndarray, y: np.ndarray, grid: list[float]) -> tuple[float, dict[float, float]]:
    """The C that does best on a held-out fifth, and the score of each."""
    order = np.random.default_rng(0).permutation(len(y))
    held, kept = order[: len(y) // 5], order[len(y) // 5 :]
    scores = {c: _top1(_linear(c), x[kept], y[kept], x[held], y[held]) for c in grid}
    return max(scores, key=lambda c: scores[c]), scores


def _top1(model: Any, x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a probe stopped early is still a probe
        model.fit(x, y)
    return float(100 * (model.predict(x_test) == y_test).mean())
