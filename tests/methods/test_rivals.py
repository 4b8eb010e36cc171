"""The rivals on images and text: losses equal their formulas, nothing hidden is seen, views are compared crosswise."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from data2vec.config import RunConfig, validate
from data2vec.masking import sample_image_masks
from data2vec.methods.build import build_encoder, build_method
from data2vec.methods.maskfeat import gradient_histograms
from data2vec.methods.step import Batch
from data2vec.nn.encoder import Masks

IMAGES = ("mae", "simmim", "maskfeat")
VIEWS = ("byol", "dino")


def tiny(method: str, **sections: dict) -> RunConfig:
    values: dict = {
        "method": method,
        "vision": {"image_size": 16, "patch_size": 4},
        "model": {"dim": 16, "heads": 2, "depth": 2, "norm": "pre", "extra_tokens": 1, "absolute_positions": "sincos"},
        "mask": {"sampler": "random", "ratio": 0.5},
        "decoder": {"dim": 8, "layers": 1, "heads": 2},
        "views": {"hidden_dim": 32, "output_dim": 8, "prototypes": 12, "local_patches": 2},
    }
    for name, section in sections.items():
        values[name] = values.get(name, {}) | section
    return validate(values)


def build(config: RunConfig) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_method(config)


def images(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def masked_batch(config: RunConfig, count: int = 3) -> Batch:
    drawn = sample_image_masks(config.mask, count, config.vision.grid, np.random.default_rng(0))
    return Batch(images(count, 3, 16, 16), Masks.from_numpy(drawn))


def view_batch(count: int = 4, local: int = 0) -> Batch:
    hidden = torch.zeros(count, 16, dtype=torch.bool)
    crops = images(count, local, 3, 8, 8) if local else None
    return Batch(images(count, 2, 3, 16, 16), Masks(hidden, None), crops=crops)


def patch(picture: torch.Tensor, t: int) -> torch.Tensor:
    """Pixels of patch t of (3, 16, 16), one after the other, colours of a pixel together."""
    row, column = divmod(t, 4)
    return picture[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].permute(1, 2, 0).flatten()


@pytest.mark.parametrize("norm", [True, False])
def test_mae_loss_is_the_mean_squared_error_of_hidden_patches(norm: bool) -> None:
    config = tiny("mae", pixels={"norm": norm})
    model, batch = build(config).eval(), masked_batch(config)
    output = model(batch)
    errors = []
    for b, t in batch.masks.is_masked.nonzero().tolist():
        target = patch(batch.inputs[b], t)
        if norm:
            target = (target - target.mean()) / (target.var() + 1e-6).sqrt()
        errors.append((output.pred[b, t] - target).square().mean())
    assert (output.loss / output.sample_size).item() == pytest.approx(torch.stack(errors).mean().item(), rel=1e-5)
    drawn = model.predicted_pixels(output, batch.inputs)
    scale = patch(batch.inputs[1], 2).std().item() if norm else 1.0
    assert drawn[1, 2].std().item() == pytest.approx(scale * output.pred[1, 2].std().item(), rel=1e-3)


def test_simmim_loss_is_the_mean_absolute_error_of_hidden_pixels() -> None:
    config = tiny("simmim", model={"absolute_positions": "learned"})
    model, batch = build(config).eval(), masked_batch(config)
    output = model(batch)
    hidden = batch.masks.is_masked.nonzero().tolist()
    target = torch.stack([patch(batch.inputs[b], t) for b, t in hidden])
    expected = F.l1_loss(output.pred[batch.masks.is_masked], target)
    assert (output.loss / output.sample_size).item() == pytest.approx(expected.item(), rel=1e-5)


def test_histograms_of_gradients_equal_a_loop_over_pixels() -> None:
    picture = images(1, 2, 8, 8)
    found = gradient_histograms(picture, patch_size=4, bins=9, cells=2)
    assert found.shape == (1, 4, 2 * 2 * 2 * 9)
    votes = np.zeros((2, 4, 4, 9))  # channel, row and column of a cell of 2 x 2 pixels, direction
    for c in range(2):
        x = np.pad(picture[0, c].numpy(), 1, mode="edge")
        for i in range(8):
            for j in range(8):
                dx, dy = x[i + 1, j + 2] - x[i + 1, j], x[i + 2, j + 1] - x[i, j + 1]
                direction = math.atan2(dy, dx) % math.pi
                votes[c, i // 2, j // 2, int(9 * direction / math.pi)] += math.hypot(dx, dy)
    votes /= np.linalg.norm(votes, axis=-1, keepdims=True)
    for t in range(4):
        row, column = divmod(t, 2)
        cells = votes[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        np.testing.assert_allclose(found[0, t].numpy(), cells.ravel(), atol=1e-5)


def test_histograms_do_not_change_with_brightness_and_contrast() -> None:
    picture = images(2, 3, 8, 8)
    torch.testing.assert_close(gradient_histograms(picture, 4), gradient_histograms(3 * picture + 5, 4))
    assert not gradient_histograms(torch.ones(1, 3, 8, 8), 4).any()


def test_maskfeat_loss_is_the_mean_squared_error_of_hidden_histograms() -> None:
    config = tiny("maskfeat", model={"absolute_positions": "learned"})
    model, batch = build(config).eval(), masked_batch(config)
    output = model(batch)
    target = gradient_histograms(batch.inputs, 4)[batch.masks.is_masked]
    expected = F.mse_loss(output.pred[batch.masks.is_masked], target)
    assert (output.loss / output.sample_size).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("method", IMAGES)
def test_hidden_pixels_are_targets_only(method: str) -> None:
    positions = "sincos" if method == "mae" else "learned"
    config = tiny(method, model={"absolute_positions": positions})
    model, batch = build(config).eval(), masked_batch(config, 1)
    hidden = batch.masks.is_masked.view(1, 1, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    changed = Batch(batch.inputs + 9 * hidden * images(1, 3, 16, 16).flip(-1), batch.masks)
    before, after = model(batch), model(changed)
    torch.testing.assert_close(before.pred, after.pred)
    assert not torch.allclose(before.target, after.target)
    (gradient,) = torch.autograd.grad(before.loss, before.pred)
    assert torch.equal(gradient.abs().sum(-1) > 0, batch.masks.is_masked)


def test_byol_compares_each_view_with_the_teachers_other_view() -> None:
    model, batch = build(tiny("byol")), view_batch()
    with torch.no_grad():  # a teacher that differs from its student
        for p in (*model.teacher.encoder.parameters(), *model.teacher.head.parameters()):
            p += 0.1 * torch.randn_like(p)
    output = model(batch)
    total = 0.0
    for mine, other in ((0, 1), (1, 0)):
        p = model.predictor(model.projector(model.encoder(batch.inputs[:, mine]).extra[:, 0]))
        z = model.teacher.head(model.teacher.encoder(batch.inputs[:, other]).extra[:, 0])
        total += (2 - 2 * F.cosine_similarity(p, z)).sum().item()
    assert output.loss.item() == pytest.approx(total, rel=1e-5) and int(output.sample_size) == 8
    assert model.position_errors(output).sum().item() == pytest.approx(total, rel=1e-5)


def test_dino_loss_is_the_cross_entropy_over_pairs_of_different_views() -> None:
    config = tiny("dino", views={"local": 3, "teacher_temperature": (0.05, 0.05)})
    model, batch = build(config), view_batch(local=3)
    with torch.no_grad():
        model.center.copy_(torch.randn(12) / 4)
        model.teacher.head.prototypes += torch.randn(12, 8)
    output = model(batch)
    assert batch.crops is not None
    views = [*batch.inputs.unbind(1), *batch.crops.unbind(1)]
    teacher = [model.teacher.head(model.teacher.encoder(x).extra[:, 0]) for x in views[:2]]
    student = [model.projector(model.encoder(x).extra[:, 0]) for x in views]
    losses = [
        -(((t - model.center) / 0.05).softmax(-1) * (s / 0.1).log_softmax(-1)).sum(-1).mean()
        for i, t in enumerate(teacher)
        for j, s in enumerate(student)
        if i != j
    ]
    assert len(losses) == 8
    assert (output.loss / output.sample_size).item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-5)


def test_dino_centre_and_temperature_move_once_an_update() -> None:
    config = tiny("dino", views={"teacher_temperature": (0.04, 0.07), "temperature_updates": 4, "center_decay": 0.75})
    model, batch = build(config).train(), view_batch()
    assert model.teacher_temperature() == pytest.approx(0.04)
    outputs = [model._outputs(model.teacher.encoder, model.teacher.head, batch.inputs).mean((0, 1))]
    model(batch)
    assert not model.center.any()
    model.update_teacher(1.0)
    torch.testing.assert_close(model.center, outputs[0])
    model(Batch(batch.inputs.flip(0) * 2, batch.masks))
    model(batch)  # two micro-batches
    other = model._outputs(model.teacher.encoder, model.teacher.head, batch.inputs * 2).mean((0, 1))
    model.update_teacher(1.0)
    torch.testing.assert_close(model.center, 0.75 * outputs[0] + 0.25 * (outputs[0] + other) / 2)
    assert model.teacher_temperature() == pytest.approx(0.055)
    before = model.center.clone()
    model.eval()(batch)
    model.update_teacher(1.0)
    assert torch.equal(before, model.center)  # pictures and probes leave it alone


@pytest.mark.parametrize("method", VIEWS)
def test_teachers_of_views_follow_their_students_and_get_no_gradient(method: str) -> None:
    model = build(tiny(method))
    model(view_batch()).loss.backward()
    assert all(p.grad is None for p in model.teacher.parameters())
    with torch.no_grad():
        for p in (*model.encoder.parameters(), *model.projector.parameters()):
            p += 1
    model.update_teacher(0.75)
    for mine, theirs in ((model.teacher.encoder, model.encoder), (model.teacher.head, model.projector)):
        for t, s in zip(mine.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(t, s - 0.75)


def words_batch() -> tuple[RunConfig, Batch]:
    from data2vec.modalities.tokens import text_views

    config = validate(
        {
            "modality": "text",
            "method": "masked_lm",
            "data": {"vocab_size": 30},
            "text": {"embedding_dropout": 0.0},
            "model": {"dim": 16, "heads": 2, "depth": 2, "absolute_positions": "learned"},
            "mask": {"sampler": "tokens", "ratio": 0.5, "length": 1, "keep": 0.2, "randomise": 0.2},
        }
    )
    rng = np.random.default_rng(0)
    tokens, lengths = rng.integers(4, 29, (4, 12)), np.array([12, 12, 9, 5])
    tokens[np.arange(12) >= lengths[:, None]] = 1
    views = {name: torch.from_numpy(value) for name, value in text_views(tokens, lengths, rng, config).items()}
    return config, Batch(views.pop("inputs"), Masks(views.pop("is_masked"), None), **views)


def test_masked_lm_loss_is_the_cross_entropy_of_all_selected_tokens() -> None:
    config, batch = words_batch()
    model = build(config).eval()
    output = model(batch, monitor=True)
    is_selected, words = batch.masks.is_masked, batch.teacher_inputs
    assert words is not None and not is_selected[words == 1].any()
    is_mask = batch.inputs == 29
    assert is_selected[is_mask].all() and (is_selected & ~is_mask).sum() >= 3  # kept and random ones count, too
    x = model.encoder(batch.inputs, batch.padding).x
    head = model.head
    logits = head.norm(F.gelu(head.dense(x))) @ model.encoder.local.tokens.weight.T + head.bias
    expected = -logits.log_softmax(-1)[is_selected].gather(1, words[is_selected][:, None]).sum()
    assert output.loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert int(output.sample_size) == int(is_selected.sum())
    assert model.position_errors(output)[is_selected].sum().item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_words_embedding_learns_from_both_ends() -> None:
    config, batch = words_batch()
    model = build(config)
    assert sum(p.numel() for p in model.head.parameters()) == 16 * 16 + 16 + 2 * 16 + 30  # no matrix of its own
    model(batch).loss.backward()
    unseen = (~torch.isin(torch.arange(30), batch.inputs)).nonzero().flatten()
    assert len(unseen) > 0 and model.encoder.local.tokens.weight.grad[unseen].abs().sum() > 0


@pytest.mark.parametrize("method", [*IMAGES, *VIEWS])
def test_the_encoder_can_be_built_alone_for_downstream_tasks(method: str) -> None:
    config = tiny(method, model={"absolute_positions": "sincos" if method in ("mae", *VIEWS) else "learned"})
    alone = build_encoder(config)
    alone.load_state_dict(build(config).encoder.state_dict())
    assert alone(images(2, 3, 16, 16)).x.shape == (2, 16, 16)
