"""A trunk that starts from the blocks of another run."""

from pathlib import Path

import pytest
import torch

from data2vec.config import validate
from data2vec.errors import UserError
from data2vec.methods.build import Method, build_method
from data2vec.training.checkpoint import save_model
from data2vec.training.transfer import start_trunk


def method(dim: int = 16, depth: int = 2) -> Method:
    return build_method(
        validate({
            "vision": {"image_size": 16, "patch_size": 4},
            "model": {"dim": dim, "heads": 2, "depth": depth, "absolute_positions": "sincos"},
            "target": {"top_k": 2},
            "decoder": {"dim": 16, "layers": 1, "groups": 4},
        })
    )  # fmt: skip


@pytest.mark.parametrize("depth, copied", [(2, 2), (3, 3), (5, 3)])
def test_student_and_teacher_start_from_the_blocks_of_the_other_run(tmp_path: Path, depth: int, copied: int) -> None:
    other, mine = method(depth=3), method(depth=depth)
    save_model(tmp_path / "checkpoint" / "model.safetensors", other, {})
    local = mine.encoder.local.proj.weight.clone()
    last = mine.encoder.trunk.blocks[-1].mlp.fc1.weight.clone()
    assert start_trunk(mine, tmp_path) == copied
    for trunk in (mine.encoder.trunk, mine.teacher.encoder.trunk):
        for block, theirs in zip(trunk.blocks[:copied], other.encoder.trunk.blocks, strict=False):
            for name, value in block.state_dict().items():
                assert torch.equal(value, theirs.state_dict()[name])
    assert torch.equal(mine.encoder.local.proj.weight, local)
    assert torch.equal(mine.encoder.trunk.blocks[-1].mlp.fc1.weight, last) == (copied < depth)


def test_blocks_of_another_width_are_refused_in_one_line(tmp_path: Path) -> None:
    save_model(tmp_path / "checkpoint" / "model.safetensors", method(dim=32), {})
    with pytest.raises(UserError, match=r"model.init_trunk = .*built otherwise") as error:
        start_trunk(method(), tmp_path)
    assert "\n" not in str(error.value)


def test_a_run_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such checkpoint"):
        start_trunk(method(), tmp_path)
