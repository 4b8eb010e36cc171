"""What the pre-training cases of all methods share: weights in, three SGD steps, teacher out."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from data2vec.interop.names import Rule, part, rename, translate
from data2vec.methods.build import Method
from data2vec.methods.step import StepOutput


def strip(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def load_weights(method: Method, case, rules: Sequence[Rule], teacher_prefix: str = "") -> None:
    """Student and teacher from the case; every parameter must be set, and every tensor used."""
    parameters = dict(method.named_parameters())
    student = translate(strip(case.tensors, "weights/"), rules, parameters)
    missing = {n for n in parameters if not n.startswith("teacher.")} - set(student)
    assert not missing, f"not in the case: {missing}"
    owned = {teacher_prefix + n: t for n, t in strip(case.tensors, "teacher/").items()}
    teacher = {f"teacher.{n}": t for n, t in translate(owned, rules, parameters).items()}
    teacher = {n: t for n, t in teacher.items() if n in parameters}
    result = method.load_state_dict(student | teacher, strict=False)
    assert not result.unexpected_keys, result.unexpected_keys


def check_gradients(method: Method, case, rules: Sequence[Rule]) -> None:
    gradients = {n: p.grad for n, p in method.named_parameters() if p.grad is not None}
    for name in strip(case.tensors, "grad/"):
        new = rename(name, rules)
        assert new is not None and new.partition("#")[0] in gradients, name
        case.check(f"grad/{name}", part(gradients, new).reshape(case.tensors[f"grad/{name}"].shape))


def check_training(
    method: Method,
    case,
    rules: Sequence[Rule],
    run: Callable[[], StepOutput],
    decays: Sequence[float],
    teacher_prefix: str = "",
) -> None:
    """Three steps of plain SGD on (summed loss / sample size), each followed by the teacher's update."""
    parameters = dict(method.named_parameters())
    trained = [p for n, p in parameters.items() if not n.startswith("teacher.")]
    mean_loss = case.config.get("ema_decay") is not None  # the BEiT flavour's loss is a mean already
    for step, decay in enumerate(decays, start=1):
        method.zero_grad()
        output = run()
        loss = output.loss / output.sample_size
        case.check(f"train/loss_before_step{step}", loss if mean_loss else output.loss)
        loss.backward()
        with torch.no_grad():
            for p in trained:
                if p.grad is not None:
                    p -= case.config["sgd_lr"] * p.grad
        case.check(f"ema/decay_step{step}", torch.tensor(decay))
        method.update_teacher(decay)
        for name in strip(case.tensors, f"train/student_step{step}/"):
            key = f"train/student_step{step}/{name}"
            new = rename(name, rules)
            assert new is not None
            case.check(key, part(parameters, new).reshape(case.tensors[key].shape))
        for name in strip(case.tensors, f"ema/step{step}/"):
            key = f"ema/step{step}/{name}"
            new = rename(teacher_prefix + name, rules)
            if new is not None:
                case.check(key, part(parameters, f"teacher.{new}").reshape(case.tensors[key].shape))


def linear_decay(start: float, end: float, anneal: int, steps: Sequence[int]) -> list[float]:
    from data2vec.training.schedules import ema_decay

    return [ema_decay(n, start, end, anneal) for n in steps]
