"""A card that torch cannot use stops a run; without cards, or told so, it computes on the processor."""

from pathlib import Path

import pytest
import torch

from data2vec.errors import UserError
from data2vec.sections import TrainConfig
from data2vec.training import device as module
from data2vec.training.device import choose_device


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with one card and its driver, whatever torch says."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H100 (UUID: GPU-1234)'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("card")
@pytest.mark.parametrize(("build", "words"), [(None, "is built without CUDA"), ("13.0", "is built for CUDA 13.0")])
def test_an_unusable_card_stops_a_run(build: str | None, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", build)
    with pytest.raises(UserError, match=words) as error:
        choose_device(TrainConfig())
    assert "1 GPU(s) are here" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.usefixtures("card")
def test_the_processor_can_be_asked_for() -> None:
    assert choose_device(TrainConfig(device="cpu")).torch.type == "cpu"


@pytest.mark.usefixtures("card")
def test_hidden_cards_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert choose_device(TrainConfig()).torch.type == "cpu"


def test_a_number_without_a_driver_is_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "has_gpu_driver", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert choose_device(TrainConfig()).torch.type == "cpu"
