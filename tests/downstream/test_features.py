"""Sampling, pooling and loading for evaluation of frozen encoders."""

from pathlib import Path

import numpy as np
import pytest
import torch

from data2vec.compose import compose
from data2vec.downstream.classifier import Classifier, cross_entropy
from data2vec.downstream.features import load_encoder, load_student, pool, stratified
from data2vec.errors import UserError
from data2vec.methods.build import build_encoder, build_method
from data2vec.nn.encoder import EncoderOutput
from data2vec.training.checkpoint import load_model, save_model


def test_stratified_samples_take_equally_many_of_each_class() -> None:
    labels = np.repeat([0, 1, 2], [500, 300, 10])
    chosen = stratified(labels, 210, seed=0)
    assert np.array_equal(np.bincount(labels[chosen]), [100, 100, 10])
    assert np.array_equal(chosen, stratified(labels, 210, seed=0)) and len(set(chosen)) == 210
    assert len(stratified(labels, None, 0)) == len(stratified(labels, 10_000, 0)) == 810


def test_pooling() -> None:
    output = EncoderOutput(torch.arange(12.0).view(1, 3, 4), torch.full((1, 1, 4), 7.0), [])
    assert torch.equal(pool(output, "mean"), torch.tensor([[4.0, 5.0, 6.0, 7.0]]))
    assert torch.equal(pool(output, "class_token"), torch.full((1, 4), 7.0))


def test_the_students_weights_are_used_never_the_teachers(tiny: dict[str, str], tmp_path: Path) -> None:
    config = compose(tiny)
    method = build_method(config)
    with torch.no_grad():
        for p in method.teacher.parameters():
            p.zero_()
    save_model(tmp_path / "checkpoint" / "model.safetensors", method, {})
    encoder = load_encoder(config, tmp_path)
    for name, value in method.encoder.state_dict().items():
        assert torch.equal(value, encoder.state_dict()[name])


def test_a_checkpoint_of_another_size_is_refused_in_one_line(tiny: dict[str, str], tmp_path: Path) -> None:
    method = build_method(compose(tiny))
    save_model(tmp_path / "model.safetensors", method, {})
    other = build_encoder(compose(tiny | {"model.dim": "32"}))
    with pytest.raises(UserError, match="does not fit the configuration"):
        load_student(other, load_model(tmp_path / "model.safetensors"), tmp_path)


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(UserError, match="damaged checkpoint"):
        load_model(path)


def test_mixed_targets_need_no_further_smoothing() -> None:
    logits = torch.randn(4, 3)
    shares = torch.full((4, 3), 1 / 3)
    assert torch.allclose(cross_entropy(logits, shares, 0.1), -logits.log_softmax(1).mean(1))


def test_classifier_of_1_0_norms_the_pooled_features_instead_of_every_position(tiny: dict[str, str]) -> None:
    config = compose(tiny | {"method": "data2vec"})
    model = Classifier(config, build_encoder(config), 10)
    assert model.encoder.trunk.norm is None and model.classifier.weight.abs().max() < 1e-3
    assert model(torch.randn(2, 3, 8, 8)).shape == (2, 10)
