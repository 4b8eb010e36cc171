"""A checkpoint of the original code, from its file to a score: import, fine-tuning, probe."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from data2vec import config as schema
from data2vec.cli import main

IMAGES = Path(__file__).parents[1] / "golden" / "cases" / "ckpt_v2_image_omegaconf" / "checkpoint.pt"
SHORT = ["finetune.updates=3", "finetune.warmup_updates=1", "finetune.batch_size=8", "finetune.train_limit=40"]
HERE = ["train.workers=0", "train.threads=1", "train.precision=fp32", "train.log_every=1"]
WORDS = "a mat cat sat the old dog ran".split()


def value_of(file: Path, metric: str) -> float:
    return float(next(row["value"] for row in json.loads(file.read_text())["rows"] if row["metric"] == metric))


def test_images_go_from_the_authors_file_to_scores(digits: Path, tmp_path: Path) -> None:
    run, tuned = tmp_path / "run", tmp_path / "tuned"
    assert main(["import", f"file={IMAGES}", f"run_dir={run}", "licence=CC-BY-NC-4.0"]) == 0
    assert json.loads((run / "provenance.json").read_text())["licence"] == "CC-BY-NC-4.0"
    words = [*HERE, f"data_dir={digits}", "data.name=digits"]
    names = ["scale=paper", "experiment=released_vision", "variant=v2-vision-base", "budget=1"]
    stage = [f"init_run={run}", f"run_dir={tuned}", "task=classification", "init=pretrained"]
    assert main(["finetune", *stage, *SHORT, *words, *names, "finetune.lr=1.0e-12"]) == 0
    assert 0 <= value_of(tuned / "metrics.json", "finetune_top1") <= 100
    assert schema.load(tuned / "config.yaml").variant == "v2-vision-base"
    name = "encoder.trunk.blocks.0.mlp.fc1.weight"
    weights = [load_file(folder / "checkpoint" / "model.safetensors")[name] for folder in (run, tuned)]
    assert weights[0].allclose(weights[1], atol=1e-7)  # at no learning rate, what was imported is what was evaluated
    assert main(["evaluate", f"run_dir={run}", f"out={tmp_path / 'probe.json'}", *words, "probe.train_limit=200"]) == 0
    assert value_of(tmp_path / "probe.json", "linear_top1") > 20  # ten classes; weights of a test case


def write_tokenizer(folder: Path, rows: int) -> None:
    """Files of a byte-pair tokenizer without merges, whose order of ids has so many rows."""
    letters = ["Ġ", *"abcdefghijklmnopqrstuvwxyz"]
    (folder / "encoder.json").write_text(json.dumps({letter: i for i, letter in enumerate(letters)}))
    (folder / "vocab.bpe").write_text("#version: 0.2\nt h\n")
    (folder / "dict.txt").write_text("".join(f"{i} 1\n" for i in range(rows)))


@pytest.fixture
def sentences(tmp_path: Path) -> list[str]:
    """Words that name a prepared set of sentences, without any text that a model was pre-trained on."""
    own = tmp_path / "own"
    own.mkdir()
    for split, count in (("train", 24), ("valid", 8), ("test", 8)):
        lines = [f"{WORDS[i % 8]} {WORDS[i % 5]}\t{'odd' if i % 2 else 'even'}" for i in range(count)]
        (own / f"{split}.tsv").write_text("\n".join(["text\tlabel", *lines, ""]))
    assert main(["prepare", "data=sentences", f"data.path={own}", f"data_dir={tmp_path}"]) == 0
    return [f"data_dir={tmp_path}", *HERE]


def test_text_is_cut_by_the_tokenizer_beside_the_file(
    made: Any, sentences: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = made("v1_text_base")[0]
    size = 65
    stage = ["task=sentences", "finetune.dropout=0.0", *SHORT, *sentences]

    assert main(["import", f"file={path}", f"run_dir={tmp_path / 'without'}"]) == 0
    assert main(["finetune", f"init_run={tmp_path / 'without'}", f"run_dir={tmp_path / 'x'}", *stage]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "came without a vocabulary: put encoder.json, vocab.bpe and dict.txt" in said

    write_tokenizer(path.parent, size - 5)  # special tokens and <mask>
    run, tuned = tmp_path / "run", tmp_path / "tuned"
    assert main(["import", f"file={path}", f"run_dir={run}"]) == 0
    assert main(["finetune", f"init_run={run}", f"run_dir={tuned}", *stage]) == 0
    assert 0 <= value_of(tuned / "metrics.json", "accuracy") <= 100
    out = tmp_path / "probe.json"
    assert main(["evaluate", f"run_dir={run}", f"out={out}", "probe.data=sentences", *sentences]) == 0
    assert 0 <= value_of(out, "linear_top1") <= 100

    write_tokenizer(path.parent, size - 6)  # another model's
    assert main(["import", f"file={path}", f"run_dir={tmp_path / 'other'}"]) == 0
    assert not (tmp_path / "other" / "vocab.bpe").exists()
    report = json.loads((tmp_path / "other" / "import.json").read_text())
    assert any(f"has {size - 1} ids, the model {size}" in line for line in report["differences"])
