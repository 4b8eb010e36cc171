"""Two processes train as one does: same losses, same weights, the same after a stop; and they never hang."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from data2vec.cli import main
from data2vec.data.prepare import prepare
from data2vec.errors import UserError
from data2vec.sections import DataConfig
from data2vec.training.batch_split import rows_per_pass
from data2vec.training.distributed import Processes

COMMON = {
    "model": "tiny",
    "model.dim": "16",
    "model.depth": "2",
    "model.dropout": "0.1",
    "target.top_k": "2",
    "decoder.dim": "16",
    "train.updates": "5",
    "train.workers": "0",
    "train.threads": "1",
    "train.precision": "fp32",
    "train.log_every": "2",
    "optim.warmup_updates": "1",
    "teacher.anneal_updates": "4",
}
IMAGES = {
    "data": "digits",
    "vision.patch_size": "4",
    "mask.length": "1",
    "mask.ratio": "0.5",
    "mask.min_block": "1",
    "train.batch_size": "12",
    "train.micro_batch": "4",  # three for two processes
}
SPEECH = {
    "modality": "speech",
    "data": "audiofolder",
    "speech.conv_layers": "[[16,10,5],[16,8,8],[16,8,8]]",
    "speech.pos_conv_groups": "4",
    "speech.min_seconds": "0.3",
    "speech.max_seconds": "1.0",
    "speech.batch_seconds": "4.0",
    "speech.micro_seconds": "2.0",
    "decoder.groups": "4",
    "quantiser.entries": "8",
    "hubert.clusters": "8",
}
TEXT = {
    "modality": "text",
    "data": "textfolder",
    "data.vocab_size": "60",
    "text.tokens_per_sample": "24",
    "mask.ratio": "0.4",
    "train.batch_size": "8",
    "train.micro_batch": "4",
}
RUNS: dict[str, dict[str, str]] = {
    "images 1.0": IMAGES | {"method": "data2vec", "model.layer_drop": "0.5"},
    "images 2.0": IMAGES | {"method": "data2vec2"},
    # a bias of keys, or one before a batch norm, has no gradient but rounding, which Adam would make large
    "images mae": IMAGES | {"method": "mae", "optim.eps": "1e-3", "decoder.layers": "1", "decoder.heads": "2"},
    "images byol": IMAGES | {"method": "byol", "optim.eps": "1e-3", "views.hidden_dim": "16", "views.output_dim": "8"},
    "images dino": IMAGES | {"method": "dino", "views.local_patches": "1", "views.prototypes": "32"},
    "speech 1.0": SPEECH | {"method": "data2vec"},
    "speech 2.0": SPEECH | {"method": "data2vec2"},
    "speech wav2vec2": SPEECH | {"method": "wav2vec2"},
    "speech hubert": SPEECH | {"method": "hubert"},
    "text 1.0": TEXT | {"method": "data2vec"},
    "text 2.0": TEXT | {"method": "data2vec2"},
    "text masked_lm": TEXT | {"method": "masked_lm"},
}
# what each fine-tuning starts from, and its task
FINETUNINGS: dict[str, tuple[str, list[str]]] = {
    "classes of images": ("images 2.0", ["finetune.batch_size=8", "finetune.train_limit=40"]),
    "letters of speech": (
        "speech 1.0",
        ["task=audiofolder-ctc", "finetune.batch_seconds=4", "finetune.micro_seconds=2", "finetune.eval_every=2"],
    ),
    "classes of sentences": ("text 2.0", ["task=sentences", "finetune.batch_size=8"]),
}
STOPPED, LOST = "stopped", "lost"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits, twelve noises and some sentences, prepared."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    prepare(DataConfig(name="digits"), root)
    (root / "noises").mkdir()
    for i in range(12):
        soundfile.write(root / "noises" / f"{i}.wav", rng.normal(0, 0.1, int(rng.integers(5_000, 15_000))), 16_000)
        (root / "noises" / f"{i}.txt").write_text("HI" if i % 2 else "NO")
    prepare(DataConfig(name="audiofolder", path=str(root / "noises")), root)
    few = "the cat sat on a mat while some old dog ran after it over hills and far away".split()
    for split in ("train", "valid"):
        (root / "texts" / split).mkdir(parents=True)
        lines = [" ".join(rng.choice(few, rng.integers(3, 9))).capitalize() + "." for _ in range(200)]
        (root / "texts" / split / "story.txt").write_text("\n\n".join(lines))
    prepare(DataConfig(name="textfolder", path=str(root / "texts"), vocab_size=60), root)
    (root / "labelled").mkdir()
    for split in ("train", "valid"):
        rows = "".join(f"{' '.join(rng.choice(few, 4))}\t{'odd' if i % 2 else 'even'}\n" for i in range(40))
        (root / "labelled" / f"{split}.tsv").write_text(f"text\tlabel\n{rows}")
    prepare(DataConfig(name="sentences", path=str(root / "labelled")), root)
    return root


def pretraining(data: Path, run_dir: Path, options: dict[str, str]) -> list[str]:
    settings = COMMON | {"data_dir": str(data)} | options
    return ["pretrain", *(f"{key}={value}" for key, value in settings.items()), f"run_dir={run_dir}"]


def finetuning(data: Path, root: Path, name: str, run_dir: Path) -> list[str]:
    start, options = FINETUNINGS[name]
    length = ["finetune.updates=4", "finetune.warmup_updates=1", "train.precision=fp32"]
    return ["finetune", f"init_run={root / start}", f"run_dir={run_dir}", f"data_dir={data}", *options, *length]


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


@pytest.fixture(scope="module")
def pair(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[dict[str, Any]]]]:
    """Folder with the runs of two processes, one pair for all of them, and what each process said by case."""
    root = tmp_path_factory.mktemp("pair")
    cases: list[tuple[str, list[str], dict[str, str]]] = [
        (name, pretraining(data, root / name, options), {}) for name, options in RUNS.items()
    ]
    images = RUNS["images 2.0"]
    cases += [(name, finetuning(data, root, name, root / name), {}) for name in FINETUNINGS]
    stopped = pretraining(data, root / STOPPED, images)
    cases += [(STOPPED, stopped, {"1": "SIGUSR1"}), ("resumed", stopped, {})]
    lost = pretraining(data, root / LOST, images | {"train.timeout_seconds": "20"})
    cases.append((LOST, lost, {"1": "death"}))
    file = root / "cases.json"
    file.write_text(json.dumps([{"port": free_port(), "words": w, "events": e} for _, w, e in cases]))
    words = [sys.executable, str(Path(__file__).with_name("pair.py"))]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src"), "OMP_NUM_THREADS": "1"}
    both = [subprocess.Popen([*words, rank, str(file)], env=environment) for rank in "01"]
    for process in both:
        process.wait(timeout=200)
    found: dict[str, list[dict[str, Any]]] = {}
    for rank in "01":
        results = json.loads(file.with_suffix(f".{rank}").read_text())
        for (name, *_), result in zip(cases, results, strict=False):
            found.setdefault(name, []).append(result)
    return root, found


def log_of(run_dir: Path) -> list[dict[str, float]]:
    drop = ("seconds", "examples_per_second")
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in drop} for line in lines]


def assert_same(one: Path, two: Path) -> None:
    first, second = (load_file(run / "checkpoint" / "model.safetensors") for run in (one, two))
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, rtol=1e-4, atol=1e-5)
    for line, other in zip(log_of(one), log_of(two), strict=True):
        assert other == pytest.approx(line, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_train_as_one(name: str, data: Path, pair: Any, tmp_path: Path) -> None:
    root, found = pair
    assert [result["code"] for result in found[name]] == [0, 0], found[name]
    assert main(pretraining(data, tmp_path / "one", RUNS[name])) == 0
    assert_same(tmp_path / "one", root / name)
    assert json.loads((root / name / "provenance.json").read_text())["processes"] == 2


@pytest.mark.parametrize("name", FINETUNINGS)
def test_two_processes_fine_tune_as_one(name: str, data: Path, pair: Any, tmp_path: Path) -> None:
    root, found = pair
    assert [result["code"] for result in found[name]] == [0, 0], found[name]
    assert main(finetuning(data, root, name, tmp_path / "one")) == 0
    assert_same(tmp_path / "one", root / name)


def test_all_leave_when_one_is_asked_to_and_go_on_with_the_same_bits(pair: Any) -> None:
    root, found = pair
    assert [result["code"] for result in found[STOPPED]] == [143, 143], found[STOPPED]
    assert [result["code"] for result in found["resumed"]] == [0, 0], found["resumed"]
    first, second = (load_file(root / run / "checkpoint" / "model.safetensors") for run in ("images 2.0", STOPPED))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert log_of(root / "images 2.0") == log_of(root / STOPPED)


def test_a_process_that_dies_is_named_with_its_stage(pair: Any) -> None:
    _, found = pair
    (survivor,) = found[LOST]  # the other wrote nothing more
    assert survivor["code"] == 2
    assert "process 0 of 2, at the start of update 4: no answer" in survivor["said"], survivor["said"]
    assert "process 1 was last seen at the gradients of update 3: it has died" in survivor["said"]


def test_every_micro_batch_belongs_to_one_process() -> None:
    for count, passes in ((1, 3), (2, 3), (3, 3), (4, 9)):
        for update in range(4):
            numbers = range(update * passes, (update + 1) * passes)
            shares = [list(Processes(rank, count).own(numbers)) for rank in range(count)]
            assert sorted(n for share in shares for n in share) == list(numbers)
            assert max(map(len, shares)) - min(map(len, shares)) <= 1 and min(map(len, shares)) > 0
    whole = [n for u in range(4) for n in Processes(1, 2).own(range(u * 3, u * 3 + 3))]
    assert whole == list(Processes(1, 2).own(range(12)))  # what the loader draws ahead


@pytest.mark.parametrize(
    ("batch", "most", "count", "step", "rows"),
    [
        (2048, None, 1, 1, None),
        (2048, 128, 1, 1, 128),
        (2048, None, 8, 1, 256),
        (2048, 128, 8, 1, 128),
        (2048, 128, 64, 1, 32),
        (256, None, 6, 1, 32),
        (100, None, 8, 1, 10),
        (12, None, 4, 2, 2),
    ],
)
def test_the_batch_stays_and_forward_passes_shrink(
    batch: int, most: int | None, count: int, step: int, rows: int | None
) -> None:
    assert rows_per_pass(batch, most, count, "train.batch_size", step) == rows


def test_more_processes_than_samples_are_refused() -> None:
    with pytest.raises(UserError, match=r"8 processes are too many for train.batch_size = 4"):
        rows_per_pass(4, None, 8, "train.batch_size")
