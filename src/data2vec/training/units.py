"""HuBERT's units: clusters of features of the training audio, fitted when a run starts (paper, section IV-B).

They depend on the configuration only, and are kept as `units.npz` in the run's folder: a run that is started again
need not fit them again.
"""

import hashlib
import io
import logging
import warnings
import zipfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from data2vec.config import RunConfig
from data2vec.data.audio import SAMPLE_RATE
from data2vec.errors import UserError
from data2vec.methods.hubert import Hubert
from data2vec.training.checkpoint import load_model
from data2vec.training.run_folder import RunFolder, write_atomic
from data2vec.training.streams import speech_recordings

log = logging.getLogger(__name__)

STARTS, BATCH = 20, 10_000  # random starts and frames of a batch of k-means, as published


def set_units(method: Hubert, config: RunConfig, folder: RunFolder, identity: str) -> None:
    """Set the earlier run's weights, if there is one, and the centroids: those of `units.npz`, or fitted now.

    Raises:
        UserError: the earlier run has no fitting checkpoint, or there are fewer frames than clusters.
    """
    key = identity
    if config.hubert.units_from is not None:
        key += _load_teacher(method, Path(config.hubert.units_from))
    file = folder.path / "units.npz"
    centroids = _saved(file, key)
    if centroids is None:
        centroids = fit_centroids(training_features(method, config), config.hubert.clusters, config.seed)
        buffer = io.BytesIO()
        np.savez(buffer, centroids=centroids, key=np.array(key))
        write_atomic(file, buffer.getvalue())
    method.centroids.copy_(torch.from_numpy(centroids))


def fit_centroids(features: NDArray[np.float32], clusters: int, seed: int) -> NDArray[np.float32]:
    """Centroids (clusters, size) of feature vectors (N, size) by mini-batch k-means."""
    if len(features) < clusters:
        raise UserError(f"hubert.clusters = {clusters}: the audio they are fitted to has only {len(features)} frames")
    from sklearn.cluster import MiniBatchKMeans  # no other method needs it
    from sklearn.exceptions import ConvergenceWarning

    kmeans = MiniBatchKMeans(clusters, n_init=STARTS, batch_size=BATCH, compute_labels=False, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # audio with fewer different frames than clusters
        kmeans.fit(features)
    log.info("units: %d clusters of %d frames with %d features", clusters, *features.shape)
    return kmeans.cluster_centers_.astype(np.float32)


def training_features(method: Hubert, config: RunConfig) -> NDArray[np.float32]:
    """Features (N, size) of randomly chosen training recordings of `hubert.fit_seconds` in all."""
    s, device = config.speech, method.centroids.device
    recordings = speech_recordings(config)
    left = config.hubert.fit_seconds * SAMPLE_RATE
    parts = []
    for index in np.random.default_rng(config.seed).permutation(len(recordings)):
        waveform = recordings.waveform(int(index))[: round(s.max_seconds * SAMPLE_RATE)]
        parts.append(method.features(waveform[None].to(device))[0].cpu().numpy())
        left -= len(waveform)
        if left <= 0:
            break
    return np.concatenate(parts)


def _load_teacher(method: Hubert, run: Path) -> str:
    """Set the teacher to the student's encoder of a finished run; the digest of its checkpoint."""
    path = run / "checkpoint" / "model.safetensors"
    tensors = load_model(path)
    prefix = "encoder."
    student = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    try:
        method.teacher.load_state_dict(student)
    except RuntimeError:
        raise UserError(f"hubert.units_from = {run}: its checkpoint does not fit its config.yaml") from None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _saved(file: Path, key: str) -> NDArray[np.float32] | None:
    """The centroids that an earlier start of this run left, None if it left none."""
    try:
        with np.load(file) as arrays:
            return arrays["centroids"] if str(arrays["key"]) == key else None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
