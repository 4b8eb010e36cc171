"""The rivals on speech, with the settings of the embedded scale: the loss falls, the features beat random weights."""

import json
from pathlib import Path

import numpy as np
import pytest

from data2vec.cli import main
from data2vec.planning import Plan, override_text

PLAN = Plan(Path(__file__).parents[2] / "config")


def probed(words: list[str], out: Path) -> float:
    """Accuracy on the held-out fifth of the training samples: they are more than the test samples."""
    assert main(["evaluate", *words, f"out={out}"]) == 0
    rows = json.loads(out.read_text())["rows"]
    return float(next(row["value"] for row in rows if row["metric"] == "linear_top1_valid"))


@pytest.mark.slow
@pytest.mark.parametrize(("method", "loss"), [("wav2vec2", 0.97), ("hubert", 0.9)])
def test_loss_falls_and_features_beat_random_weights(method: str, loss: float, tmp_path: Path) -> None:
    """Measured on held-out commands: 67 (wav2vec 2.0) and 55 % (HuBERT), random weights 24 %."""
    assert main(["prepare", "data=espeak", f"data_dir={tmp_path / 'data'}"]) == 0
    run = tmp_path / "run"
    overrides = PLAN.pretrain_overrides(PLAN.run("embedded", "speech", method)) | {"train.snapshots": 0}
    words = [override_text(key, value) for key, value in overrides.items()]
    assert main(["pretrain", *words, "seed=0", f"data_dir={tmp_path / 'data'}", f"run_dir={run}"]) == 0
    losses = [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < loss * np.mean(losses[:2])
    probe = [f"run_dir={run}"]
    random = probed([*probe, "probe.features=random"], tmp_path / "random.json")
    assert probed(probe, tmp_path / "probe.json") > random + 10
