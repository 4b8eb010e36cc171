"""2.0 with a learned token at hidden positions, and with other decoders: what the student sees, and what it may."""

import pytest
import torch

from data2vec.compose import compose
from data2vec.errors import UserError
from data2vec.methods.build import build_method
from data2vec.methods.data2vec2 import Data2Vec2
from data2vec.methods.step import Batch
from data2vec.nn.encoder import Masks, VisibleContext

OPTIONS = {"model": "tiny", "data": "digits", "vision.patch_size": "2", "model.dim": "16", "decoder.heads": "4"}


def method_and_batch(**options: str) -> tuple[Data2Vec2, Batch]:
    torch.manual_seed(0)
    method = build_method(compose(OPTIONS | options))
    assert isinstance(method, Data2Vec2)
    masks = torch.zeros(6, 16, dtype=torch.bool)
    for row in range(6):
        masks[row, torch.randperm(16)[:8]] = True
    return method.eval(), Batch(torch.randn(3, 3, 8, 8), Masks.from_numpy(masks.numpy()))


def test_with_a_token_every_position_is_encoded_and_hidden_pixels_change_nothing() -> None:
    method, batch = method_and_batch(**{"mask.visible_only": "false"})
    x = method.encoder(batch.inputs, None, batch.masks).x
    assert x.shape == (6, 16, 16)
    first = method.encoder.local(batch.inputs)[:1]
    only = Masks.from_numpy(batch.masks.is_masked[:1].numpy())
    changed = torch.where(only.is_masked[..., None], first + 1, first)
    assert torch.equal(method.encoder.context(first, None, only).x, method.encoder.context(changed, None, only).x)


def test_hidden_positions_keep_their_place() -> None:
    context = VisibleContext(4, torch.randn(1, 6, 4), norm_eps=None, mask_token=True)
    masks = Masks.from_numpy(torch.tensor([[True, False, True, False, False, True]]).numpy())
    x = context(torch.zeros(1, 6, 4), None, masks).x
    assert context.positions is not None and torch.equal(x, context.positions)


@pytest.mark.parametrize(
    "options",
    [
        {"mask.visible_only": "false"},
        {"mask.visible_only": "false", "decoder.kind": "none"},
        {"decoder.kind": "transformer"},
        {"mask.visible_only": "false", "decoder.kind": "transformer"},
    ],
)
def test_every_variant_predicts_all_positions_and_learns(options: dict[str, str]) -> None:
    method, batch = method_and_batch(**options)
    optimizer = torch.optim.Adam([p for n, p in method.named_parameters() if not n.startswith("teacher")], 3e-3)
    losses = []
    for _ in range(15):
        output = method(batch)
        assert output.pred.shape == (6, 16, 16)
        loss = output.loss / output.sample_size
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"decoder.kind": "none"}, "decoder.kind"),
        ({"decoder.kind": "transformer", "decoder.dim": "18"}, "decoder.dim"),
        ({"method": "mae", "mask.visible_only": "false"}, "mask.visible_only"),
        ({"train.views": "10", "mask.clones": "4"}, "mask.clones"),
    ],
)
def test_what_does_not_fit_is_named(options: dict[str, str], key: str) -> None:
    with pytest.raises(UserError, match=key):
        compose(OPTIONS | options)


def test_views_fix_the_student_passes_of_an_update() -> None:
    for clones, images in ((1, 32), (4, 8), (16, 2)):
        assert compose(OPTIONS | {"train.views": "32", "mask.clones": str(clones)}).train.batch_size == images
