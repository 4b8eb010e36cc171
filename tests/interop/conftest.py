"""Checkpoint files as the original implementations write them, made from the weights of golden cases."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

CASES = Path(__file__).parents[1] / "golden" / "cases"
Made = Callable[..., tuple[Path, dict[str, Any], dict[str, torch.Tensor]]]


def group(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def stored_model(config: dict[str, Any]) -> dict[str, Any]:
    """The case's model in the keys of a checkpoint: the modality of 2.0 has a level of its own."""
    model = dict(config["model"])
    if "modality" in model:
        model["modalities"] = {config["modality"]: model.pop("modality")}
    return model


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """`made(case, stored=None, change=None, **more)` writes checkpoint.pt.

    `stored` is the configuration of the model (default: the case's), `change(state)` may change the weights, and
    `more` are further entries of the file. Returns the path, the case's configuration and its tensors.
    """

    def make(
        name: str, stored: Any = "case", change: Callable[[dict[str, Any]], object] | None = None, **more: Any
    ) -> tuple[Path, dict[str, Any], dict[str, torch.Tensor]]:
        config = yaml.safe_load((CASES / name / "case.yaml").read_text())["config"]
        tensors = load_file(CASES / name / "tensors.safetensors")
        state: dict[str, Any] = dict(group(tensors, "weights/"))
        if averaged := group(tensors, "teacher/"):
            state["_ema"] = averaged
        if change is not None:
            change(state)
        model = stored_model(config) if stored == "case" else stored
        content = {"cfg": {"model": model, "task": config.get("task", {})} if model else None, "model": state, **more}
        torch.save(content, tmp_path / "checkpoint.pt")
        return tmp_path / "checkpoint.pt", config, tensors

    return make
