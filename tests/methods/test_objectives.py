"""Invariants of both objectives that must hold whatever the weights are."""

import numpy as np
import pytest
import torch

from data2vec.config import RunConfig, validate
from data2vec.masking import sample_image_masks
from data2vec.methods.build import build_method
from data2vec.methods.step import Batch
from data2vec.methods.targets import build_targets, masked_moments, position_moments
from data2vec.nn.encoder import Masks

METHODS = ("data2vec", "data2vec2")


def tiny(method: str, **sections: dict) -> RunConfig:
    values: dict = {
        "method": method,
        "vision": {"image_size": 16, "patch_size": 4},
        "model": {"dim": 16, "heads": 2, "depth": 3, "extra_tokens": 1, "absolute_positions": "sincos"},
        "mask": {"ratio": 0.5, "length": 1, "clones": 2, "adjust": 0.0},
        "target": {"top_k": 2},
        "decoder": {"dim": 16, "layers": 2, "groups": 4, "noise_std": 0.0},
        "loss": {"cls": 0.01},
    }
    if method == "data2vec":
        values["model"] |= {"norm": "pre", "relative_positions": "shared", "absolute_positions": "none"}
        values["mask"] |= {"sampler": "random"}
        values["loss"] = {"beta": 2.0, "scale": "mean"}
    for name, section in sections.items():
        values[name] = values.get(name, {}) | section
    return validate(values)


def batch_for(config: RunConfig, images: int = 3) -> Batch:
    rng = np.random.default_rng(0)
    rows = images * (config.mask.clones if config.method == "data2vec2" else 1)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(images, 3, 16, 16, generator=generator)
    return Batch(inputs, Masks.from_numpy(sample_image_masks(config.mask, rows, config.vision.grid, rng)))


def build(config: RunConfig) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_method(config)


@pytest.mark.parametrize("method", METHODS)
def test_teacher_equals_student_at_the_start_and_gets_no_gradient(method: str) -> None:
    config = tiny(method)
    model = build(config)
    student = model.encoder.state_dict()
    for name, value in model.teacher.encoder.state_dict().items():
        assert torch.equal(value, student[name]), name
    model(batch_for(config)).loss.backward()
    assert all(p.grad is None and not p.requires_grad for p in model.teacher.parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.encoder.parameters())


@pytest.mark.parametrize("method", METHODS)
def test_teacher_stays_in_evaluation_mode(method: str) -> None:
    model = build(tiny(method, model={"dropout": 0.5})).train()
    assert model.training and not any(m.training for m in model.teacher.modules())


def test_teacher_moves_under_a_slow_decay_with_tiny_updates() -> None:
    model = build(tiny("data2vec2"))
    weight = model.encoder.trunk.blocks[0].mlp.fc1.weight
    before = model.teacher.encoder.trunk.blocks[0].mlp.fc1.weight.clone()
    with torch.no_grad():
        weight += 1e-3
    for _ in range(100):
        model.update_teacher(0.9999)
    moved = (model.teacher.encoder.trunk.blocks[0].mlp.fc1.weight - before).mean().item()
    assert moved == pytest.approx(1e-3 * (1 - 0.9999**100), rel=0.05)


def test_frozen_teacher_does_not_move() -> None:
    model = build(tiny("data2vec2"))
    before = model.teacher.encoder.trunk.blocks[0].mlp.fc1.weight.clone()
    with torch.no_grad():
        model.encoder.trunk.blocks[0].mlp.fc1.weight += 1
    model.update_teacher(1.0)
    assert torch.equal(before, model.teacher.encoder.trunk.blocks[0].mlp.fc1.weight)


@pytest.mark.parametrize("method", METHODS)
def test_only_hidden_positions_enter_the_loss(method: str) -> None:
    """Gradient of the loss with respect to the prediction is zero exactly at visible positions."""
    config = tiny(method, loss={"cls": 0.0})
    model, batch = build(config), batch_for(config)
    output = model(batch)
    (gradient,) = torch.autograd.grad(output.loss, output.pred)
    moved = gradient.abs().sum(-1) > 0
    assert torch.equal(moved, batch.masks.is_masked)
    assert int(output.sample_size) == int(batch.masks.is_masked.sum())


@pytest.mark.parametrize("method", METHODS)
def test_student_does_not_see_hidden_pixels(method: str) -> None:
    config = tiny(method)
    model, batch = build(config).eval(), batch_for(config, images=1)
    hidden = batch.masks.is_masked[:1].view(1, 1, 4, 4)
    batch.masks = Masks.from_numpy(batch.masks.is_masked[:1].numpy())
    other = batch.inputs + hidden.repeat_interleave(4, 2).repeat_interleave(4, 3) * 10.0
    changed = Batch(other, batch.masks)
    a, b = (model.encoder(x.inputs, None, x.masks).x for x in (batch, changed))
    assert torch.allclose(a, b, atol=1e-6)
    assert not torch.allclose(model(batch).target, model(changed).target)  # the teacher does see them


def test_visible_only_encoding_equals_full_encoding_with_hidden_keys_masked() -> None:
    config = tiny("data2vec2")
    encoder = build(config).encoder.eval()
    batch = batch_for(config)
    rows = len(batch.masks.is_masked) // len(batch.inputs)
    inputs = batch.inputs.repeat_interleave(rows, 0)
    short = encoder(batch.inputs, None, batch.masks).x
    full = encoder(inputs, batch.masks.is_masked).x  # "padding" hides keys
    assert torch.allclose(full[~batch.masks.is_masked], short.flatten(0, 1), atol=1e-5)


def test_one_sample_with_two_masks_equals_two_samples() -> None:
    config = tiny("data2vec2", loss={"cls": 0.0}, target={"norm_layer": ["layer"]})
    model, batch = build(config).eval(), batch_for(config, images=2)
    together = model(batch)
    single = tiny("data2vec2", mask={"clones": 1}, loss={"cls": 0.0}, target={"norm_layer": ["layer"]})
    one = build(single).eval()
    apart = one(Batch(batch.inputs.repeat_interleave(2, 0), batch.masks))
    assert together.loss.item() == pytest.approx(apart.loss.item(), rel=1e-5)


def test_class_loss_does_not_depend_on_the_batch_split() -> None:
    """As released the weight grows with the rows of a batch (P-I1); ours stands for a fixed number."""
    config = tiny("data2vec2")
    model, batch = build(config).eval(), batch_for(config, images=4)
    whole = model(batch)
    halves = []
    for i in (0, 1):
        masks = Masks(batch.masks.is_masked[4 * i : 4 * i + 4], batch.masks.visible[4 * i : 4 * i + 4])
        halves.append(model(Batch(batch.inputs[2 * i : 2 * i + 2], masks)))
    split = sum(h.terms["cls"].item() for h in halves)
    assert split == pytest.approx(whole.terms["cls"].item(), rel=1e-4)


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("feature", ["attention", "ffn", "ffn_residual", "end"])
def test_targets_average_the_last_k_blocks(k: int, feature: str) -> None:
    config = tiny("data2vec2", target={"top_k": k, "feature": feature, "norm_layer": [], "norm_average": []})
    model, batch = build(config).eval(), batch_for(config)
    encoder = model.teacher.encoder
    tokens = encoder.context(encoder.local(batch.inputs))
    features = encoder.run_trunk(tokens, feature).features
    assert len(features) == 3
    expected = torch.stack(features[-k:]).mean(0)
    assert torch.allclose(model(batch).target, expected, atol=1e-6)
    assert torch.equal(build_targets(features, config.target), model(batch).target)


def test_collapse_monitor_is_near_zero_for_constant_predictions() -> None:
    is_masked = torch.rand(4, 9) < 0.5
    assert masked_moments(torch.ones(4, 9, 8), is_masked).spread().item() == pytest.approx(1e-3, rel=1e-3)
    y = torch.randn(4, 9, 8)
    assert masked_moments(y, is_masked).spread().item() == pytest.approx(y[is_masked].std(0).mean().item(), rel=1e-3)


def test_position_monitor_tells_targets_of_the_position_from_targets_of_the_input() -> None:
    own, place = torch.randn(8, 50, 16), torch.randn(50, 16)
    everywhere = torch.ones(8, 50, dtype=torch.bool)

    def share(y: torch.Tensor, padding: torch.Tensor | None = None) -> float:
        whole = masked_moments(y, everywhere if padding is None else ~padding)
        return float(position_moments(y, padding).spread() / whole.spread())

    assert share(own) < 0.15
    assert share(place.expand(8, -1, -1)) == pytest.approx(1.0, abs=0.02)
    assert share(own + place) == pytest.approx(0.5**0.5, abs=0.06)
    # what stands in padding counts for nothing, nor does a position that only one sample has
    padding = torch.arange(50) >= torch.tensor([50, 45, 45, 40, 40, 40, 30, 30])[:, None]
    wild = torch.where(padding[..., None], 1000.0, own + place)
    assert share(wild, padding) == pytest.approx(0.5**0.5, abs=0.08)
    assert position_moments(own[:1]).spread().item() == pytest.approx(1e-3, rel=1e-3)  # one sample cannot tell


def test_padding_beyond_a_window_leaves_every_output_a_number() -> None:
    """A short text in a long block: loss nan from the first update on."""
    from data2vec.nn.transformer import Block, Transformer

    torch.manual_seed(0)
    trunk = Transformer([Block(8, 2), Block(8, 2)])
    trunk.window = (0, 0.2)
    x, padding = torch.randn(2, 10, 8), torch.zeros(2, 10, dtype=torch.bool)
    padding[1, 3:] = True
    bias = torch.zeros(2, 1, 1, 10).masked_fill(padding[:, None, None], -torch.inf)
    out, _ = trunk(x, bias)
    assert out.isfinite().all()
    trunk.window = (0, 2 / 3)  # 2 positions, as in the whole block
    alone, _ = trunk(x[1:, :3], None)
    assert torch.allclose(out[1, :3], alone[0], atol=1e-6)


def test_a_teacher_with_a_window_does_not_see_beyond_it() -> None:
    """Target context: a change of a far patch changes no target of a one-block teacher, a near one does."""
    from data2vec.nn.transformer import window_bias

    config = tiny("data2vec2", model={"depth": 1}, target={"top_k": 1, "norm_layer": []}, teacher={"context": 20})
    model, batch = build(config).eval(), batch_for(config, images=1)
    before = model(batch).target
    changed = batch.inputs.clone()
    changed[:, :, -4:, -4:] += 3.0  # the last of 16 patches
    after = model(Batch(changed, batch.masks)).target
    moved = (before - after).abs().sum(-1)[0] > 1e-6
    assert moved.nonzero().flatten().tolist() == [14, 15]  # a window of 3 around each patch
    visible = (window_bias(6, 1, 0.5)[0, 0] == 0)[1:, 1:]
    assert visible[3].nonzero().flatten().tolist() == [2, 3, 4]
    assert (window_bias(6, 1, 0.5)[0, 0, 1:, 0] == -torch.inf).all()  # no detour through the class token
    full = tiny("data2vec2")
    assert build(full).teacher.encoder.trunk.window is None
