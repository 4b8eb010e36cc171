"""Runner for the optimiser: Adam alone, and groups with their own rate and weight decay."""

import torch
from torch import Tensor
from torch.nn import Parameter

from data2vec.training.optim import Adam, parameter_groups, set_learning_rate
from data2vec.training.schedules import LearningRate

from ..compare import Case


def _parameters(case: Case) -> dict[str, Parameter]:
    return {name: Parameter(value.clone()) for name, value in case.group("in/param/").items()}


def _step(optimizer: Adam, params: dict[str, Parameter], grads: dict[str, Tensor]) -> None:
    for name, param in params.items():
        param.grad = grads[name].clone()
    optimizer.step()


def run(case: Case) -> None:
    """Five steps of Adam, then of the composite optimiser with a schedule and per-parameter factors."""
    config = case.config
    settings = {"betas": tuple(config["betas"]), "eps": float(config["eps"])}
    params = _parameters(case)
    adam = Adam(list(params.values()), weight_decay=config["weight_decay"], **settings)
    for step, lr in enumerate(config["lrs"]):
        adam.param_groups[0]["lr"] = lr
        _step(adam, params, case.group(f"in/grad{step}/"))
        case.check_group(f"out/adam/step{step + 1}/", params)

    params = _parameters(case)
    scales = {name: given["lr_scale"] for name, given in config["overrides"].items() if "lr_scale" in given}
    # As released, a weight-decay factor of 0 has no effect: every parameter is decayed.
    groups = parameter_groups(params.items(), config["lr"], config["weight_decay"], scales, decay_1d=True)
    composite = Adam(groups, **settings)
    schedule = LearningRate("cosine", config["lr"], config["max_update"], config["warmup"])
    for step in range(config["steps"]):
        set_learning_rate(composite, schedule, step)
        _step(composite, params, case.group(f"in/grad{step}/"))
        case.check_group(f"out/composite/step{step + 1}/", params)
    found = {}
    for group in composite.param_groups:
        for name, param in params.items():
            if any(param is member for member in group["params"]):
                found[name] = torch.tensor([group["lr"], group["weight_decay"]])
    case.check_group("out/composite/group/", found)


KINDS = {"optimizer": run}
