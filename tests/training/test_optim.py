"""The optimiser follows the original's formula, resumes exactly, and its groups get the rates they should."""

import io

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import Linear, Module, Parameter

from data2vec.training.optim import Adam, parameter_groups, set_learning_rate
from data2vec.training.schedules import LearningRate


def formula(
    param: Tensor, grads: list[Tensor], lr: float, betas: tuple[float, float], eps: float, decay: float
) -> Tensor:
    """The update as it is written down, in float64."""
    param, m, v = param.double(), torch.zeros_like(param.double()), torch.zeros_like(param.double())
    for t, grad in enumerate((grad.double() for grad in grads), start=1):
        m = betas[0] * m + (1 - betas[0]) * grad
        v = betas[1] * v + (1 - betas[1]) * grad**2
        param = param - lr * decay * param
        param = param - lr * (1 - betas[1] ** t) ** 0.5 / (1 - betas[0] ** t) * m / (v.sqrt() + eps)
    return param


def train(params: list[Parameter], optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        for i, param in enumerate(params):
            param.grad = torch.randn(param.shape, generator=torch.Generator().manual_seed(100 * step + i))
        optimizer.step()


def parameters() -> list[Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [Parameter(torch.randn(shape, generator=generator)) for shape in ((37, 5), (11,), (2, 3, 4))]


@settings(max_examples=20, derandomize=True, deadline=None)
@given(
    st.integers(1, 8),
    st.sampled_from([1e-8, 1e-6, 1e-2]),
    st.sampled_from([0.0, 0.05]),
    st.floats(0.5, 0.999),
    st.sampled_from([1.0, 1e-6]),
)
def test_adam_is_the_written_formula(steps: int, eps: float, decay: float, beta2: float, size: float) -> None:
    """Small gradients and a large eps are where torch's own placement of eps shows."""
    generator = torch.Generator().manual_seed(steps)
    start = torch.randn(33, generator=generator)
    grads = [size * torch.randn(33, generator=generator) for _ in range(steps)]
    param = Parameter(start.clone())
    optimizer = Adam([param], lr=1e-2, betas=(0.9, beta2), eps=eps, weight_decay=decay)
    for grad in grads:
        param.grad = grad.clone()
        optimizer.step()
    torch.testing.assert_close(
        param.detach().double(), formula(start, grads, 1e-2, (0.9, beta2), eps, decay), rtol=1e-4, atol=1e-5
    )


def test_eps_stands_where_the_original_has_it() -> None:
    """With a gradient far below eps, torch's AdamW makes a larger first step."""
    ours, theirs = Parameter(torch.zeros(1)), Parameter(torch.zeros(1))
    ours.grad, theirs.grad = torch.full((1,), 1e-6), torch.full((1,), 1e-6)
    Adam([ours], lr=1.0, betas=(0.9, 0.98), eps=1e-3).step()
    torch.optim.AdamW([theirs], lr=1.0, betas=(0.9, 0.98), eps=1e-3, weight_decay=0.0).step()
    assert ours.item() == pytest.approx(theirs.item() * 0.02**0.5, rel=1e-2)


def test_resume_is_exact() -> None:
    whole, first = parameters(), parameters()
    train(whole, Adam(whole, lr=1e-2, weight_decay=0.1), range(7))
    stopped = Adam(first, lr=1e-2, weight_decay=0.1)
    train(first, stopped, range(4))
    file = io.BytesIO()
    torch.save({"params": [p.detach() for p in first], "optimizer": stopped.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    second = [Parameter(value) for value in saved["params"]]
    resumed = Adam(second, lr=1.0)
    resumed.load_state_dict(saved["optimizer"])
    for old, new in zip(stopped.state.values(), resumed.state.values(), strict=True):
        assert old["step"] == new["step"] == 4
        assert torch.equal(old["exp_avg"], new["exp_avg"]) and torch.equal(old["exp_avg_sq"], new["exp_avg_sq"])
    train(second, resumed, range(4, 7))
    assert all(torch.equal(a, b) for a, b in zip(whole, second, strict=True))


def test_parameters_without_gradient_stay_and_count_their_own_steps() -> None:
    late, early = parameters()[0], parameters()[1]
    before = late.detach().clone()
    optimizer = Adam([late, early], lr=1e-2, weight_decay=0.5)
    early.grad = torch.ones_like(early)
    optimizer.step()
    assert torch.equal(late, before) and late not in optimizer.state
    late.grad = torch.ones_like(late)
    optimizer.step()
    assert optimizer.state[late]["step"] == 1 and optimizer.state[early]["step"] == 2
    torch.testing.assert_close(late.detach(), before * (1 - 0.5e-2) - 1e-2, rtol=1e-5, atol=1e-6)


def test_a_transposed_gradient_is_understood() -> None:
    plain, turned = Parameter(torch.zeros(3, 4)), Parameter(torch.zeros(3, 4))
    grad = torch.arange(12.0).reshape(4, 3).t()
    plain.grad, turned.grad = grad.contiguous(), grad
    for param in (plain, turned):
        Adam([param], lr=1e-2).step()
    assert torch.equal(plain, turned)


def test_half_precision_parameters_are_refused() -> None:
    param = Parameter(torch.zeros(2, dtype=torch.bfloat16))
    param.grad = torch.ones_like(param)
    with pytest.raises(TypeError, match="autocast"):
        Adam([param]).step()


def test_a_closure_returns_its_loss() -> None:
    param = Parameter(torch.ones(2))

    def closure() -> float:
        loss = param.square().sum()
        loss.backward()
        return loss.item()

    assert Adam([param]).step(closure) == 2.0


class Model(Module):
    """A matrix, a bias, a frozen parameter, a class token and a learned ALiBi scale."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = Linear(3, 2)
        self.fixed = Parameter(torch.zeros(4), requires_grad=False)
        self.cls_token = Parameter(torch.zeros(1, 1, 3))
        self.alibi_scale = Parameter(torch.ones(1, 1, 2, 1, 1))


def decays(model: Module, **options: object) -> dict[str, float]:
    names = {id(param): name for name, param in model.named_parameters()}
    groups = parameter_groups(model.named_parameters(), 1e-3, 0.05, **options)
    return {names[id(param)]: group["weight_decay"] for group in groups for param in group["params"]}


def test_released_groups_decay_everything_that_is_trained() -> None:
    assert decays(Model()) == dict.fromkeys(["proj.weight", "proj.bias", "cls_token", "alibi_scale"], 0.05)


def test_groups_may_spare_vectors_and_named_parameters() -> None:
    spared = decays(Model(), decay_1d=False, undecayed=("cls_token",))
    assert spared == {"proj.weight": 0.05, "proj.bias": 0.0, "cls_token": 0.0, "alibi_scale": 0.0}


def test_groups_get_the_scheduled_rate_times_their_factor() -> None:
    model = Model()
    groups = parameter_groups(model.named_parameters(), 1e-3, 0.05, {"proj.weight": 0.5, "proj.bias": 1e-4})
    optimizer = Adam(groups)
    schedule = LearningRate("cosine", 1e-3, 100, 10, floor=1e-5)
    assert set_learning_rate(optimizer, schedule, 10) == 1e-3
    rates = {group["lr_scale"]: group["lr"] for group in optimizer.param_groups}
    assert rates == {1.0: 1e-3, 0.5: 5e-4, 1e-4: pytest.approx(1e-7)}
    set_learning_rate(optimizer, schedule, 99)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-5, rel=0.1)
