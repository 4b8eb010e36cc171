"""HuBERT: units and loss against direct formulas, and whether it learns."""

from pathlib import Path

import pytest
import torch

from data2vec.config import RunConfig, dump
from data2vec.errors import UserError
from data2vec.methods.build import build_method
from data2vec.methods.hubert import Hubert
from data2vec.training.units import fit_centroids

from .made_audio import FRAMES, NOTES, band_accuracy, batches, learn, melodies, small


def build(config: RunConfig) -> Hubert:
    torch.manual_seed(0)
    method = build_method(config)
    assert isinstance(method, Hubert)
    return method


def fitted(config: RunConfig) -> Hubert:
    method = build(config)
    features = method.features(melodies(30, 0)[0]).flatten(0, 1).numpy()
    method.centroids.copy_(torch.from_numpy(fit_centroids(features, config.hubert.clusters, seed=0)))
    return method


def test_loss_is_the_direct_formula() -> None:
    config = small("hubert", contrast={"feature_penalty": 3.0})
    method = fitted(config).eval()
    batch = next(batches(config, melodies(3, 0)[0], 3))
    output = method(batch)
    features = method.features(batch.inputs)
    expected = 0.0
    for row, frame in batch.masks.is_masked.nonzero().tolist():
        unit = (features[row, frame] - method.centroids).norm(dim=1).argmin()
        scores = torch.cosine_similarity(output.pred[row, frame][None], method.units) / 0.1
        expected -= scores.log_softmax(0)[unit].item()
    assert output.terms["units"].item() == pytest.approx(expected, rel=1e-4)
    raw = method.encoder.local.stack(batch.inputs)
    size = int(output.sample_size)
    assert output.terms["penalty"].item() == pytest.approx(3 * size * raw.square().mean().item(), rel=1e-4)
    assert size == int(batch.masks.is_masked.sum())


def test_only_hidden_frames_enter_the_loss_and_centroids_do_not_learn() -> None:
    config = small("hubert")
    method = fitted(config)
    batch = next(batches(config, melodies(3, 0)[0], 3))
    output = method(batch, monitor=True)
    (gradient,) = torch.autograd.grad(output.terms["units"], output.pred, retain_graph=True)
    assert torch.equal(gradient.abs().sum(-1) > 0, batch.masks.is_masked)
    output.loss.backward()
    learned = {name.partition(".")[0] for name, p in method.named_parameters() if p.grad is not None}
    assert learned == {"encoder", "head", "units"}


def test_units_of_a_second_iteration_come_from_the_named_block_of_the_earlier_run(tmp_path: Path) -> None:
    earlier = small("hubert")
    (tmp_path / "config.yaml").write_text(dump(earlier))
    config = small("hubert", hubert={"units_from": str(tmp_path), "layer": 1, "clusters": 5}, model={"depth": 3})
    method = build(config).train()
    waveforms = melodies(2, 0)[0]
    x = method.teacher.local(waveforms)
    tokens = method.teacher.context(x)
    first, _ = method.teacher.trunk.blocks[0](tokens.x)
    assert torch.equal(method.features(waveforms), first) and method.centroids.shape == (5, 32)
    assert not method.teacher.training and method.training
    assert not any(p.requires_grad for p in method.teacher.parameters())


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"speech": {"conv_layers": [[32, 400, 320]]}}, "other frames"),
        ({"speech": {"normalise": False}}, "speech.normalise=True"),
        ({"hubert": {"layer": 3}}, "of 2 blocks"),
    ],
)
def test_an_earlier_run_that_does_not_fit_is_refused(sections: dict, said: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(dump(small("hubert")))
    sections["hubert"] = {"units_from": str(tmp_path), "layer": 2} | sections.get("hubert", {})
    with pytest.raises(UserError, match=said):
        build(small("hubert", **sections))


def test_clusters_are_the_same_for_the_same_seed_and_need_enough_frames() -> None:
    features = torch.randn(500, 4, generator=torch.Generator().manual_seed(0)).numpy()
    a, b, c = (fit_centroids(features, 7, seed) for seed in (1, 1, 2))
    assert (a == b).all() and (a != c).any() and a.shape == (7, 4)
    with pytest.raises(UserError, match="only 5 frames"):
        fit_centroids(features[:5], 7, 1)


def test_units_tell_bands_apart() -> None:
    """Notes of one band share units more than notes of two: what the first iteration is told is worth learning."""
    method = fitted(small("hubert"))
    waveforms, labels = melodies(30, 3)
    units = method.assign(method.features(waveforms))[:, : NOTES * FRAMES].unflatten(1, (NOTES, FRAMES))
    use = torch.nn.functional.one_hot(units, 30).float().mean(2).flatten(0, 1)  # (notes, units)
    same = torch.from_numpy(labels.flatten()[:, None] == labels.flatten())
    alike = use @ use.T
    assert alike[same].mean() > 1.5 * alike[~same].mean()


def test_training_lowers_the_loss_and_beats_random_weights() -> None:
    config = small("hubert")
    method = fitted(config)
    random = band_accuracy(method.encoder)
    losses = learn(method, config)
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    assert band_accuracy(method.encoder) > random + 0.1
