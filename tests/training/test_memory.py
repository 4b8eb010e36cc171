"""Less memory or more speed by configuration: what is computed stays the same, and a full card says what to do."""

import shutil
from pathlib import Path

import pytest
import torch

from data2vec.cli import main
from data2vec.compose import compose
from data2vec.methods.build import build_method
from data2vec.nn.transformer import Block, Transformer
from data2vec.training.device import prepare_trunks
from data2vec.training.loop import out_of_memory
from data2vec.training.streams import pretraining_batches


@pytest.mark.parametrize("method", ["data2vec", "data2vec2"])
def test_checkpointing_keeps_loss_and_gradients(method: str, tiny: dict[str, str]) -> None:
    """Dropout and stochastic depth included: blocks are computed again with the same draws."""
    found = []
    for value in ("false", "true"):
        config = compose(
            tiny | {"method": method, "train.checkpointing": value, "model.dropout": "0.2", "model.layer_drop": "0.3"}
        )
        torch.manual_seed(1)
        model = build_method(config).train()
        prepare_trunks(model, config.train)
        assert any(m.checkpointing for m in model.modules() if isinstance(m, Transformer)) == (value == "true")
        (batch,) = pretraining_batches(config)(0, 1)
        torch.manual_seed(2)
        output = model(batch)
        output.loss.backward()
        found.append((output.loss.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}))
    (loss, grads), (loss_again, grads_again) = found
    assert torch.equal(loss, loss_again) and grads.keys() == grads_again.keys() and len(grads) > 10
    for name, grad in grads.items():
        torch.testing.assert_close(grads_again[name], grad, rtol=0, atol=0)


def test_checkpointing_keeps_fewer_tensors(tiny: dict[str, str]) -> None:
    def kept(value: str) -> int:
        config = compose(tiny | {"model.depth": "8", "train.checkpointing": value})
        model = build_method(config).train()
        prepare_trunks(model, config.train)
        (batch,) = pretraining_batches(config)(0, 1)
        sizes: list[int] = []

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            sizes.append(tensor.nbytes)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model(batch)
        return sum(sizes)

    assert kept("true") < 0.7 * kept("false")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_blocks_compute_the_same() -> None:
    torch.manual_seed(0)
    plain, compiled = Block(16, 2), Block(16, 2)
    compiled.load_state_dict(plain.state_dict())
    prepare_trunks(compiled, compose({"train.compile": "true"}).train)
    assert compiled.state_dict().keys() == plain.state_dict().keys()  # checkpoints do not tell
    x = torch.randn(2, 5, 16)
    torch.testing.assert_close(compiled(x)[0], plain(x)[0], rtol=1e-4, atol=1e-5)


def test_a_full_card_says_what_to_change(
    tiny: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from data2vec.methods.data2vec2 import Data2Vec2

    def full(*_: object, **__: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total of 80 GiB")

    monkeypatch.setattr(Data2Vec2, "forward", full)
    assert main(["pretrain", *(f"{k}={v}" for k, v in tiny.items()), f"run_dir={tmp_path}"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "train.micro_batch" in error and "train.checkpointing=true" in error and "bf16" in error
    assert "Tried to allocate" not in out_of_memory("CUDA out of memory. Tried to allocate 2.00 GiB")
