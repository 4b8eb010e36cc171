"""The README's commands work as printed (shortened to a few updates), and its links and paths exist."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data2vec.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def commands(section: str) -> list[list[str]]:
    """Words after `python -m data2vec` of each command in the code block of a section."""
    block = README.split(f"## {section}")[1].split("```")[1]
    joined = block.replace("\\\n", " ")
    lines = [line for line in joined.splitlines() if line.startswith("python -m data2vec")]
    assert lines
    return [shlex.split(line)[3:] for line in lines]


def test_your_own_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for i in range(12):
            pixels = rng.integers(0, 255, (70, 80, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / label / f"{i}.jpg")
    short = {"train.updates": "2", "optim.warmup_updates": "1", "train.batch_size": "4", "train.threads": "1"}
    short |= {"train.precision": "fp32", "model": "tiny", "train.workers": "0"}
    for words in commands("Your own images"):
        words = [w.replace("MY/IMAGES", str(tmp_path / "images")) for w in words]
        words = [w.replace("results/", f"{tmp_path}/results/") for w in words]
        if words[0] == "pretrain":
            words = [w for w in words if w.split("=")[0] not in short] + [f"{k}={v}" for k, v in short.items()]
        assert main(words) == 0, capsys.readouterr().err
    rows = json.loads((tmp_path / "results" / "mine" / "probe" / "metrics.json").read_text())["rows"]
    assert {r["metric"] for r in rows} == {"linear_top1", "linear_top1_valid", "knn_top1"}


@pytest.mark.slow
def test_your_own_recordings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import soundfile

    rng = np.random.default_rng(0)
    (tmp_path / "recordings").mkdir()
    texts = [("YES NO", "NO", "NO YES")[i % 3] for i in range(24)]
    for i, text in enumerate(texts):
        soundfile.write(tmp_path / "recordings" / f"{i}.wav", 0.1 * rng.standard_normal(24_000), 16_000)
        if i % 2:
            (tmp_path / "recordings" / f"{i}.txt").write_text(text)
    (tmp_path / "recordings" / "transcripts.tsv").write_text("".join(f"{i}.wav\t{texts[i]}\n" for i in range(0, 24, 2)))
    short = {"train.updates": "2", "optim.warmup_updates": "1", "finetune.updates": "2"}
    short |= {"train.threads": "1", "train.workers": "0", "train.precision": "fp32"}
    found = commands("Your own recordings")
    assert [words[0] for words in found] == ["prepare", "pretrain", "finetune"]
    for words in found:
        words = [w.replace("MY/RECORDINGS", str(tmp_path / "recordings")) for w in words]
        words = [w.replace("results/", f"{tmp_path}/results/") for w in words]
        if words[0] != "prepare":
            words = [w for w in words if w.split("=")[0] not in short] + [f"{k}={v}" for k, v in short.items()]
        assert main(words) == 0, capsys.readouterr().err
    metrics = tmp_path / "results" / "heard" / "finetune" / "audiofolder-ctc" / "metrics.json"
    assert {"wer", "cer"} <= {row["metric"] for row in json.loads(metrics.read_text())["rows"]}


def test_your_own_texts_and_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "texts" / "train").mkdir(parents=True)
    (tmp_path / "texts" / "train" / "a.txt").write_text("The old cat sat on a mat. A dog ran away.\n\n" * 100)
    (tmp_path / "mine").mkdir()
    for split in ("train", "valid"):
        table = "text\tlabel\n" + "A cat sat.\tgood\nThe dog ran.\tbad\n" * 8
        (tmp_path / "mine" / f"{split}.tsv").write_text(table)
    folders = {"MY/TEXTS": str(tmp_path / "texts"), "MY/SENTENCES": str(tmp_path / "mine")}
    folders |= {"results/": f"{tmp_path}/results/", "=8192": "=40"}
    short = {"train.updates": "2", "train.batch_size": "2", "model.dim": "16", "text.tokens_per_sample": "16"}
    short |= {"train.workers": "0", "train.threads": "1", "train.precision": "fp32", "optim.warmup_updates": "1"}
    short |= {"finetune.updates": "2", "finetune.warmup_updates": "1"}
    found = commands("Your own texts") + commands("GLUE, or your own sentences")
    assert [words[0] for words in found] == ["prepare", "pretrain", "prepare", "finetune", "finetune"]
    for words in found:
        for printed, here in folders.items():
            words = [w.replace(printed, here) for w in words]
        if words[0] == "pretrain":
            words = [w for w in words if w.split("=")[0] not in short] + [f"{k}={v}" for k, v in short.items()]
        if words[0] == "finetune":
            words += [f"{k}={v}" for k, v in short.items() if k.startswith("finetune.")]
        assert main(words) == 0, capsys.readouterr().err
    for folder in ("finetune/sentences", "tfidf"):
        metrics = tmp_path / "results" / "my_text" / folder / "metrics.json"
        assert json.loads(metrics.read_text())["rows"][0]["metric"] == "accuracy"


def test_features_of_your_own_data(tmp_path: Path) -> None:
    """Exactly the lines of the section, in a folder that has what they name."""
    from .interop.runs import VISION, save_run

    save_run(tmp_path / "results" / "mine", VISION)
    (tmp_path / "MY" / "IMAGES" / "cat").mkdir(parents=True)
    Image.new("RGB", (40, 30), (200, 100, 50)).save(tmp_path / "MY" / "IMAGES" / "cat" / "0.jpg")
    (tmp_path / "src").symlink_to(ROOT / "src")
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parents[1])
    lines = README.split("## Features of your own data")[1].split("```")[1].strip()
    assert len(lines.splitlines()) == 3
    done = subprocess.run(["bash", "-ec", lines], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(24,)"


def test_links_and_paths_exist() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
    for path in re.findall(r"`((?:src|config|workflow|slurm|docs|tests)/[\w./]*)`", README):
        assert (ROOT / path).exists(), path


def test_every_command_of_the_readme_exists() -> None:
    from data2vec.cli import COMMANDS

    assert set(re.findall(r"python -m data2vec (\w+)", README)) <= set(COMMANDS)
    targets = set(re.findall(r"^make (\w+)", README, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text()
    assert targets and all(f"\n{target}:" in makefile for target in targets)


def test_links_of_the_method_page_exist() -> None:
    page = ROOT / "docs" / "method.md"
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target
