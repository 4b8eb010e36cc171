"""Encoders kept along a run: which, with what weights, and that a stopped run keeps the same ones."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from data2vec.cli import main
from data2vec.training.snapshots import find_snapshots, snapshot_updates


@pytest.mark.parametrize(
    ("total", "number", "updates"),
    [(100, 0, []), (100, 1, [0]), (100, 4, [0, 25, 50, 75]), (7, 3, [0, 2, 4]), (2, 5, [0, 1])],
)
def test_snapshots_are_spread_evenly_from_the_first_weights_on(total: int, number: int, updates: list[int]) -> None:
    assert sorted(snapshot_updates(total, number)) == updates


def run(folder: Path, options: dict[str, str]) -> int:
    words = [f"{k}={v}" for k, v in (options | {"train.snapshots": "3"}).items()]
    return main(["pretrain", *words, f"run_dir={folder}"])


def test_a_stopped_run_keeps_the_same_encoders(
    tiny: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from data2vec.methods.data2vec2 import Data2Vec2

    options = tiny | {"method": "data2vec2"}
    assert run(tmp_path / "whole", options) == 0
    update_teacher = Data2Vec2.update_teacher

    def stop_after(self: Data2Vec2, decay: float) -> None:
        update_teacher(self, decay)
        os.kill(os.getpid(), signal.SIGUSR1)

    monkeypatch.setattr(Data2Vec2, "update_teacher", stop_after)
    assert [run(tmp_path / "parts", options) for _ in range(6)] == [143] * 5 + [0]
    whole, parts = find_snapshots(tmp_path / "whole"), find_snapshots(tmp_path / "parts")
    assert [s.updates for s in whole] == [s.updates for s in parts] == [0, 2, 4]
    assert [s.samples for s in parts] == [0, 16, 32]
    for one, other in zip(whole, parts, strict=True):
        first, second = load_file(one.path), load_file(other.path)
        assert first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)
    names = load_file(tmp_path / "whole" / "checkpoint" / "model.safetensors").keys()
    assert set(first) == {name for name in names if name.startswith("encoder.")}  # the student's, not the teacher's


def test_another_configuration_leaves_no_encoder_of_the_one_before(tiny: dict[str, str], tmp_path: Path) -> None:
    assert run(tmp_path / "run", tiny) == 0
    assert run(tmp_path / "run", tiny | {"train.updates": "3"}) == 0
    assert [s.updates for s in find_snapshots(tmp_path / "run")] == [0, 1, 2]


def test_the_probe_scores_every_kept_encoder_with_what_was_spent_on_it(tiny: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert run(folder, tiny) == 0
    out = folder / "probe" / "metrics.json"
    words = [f"run_dir={folder}", f"out={out}", "probe.regularisation=[0.1]"]
    assert main(["evaluate", *words]) == 0
    rows = {row["metric"]: row for row in json.loads(out.read_text())["rows"]}
    assert [name for name in rows if "@" in name] == ["linear_top1@0", "linear_top1@2", "linear_top1@4"]
    assert [rows[f"linear_top1@{n}"]["samples"] for n in (0, 2, 4)] == [0, 16, 32]
    spent = [rows[f"linear_top1@{n}"]["pretrain_seconds"] for n in (0, 2, 4)]
    assert spent == sorted(spent) and spent[0] < spent[2]
    assert "updates" not in rows["linear_top1"] and 0 < rows["linear_top1_valid"]["value"] <= 100
    out.unlink()
    assert main(["evaluate", *words, "probe.features=random"]) == 0
    assert not any("@" in row["metric"] for row in json.loads(out.read_text())["rows"])


def test_flops_of_an_update_are_counted_in_two_ways(tiny: dict[str, str], tmp_path: Path) -> None:
    assert run(tmp_path / "run", tiny) == 0
    rows = {row["metric"]: row["value"] for row in json.loads((tmp_path / "run" / "metrics.json").read_text())["rows"]}
    assert rows["counted_flops"] == pytest.approx(rows["update_flops"], rel=0.3) and rows["cpu_seconds"] > 0
