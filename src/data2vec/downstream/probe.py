"""`python -m data2vec evaluate`: linear probe and k-NN on frozen features, beside two controls.

The controls are the same network with random weights, and the input itself (pixels, filterbank, words).
scikit-learn's logistic regression on standardised features; C is chosen on a held-out fifth of the training samples.
"""

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
from data2vec.downstream.features import labelled_features, load_encoder, probe_data
from data2vec.errors import UserError
from data2vec.methods.build import build_encoder
from data2vec.nn.encoder import Encoder
from data2vec.scales import PROBE_CONTROLS
from data2vec.training.device import choose_device
from data2vec.training.run_folder import write_atomic

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
    x_train, y_train = labelled_features(config, "train", encoder, device, run_dir)
    x_test, y_test = labelled_features(config, "test", encoder, device, run_dir)
    best_c, scores = _choose_c(x_train, y_train, config.probe.regularisation)
    linear = _top1(_linear(best_c), x_train, y_train, x_test, y_test)
    neighbours = min(config.probe.neighbours, len(y_train))
    knn = make_pipeline(Normalizer(), KNeighborsClassifier(neighbours, weights="distance"))
    nearest = _top1(knn, x_train, y_train, x_test, y_test)
    log.info("%s features: linear %.2f %%, %d-NN %.2f %%", config.probe.features, linear, neighbours, nearest)
    rows = [
        {"metric": "linear_top1", "value": linear, "unit": "%", "dataset": probe_data(config).name},
        {"metric": "knn_top1", "value": nearest, "unit": "%", "dataset": probe_data(config).name},
    ]
    content = {
        "rows": rows,
        "features": config.probe.features,
        "train_samples": len(y_train),
        "test_samples": len(y_test),
        "C": best_c,
        "validation_top1": scores,
    }
    write_atomic(out, json.dumps(content, indent=1) + "\n")


def _linear(c: float) -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=300))


def _choose_c(x: np.ndarray, y: np.ndarray, grid: list[float]) -> tuple[float, dict[str, float]]:
    """The C that does best on a held-out fifth, and the score of each."""
    if len(grid) == 1:
        return grid[0], {}
    order = np.random.default_rng(0).permutation(len(y))
    held, kept = order[: len(y) // 5], order[len(y) // 5 :]
    scores = {c: _top1(_linear(c), x[kept], y[kept], x[held], y[held]) for c in grid}
    return max(scores, key=lambda c: scores[c]), {str(c): s for c, s in scores.items()}


def _top1(model: Any, x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a probe stopped early is still a probe
        model.fit(x, y)
    return float(100 * (model.predict(x_test) == y_test).mean())
