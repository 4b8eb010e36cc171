"""Which weights of a fine-tuning are kept: those that did best on the watched split, of equals the latest."""

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from data2vec.downstream.finetune import Best
from data2vec.downstream.task import Scores, Task
from data2vec.training.run_folder import RunFolder


def unused(*args: Any, **keywords: Any) -> Any:
    """Stands for what a task trains and evaluates with; choosing weights needs none of it."""
    raise AssertionError("only the weights and the scores count")


def task(select: str | None, select_highest: bool = True) -> Task:
    return Task(nn.Linear(1, 1), unused, unused, unused, select=select, select_highest=select_highest)


@pytest.mark.parametrize(
    ("values", "highest", "update"),
    [
        ([2.5, 0.0, 5.0, 0.0, 2.5], False, 4),
        ([2.5, 5.0, 5.0, 0.0, 2.5], True, 3),
        ([1.0, 2.0, 3.0], False, 1),
        ([1.0, 1.0, 1.0], True, 3),
    ],
)
def test_the_best_weights_are_kept_and_of_equal_ones_the_latest(
    values: list[float], highest: bool, update: int, tmp_path: Path
) -> None:
    some = task("score", highest)
    with RunFolder(tmp_path) as folder:
        best = Best(folder, some, "run")
        for number, value in enumerate(values, start=1):
            nn.init.constant_(some.model.weight, number)
            best.consider(number, Scores([{"metric": "score", "value": value, "unit": "%"}]))
        assert best.restore(last=9) == update
    assert some.model.weight.item() == update


def test_without_a_metric_the_last_weights_stay(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        best = Best(folder, task(None), "run")
        best.consider(1, Scores([]))
        assert best.restore(last=9) == 9
