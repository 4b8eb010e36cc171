"""The task files of speech: every one fits a run of every method, and holds what the papers state."""

from pathlib import Path

import pytest

from data2vec import config as schema
from data2vec.compose import CONFIG_DIR, amend, compose
from data2vec.config import RunConfig

TASKS = (
    *(f"librispeech-{amount}" for amount in ("10min", "1h", "10h", "100h", "960h")),
    *("an4", "yesno", "espeak-words", "audiofolder-ctc"),
    *("fsdd", "fsdd-speaker", "an4-speaker", "esc10", "esc50", "speechcommands", "audioset", "espeak-class"),
)
METHODS = ("data2vec", "data2vec2")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Configurations of base models."""
    folder = tmp_path_factory.mktemp("runs")
    for method in METHODS:
        config = compose({"modality": "speech", "method": method, "data": "librispeech"})
        (folder / f"{method}.yaml").write_text(schema.dump(config))
    return {method: folder / f"{method}.yaml" for method in METHODS}


def test_every_speech_task_is_tested() -> None:
    speech = {p.stem for p in (CONFIG_DIR / "task").glob("*.yaml") if "shared/ctc" in p.read_text()}
    assert speech == set(TASKS)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("task", TASKS)
def test_a_task_fits_both_methods(task: str, method: str, runs: dict[str, Path]) -> None:
    config = amend(runs[method], {"task": task})
    assert config.task.name == task and config.task.kind in ("ctc", "recordings")
    assert config.speech.feature_grad_mult == 0 and config.finetune.eps == 1e-8
    assert config.finetune.weight_decay == 0 and config.finetune.activation_dropout == 0.1


def recipe(config: RunConfig) -> tuple[int, float, float, int, float, float, int, float]:
    ft = config.finetune
    masks = (ft.mask_ratio, ft.mask_length, ft.channel_ratio)
    return ft.updates, ft.lr, *masks, ft.layer_drop, ft.freeze_updates, ft.batch_seconds


@pytest.mark.parametrize(
    ("amount", "method", "expected"),
    [
        ("10min", "data2vec", (13_000, 5e-5, 0.65, 10, 0.25, 0.1, 10_000, 1600)),
        ("10h", "data2vec", (20_000, 5e-5, 0.65, 10, 0.5, 0.05, 10_000, 1600)),
        ("960h", "data2vec", (320_000, 1e-4, 0.5, 10, 0.1, 0.1, 0, 1600)),
        ("10min", "data2vec2", (10_000, 2e-6, 0.4, 3, 0.25, 0.1, 100, 1000)),
        ("100h", "data2vec2", (100_000, 1e-5, 0.4, 7, 0.1, 0.0, 100, 640)),
        ("960h", "data2vec2", (200_000, 2e-5, 0.3, 5, 0.1, 0.0, 100, 1280)),
    ],
)
def test_librispeech_is_fine_tuned_as_published(
    amount: str, method: str, expected: tuple[float, ...], runs: dict[str, Path]
) -> None:
    config = amend(runs[method], {"task": f"librispeech-{amount}"})
    assert recipe(config) == expected
    assert config.task.letters == "librispeech" and config.task.valid == "dev-other"
    zeros = method == "data2vec2" and amount == "10min"
    assert (config.speech.hidden_std == 0) == zeros and config.model.alibi_scale_learned == (not zeros)


def test_what_differs_by_method_counts_as_a_file_of_the_task() -> None:
    from data2vec.planning import Plan

    class Fixed(Plan):
        def task(self, scale: str, modality: str, name: str) -> tuple[str, dict[str, object]]:
            return name, {}

    files = Fixed(CONFIG_DIR.parent).task_files("paper", "speech", "librispeech-1h")
    names = {str(file.relative_to(CONFIG_DIR / "task")) for file in files}
    assert names == {"librispeech-1h.yaml", "data2vec2/librispeech-1h.yaml", "shared/ctc.yaml"}
    assert all(file.is_file() for file in files)
