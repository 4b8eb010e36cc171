"""The speed benchmark runs every case of its table; no time is tested."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from data2vec.training import benchmark as module

PATH = Path(__file__).parents[2] / "benchmarks" / "train_step.py"


@pytest.fixture(scope="module")
def table() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_step", PATH)
    assert spec and spec.loader
    loaded = importlib.util.module_from_spec(spec)
    sys.modules["train_step"] = loaded
    spec.loader.exec_module(loaded)
    return loaded


PARAMETERS = {  # trainable parameters of the original in the same configuration, in millions
    "v2_image": 2.84,
    "v2_audio": 7.30,
    "v2_text": 6.50,
    "v1_image": 2.72,
    "v1_audio": 7.23,
    "v1_text": 4.84,
    "v2_audio_conv192": 3.62,
    "v1_audio_conv192": 3.56,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_cases_have_the_size_that_was_timed(name: str, table: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WARMUP", 0)
    monkeypatch.setattr(module, "TIMED", 1)
    values = table.CASES[name][0]
    speech = values.get("speech")
    if speech:
        values = values | {"speech": speech | {"batch_seconds": 2.0, "max_seconds": 2.0}}
    train = values["train"] | {"batch_size": 2}
    config = table.configure(values | {"train": train}, "fp32")
    result = module.benchmark(config.model_copy(update={"train": config.train.model_copy(update={"threads": 1})}))
    assert result["parameters"] / 1e6 == pytest.approx(PARAMETERS[name], abs=0.006)
    assert result["median_ms"] > 0 and result["views_per_second"] > 0
