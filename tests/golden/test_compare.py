"""The comparison itself fails when it should."""

from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file

from .compare import Case


@pytest.fixture
def case(tmp_path: Path) -> Case:
    tolerance = {"atol": 1e-5, "rtol": 1e-5, "atol_by_prefix": {"grad": 1e-3}}
    tolerance["noise_only"] = {"bounds": {"out/zero": 1e-4}}
    (tmp_path / "case.yaml").write_text(yaml.safe_dump({"kind": "any", "tolerance": tolerance}))
    tensors = {
        "in/x": torch.ones(2),
        "out/y": torch.tensor([100.0, -torch.inf]),
        "out/zero": torch.tensor([3e-5]),
        "grad/w": torch.zeros(2),
    }
    save_file(tensors, tmp_path / "tensors.safetensors")
    return Case(tmp_path)


def fill(case: Case, **values: torch.Tensor) -> Case:
    good = {
        "y": torch.tensor([100.0009, -torch.inf]),
        "zero": torch.tensor([-9e-5]),
        "w": torch.full((2,), 9e-4),
    }
    for name, value in (good | values).items():
        case.check(("grad/" if name == "w" else "out/") + name, value)
    return case


def test_values_within_each_kind_of_tolerance_pass(case: Case) -> None:
    fill(case).finish()
    assert case.worst.share == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("y", torch.tensor([100.0012, -torch.inf])),
        ("y", torch.tensor([100.0, torch.inf])),
        ("y", torch.tensor([100.0, -1e30])),
        ("y", torch.tensor([torch.nan, -torch.inf])),
        ("y", torch.tensor([100.0])),
        ("zero", torch.tensor([2e-4])),
        ("w", torch.tensor([0.0, 2e-3])),
    ],
)
def test_values_out_of_tolerance_fail(case: Case, name: str, value: torch.Tensor) -> None:
    with pytest.raises(AssertionError, match=f"1 of 3 compared.*\n.*{name}"):
        fill(case, **{name: value}).finish()


def test_what_is_expected_must_be_compared(case: Case) -> None:
    case.check("out/y", case.tensors["out/y"])
    with pytest.raises(AssertionError, match="2 stored tensors were not compared: grad/w, out/zero"):
        case.finish()
    case.check_group("out/", {"y": case.tensors["out/y"]})
    case.ignore("grad/", "not part of this test")
    with pytest.raises(AssertionError, match=r"out/zero.*not computed"):
        case.finish()
