"""Notes of band-limited noise in three bands, and networks small enough to tell them apart after seconds."""

from collections.abc import Iterator

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from data2vec.config import RunConfig, validate
from data2vec.methods.build import Method
from data2vec.methods.step import Batch
from data2vec.modalities.speech import draw_masks
from data2vec.nn.encoder import Encoder
from data2vec.training.optim import Adam, parameter_groups

NOTES, NOTE, FRAMES = 4, 4_000, 12  # notes of a melody, samples of a note, its frames
SAMPLES = NOTES * NOTE
BANDS = (800, 1300, 2000)  # Hz
NOISE = 0.5
UPDATES = 150


def melodies(count: int, seed: int) -> tuple[Tensor, np.ndarray]:
    """Waveforms (count, SAMPLES) and the band of each of their notes (count, NOTES)."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(BANDS), (count, NOTES))
    frequencies = np.fft.rfftfreq(NOTE, 1 / 16_000)
    waveforms = []
    for row in labels:
        notes = []
        for band in row:
            gain = np.exp(-0.5 * ((frequencies - BANDS[band] * rng.uniform(0.93, 1.07)) / 80) ** 2)
            note = np.fft.irfft(np.fft.rfft(rng.normal(size=NOTE)) * gain)
            notes.append(note / note.std())
        noisy = np.concatenate(notes) + NOISE * rng.normal(size=SAMPLES)
        waveforms.append((noisy - noisy.mean()) / noisy.std())
    return torch.tensor(np.array(waveforms), dtype=torch.float32), labels


def small(method: str, **sections: dict) -> RunConfig:
    """A rival on speech with two blocks of width 32 and frames of 20 ms."""
    values: dict = {
        "method": method,
        "modality": "speech",
        "speech": {
            "conv_layers": [[32, 10, 5], [32, 8, 4], [32, 4, 4], [32, 4, 4]],
            "conv_norm": "group",
            "pos_conv_width": 16,
            "pos_conv_depth": 1,
            "pos_conv_groups": 4,
        },
        "model": {"dim": 32, "heads": 4, "depth": 2},
        "mask": {"sampler": "span", "ratio": 0.65, "length": 4, "min_spans": 2},
        "quantiser": {"entries": 8, "dim": 32, "temperature": [1.0, 0.5], "anneal_updates": UPDATES},
        "contrast": {"dim": 32, "negatives": 20, "feature_penalty": 0.1},
        "hubert": {"clusters": 30},
    }
    for name, section in sections.items():
        values[name] = values.get(name, {}) | section
    return validate(values)


def batches(config: RunConfig, waveforms: Tensor, size: int, seed: int = 0) -> Iterator[Batch]:
    """Endless random batches of `size` waveforms with their masks."""
    rng = np.random.default_rng(seed)
    lengths = np.full(size, waveforms.shape[1])
    while True:
        rows = rng.permutation(len(waveforms))[:size]
        yield Batch(waveforms[rows], draw_masks(config, waveforms.shape[1], lengths, rng))


def learn(method: Method, config: RunConfig) -> list[float]:
    """Train for UPDATES updates of 8 melodies; the loss of each."""
    stream = batches(config, melodies(200, 0)[0], size=8)
    trained = ((name, p) for name, p in method.named_parameters() if p.requires_grad)
    optimizer = Adam(parameter_groups(trained, 1e-2, 0.01))
    method.train()
    losses = []
    for update in range(UPDATES):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * min(1.0, (update + 1) / 20) * (1 - update / UPDATES)
        output = method(next(stream))
        loss = output.loss / output.sample_size
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        method.update_teacher(0.0)
        losses.append(loss.item())
    return losses


@torch.no_grad()
def band_accuracy(encoder: Encoder) -> float:
    """Share of held-out notes whose band a linear probe of their mean frame tells; 40 melodies to learn from."""
    encoder.eval()
    features, labels = [], []
    for seed, count in ((1, 40), (2, 80)):
        waveforms, bands = melodies(count, seed)
        frames = encoder(waveforms).x[:, : NOTES * FRAMES]
        features.append(frames.unflatten(1, (NOTES, FRAMES)).mean(2).flatten(0, 1).numpy())
        labels.append(bands.flatten())
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500)).fit(features[0], labels[0])
    return float(probe.score(features[1], labels[1]))
