"""Frozen features with their labels, of each modality: encoder outputs, pooled, or a control without a network."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data2vec.config import RunConfig
from data2vec.data.audio import SAMPLE_RATE, Recordings
from data2vec.data.sentence_batches import evaluation_batches as token_batches
from data2vec.data.sentence_sets import load_sentences
from data2vec.data.text import pad_rows
from data2vec.data.vocabulary import PAD
from data2vec.downstream.speech_batches import evaluation_inputs
from data2vec.downstream.speech_data import labelled_splits, subset
from data2vec.errors import UserError
from data2vec.methods.build import build_encoder
from data2vec.nn.encoder import Encoder, pool
from data2vec.training.checkpoint import load_model
from data2vec.training.device import Device


def load_encoder(config: RunConfig, run_dir: Path) -> Encoder:
    """The student's encoder of a finished pre-training run."""
    encoder = build_encoder(config)
    load_student(encoder, load_model(run_dir / "checkpoint" / "model.safetensors"), run_dir)
    return encoder


def load_student(encoder: Encoder, tensors: dict[str, Tensor], run_dir: Path) -> None:
    """Set an encoder to the student's weights (never the teacher's, as published; pitfall P-I20)."""
    prefix = "encoder."
    student = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    try:
        encoder.load_state_dict(student)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{run_dir}: the checkpoint does not fit the configuration: {reason[:300]}") from None


def mean_of_frames(x: Tensor, padding: Tensor | None) -> Tensor:
    """(B, T, D) -> (B, D): mean over the frames that are not padding (B, T)."""
    if padding is None:
        return x.mean(1)
    return x.masked_fill(padding.unsqueeze(-1), 0).sum(1) / (~padding).sum(1, keepdim=True)


def stratified(labels: np.ndarray, limit: int | None, seed: int) -> np.ndarray:
    """Indices of at most `limit` samples, equally many of each class as far as they go; sorted."""
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    rank = np.empty(len(labels), dtype=np.int64)
    for c in np.unique(labels):  # position of each sample within its class
        members = order[labels[order] == c]
        rank[members] = np.arange(len(members))
    chosen = order[np.argsort(rank[order], kind="stable")][:limit]
    return np.sort(chosen)


def labelled_features(
    config: RunConfig, split: str, encoder: Encoder | None, device: Device, run_dir: Path | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, D) float32 and labels (N,) of `train` or `test`; without an encoder those of the input itself.

    At most `probe.train_limit` samples of `train`, the same ones for every run. `run_dir`: the encoder's folder, which
    may hold its vocabulary.
    """
    return FEATURES[config.modality](config, split, encoder, device, run_dir)


def probe_data(config: RunConfig) -> Path:
    """Folder of the prepared data that is probed."""
    return Path(config.data_dir) / (config.probe.data or config.data.name)


@torch.no_grad()
def image_features(
    config: RunConfig, split: str, encoder: Encoder | None, device: Device, run_dir: Path | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Pooled outputs of the encoder, or raw normalised pixels."""
    from data2vec.data.batches import evaluation_batches  # torchvision, which the others do without
    from data2vec.data.images import load_images

    v, size = config.vision, config.probe.batch_size
    dataset = load_images(probe_data(config), split)
    chosen = stratified(dataset.labels, config.probe.train_limit if split == "train" else None, seed=0)
    parts = []
    for batch in evaluation_batches(dataset, v.image_size, v.mean, v.std, size, indices=chosen):
        images = batch["images"]
        if encoder is None:
            parts.append(images.flatten(1))
            continue
        with device.autocast():
            output = encoder(images.to(device.torch))
        parts.append(pool(output, config.probe.pooling).float().cpu())
    return torch.cat(parts).numpy(), dataset.labels[chosen]


@torch.no_grad()
def speech_features(
    config: RunConfig, split: str, encoder: Encoder | None, device: Device, run_dir: Path | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean over valid frames of the encoder's output, or mean and standard deviation of log-mel features."""
    splits = labelled_splits(config, probe_data(config), config.probe.labels)
    part = splits.train if split == "train" else next(iter(splits.tests.values()))
    labels = np.array(part.speakers if config.probe.labels == "speaker" else part.labels)
    if split == "train":
        chosen = stratified(labels, config.probe.train_limit, seed=0)
        part, labels = subset(part, chosen), labels[chosen]
    if encoder is None:
        return _filterbank(part), labels
    found = torch.empty(len(part), config.model.dim)
    seconds = config.speech.micro_seconds or config.speech.batch_seconds
    for batch in evaluation_inputs(part, config, device, seconds):
        with device.autocast():
            output = encoder(batch.waveforms, batch.padding)
        found[batch.indices] = mean_of_frames(output.x.float(), batch.padding).cpu()
    return found.numpy(), labels


def _filterbank(part: Recordings, bins: int = 80) -> np.ndarray:
    """Mean and standard deviation over time of the log-mel energies of 25 ms windows, (N, 2 * bins)."""
    from torchaudio.compliance.kaldi import fbank  # type: ignore[import-untyped]

    window = SAMPLE_RATE * 25 // 1000
    rows = []
    for i in range(len(part)):
        waveform = part.waveform(i)
        waveform = torch.nn.functional.pad(waveform, (0, max(0, window - len(waveform))))
        energies = fbank(waveform[None], num_mel_bins=bins, sample_frequency=SAMPLE_RATE)
        rows.append(torch.cat([energies.mean(0), energies.std(0, correction=0)]))
    return torch.stack(rows).numpy()


@torch.no_grad()
def text_features(
    config: RunConfig, split: str, encoder: Encoder | None, device: Device, run_dir: Path | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Outputs of the encoder, averaged over the tokens of a row, or reduced TF-IDF features of its words.

    Where the labels of `test` are withheld, those of `valid` take its place.
    """
    from data2vec.downstream import sentences, tfidf  # they build on this module

    folder = probe_data(config)
    name = split if split == "train" else sentences.reported_splits(folder)[0]
    dataset = load_sentences(folder, name)
    if not dataset.classes or dataset.labels is None:
        raise UserError(f"probe.data = {folder.name} is not allowed: its labels are scores, a probe needs classes")
    chosen = stratified(dataset.labels, config.probe.train_limit if split == "train" else None, seed=0)
    if encoder is None:
        train = load_sentences(folder, "train")
        return tfidf.reduced_counts(train, dataset)[chosen], dataset.labels[chosen]
    texts = sentences.Texts(sentences.run_tokenizer(config, run_dir), config.text.max_positions)
    encoded = texts.rows(texts.checked(dataset))
    rows = [encoded[i] for i in chosen]
    features = np.zeros((len(rows), config.model.dim), dtype=np.float32)
    for members in token_batches(rows):
        tokens = torch.from_numpy(pad_rows([rows[i] for i in members])[0]).to(device.torch)
        is_token = (tokens != PAD).unsqueeze(-1)
        with device.autocast():
            output = encoder(tokens, ~is_token.squeeze(-1)).x
        mean = (output.float() * is_token).sum(1) / is_token.sum(1)
        features[members] = mean.cpu().numpy()
    return features, dataset.labels[chosen]


Features = Callable[[RunConfig, str, Encoder | None, Device, Path | None], tuple[np.ndarray, np.ndarray]]
FEATURES: dict[str, Features] = {
    "vision": image_features,
    "speech": speech_features,
    "text": text_features,
}
