"""Adam exactly as the original uses it, and the parameter groups it works on.

Source: fairseq's adam and composite optimisers (data2vec 1.0 and 2.0), BEiT's and MAE's weight-decay
exemptions.
"""

import inspect
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, overload

import torch
from torch import Tensor

from data2vec.training.schedules import LearningRate


class Adam(torch.optim.Optimizer):
    """Adam with decoupled weight decay and epsilon outside the bias correction.

    p <- p - lr * weight_decay * p - lr * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + eps). torch's AdamW
    adds eps to the corrected sqrt(v) instead, which is the same rule with eps / sqrt(1 - b2^t): its fused
    kernel is used in that way.
    """

    # Without torch's decorator, whose first call imports the front end of torch.compile: a second of every job.
    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        """Hyper-parameters as defaults of the groups in `params`."""
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Move every parameter that has a gradient; returns what `closure` returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            batches: dict[tuple[Any, ...], list[Tensor]] = defaultdict(list)
            for param in group["params"]:
                if param.grad is not None:
                    step = self._advance(param)
                    batches[step, param.device, param.dtype].append(param)
            for (step, device, _), params in batches.items():
                self._update(params, group, step, device)
        return loss

    def _advance(self, param: Tensor) -> int:
        """The number of this step for `param`, whose state is made on the first."""
        if param.dtype not in (torch.float32, torch.float64):
            raise TypeError(f"parameters must be float32 or float64, not {param.dtype}: use autocast for low precision")
        state = self.state[param]
        if not state:
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(param, memory_format=torch.preserve_format)
            state["exp_avg_sq"] = torch.zeros_like(param, memory_format=torch.preserve_format)
        state["step"] += 1
        return int(state["step"])

    def _update(self, params: list[Tensor], group: dict[str, Any], step: int, device: torch.device) -> None:
        beta1, beta2 = group["betas"]
        torch._fused_adamw_(
            params,
            [_like(param.grad, param) for param in params],
            [self.state[param]["exp_avg"] for param in params],
            [self.state[param]["exp_avg_sq"] for param in params],
            [],
            [torch.tensor(float(step), device=device)] * len(params),
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=group["weight_decay"],
            eps=group["eps"] / (1 - beta2**step) ** 0.5,
            amsgrad=False,
            maximize=False,
        )


def _like(grad: Tensor | None, param: Tensor) -> Tensor:
    """The gradient in the memory layout of its parameter, which the fused kernel takes for granted."""
    assert grad is not None
    return grad if grad.stride() == param.stride() else torch.empty_like(param).copy_(grad)


def parameter_groups(
    named_parameters: Iterable[tuple[str, Tensor]],
    lr: float,
    weight_decay: float,
    lr_scales: Mapping[str, float] | None = None,
    decay_1d: bool = True,
    undecayed: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Optimiser groups of equal learning-rate factor and weight decay, of what needs a gradient.

    Args:
        named_parameters: as from `Module.named_parameters()`.
        lr: peak learning rate.
        weight_decay: decay of matrices.
        lr_scales: learning-rate factor by parameter name (1 where absent); becomes the group's "lr_scale".
        decay_1d: True decays every parameter, as the released data2vec code does in effect; False spares
            vectors, biases and learned ALiBi scales, as it means to (and as BEiT and MAE do).
        undecayed: names, or last parts of names, to spare too when `decay_1d` is False (BEiT: pos_embed,
            cls_token).
    """
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, param in named_parameters:
        if not param.requires_grad:
            continue
        scale = 1.0 if lr_scales is None else lr_scales.get(name, 1.0)
        spared = not decay_1d and (_is_vector(name, param) or name in undecayed or name.split(".")[-1] in undecayed)
        decay = 0.0 if spared else weight_decay
        group = groups.setdefault(
            (scale, decay), {"params": [], "lr": lr * scale, "lr_scale": scale, "weight_decay": decay}
        )
        group["params"].append(param)
    return list(groups.values())


def _is_vector(name: str, param: Tensor) -> bool:
    return param.ndim <= 1 or name.endswith(".bias") or name.endswith(("alibi_scale", "alibi.scale"))


def set_learning_rate(optimizer: torch.optim.Optimizer, schedule: LearningRate, update: float) -> float:
    """Set every group's rate for the step after `update` updates; returns the rate of factor 1."""
    for group in optimizer.param_groups:
        group["lr"] = schedule.at(update, group.get("lr_scale", 1.0))
    return schedule.at(update)
