"""Mistakes of users: each ends in one clear line, exit code 2, no traceback, and leaves what was there."""

import shutil
import tarfile
from collections import namedtuple
from pathlib import Path

import pytest
from PIL import Image

from data2vec.cli import main


def images(folder: Path, classes: tuple[str, ...] = ("cat", "dog"), count: int = 4) -> Path:
    for name in classes:
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (8, 8), (40 * i, 10, 200)).save(folder / name / f"{i}.png")
    return folder


def run(words: list[str]) -> int:
    return main(words)


def expect(capsys: pytest.CaptureFixture[str], code: int, *parts: str) -> None:
    captured = capsys.readouterr()
    assert code == 2, captured.err
    assert captured.err.count("\n") == 1 and "Traceback" not in captured.err, captured.err
    for part in parts:
        assert part in captured.err, captured.err


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["train.updatess=5"], ["train.updatess", "did you mean 'train.updates'?"]),
        (["optimizer.lr=1"], ["optimizer.lr", "did you mean 'optim.lr'?"]),
        (["optim.lr=fast"], ["optim.lr", "fast", "number"]),
        (["train.batch_size=0"], ["train.batch_size", "0", "greater than 0"]),
        (["train.batch_size=2.5"], ["train.batch_size", "2.5", "integer"]),
        (["target.top_k=40"], ["target.top_k", "40", "model.depth"]),
        (["target.feature=fnn"], ["target.feature", "fnn", "ffn"]),
        (["mask.ratio=1.5"], ["mask.ratio", "1.5", "less than or equal to 1"]),
        (["vision.patch_size=7"], ["vision.image_size", "patch_size = 7"]),
        (["model=tinny"], ["tinny", "did you mean 'tiny'?"]),
        (["method=data2vec3"], ["data2vec3", "data2vec2"]),
        (["data=cifar11"], ["cifar11", "did you mean 'cifar10'?"]),
        (["budget=0"], ["budget", "above 0"]),
        (["model.heads=5"], ["model.dim", "model.heads = 5"]),
        (["just-a-word"], ["just-a-word", "key=value"]),
        (["optim.lr=["], ["optim.lr"]),
    ],
)
def test_mistakes_in_the_configuration(
    words: list[str], parts: list[str], tiny: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {w.split("=")[0] for w in words}
    options = [f"{k}={v}" for k, v in tiny.items() if k not in given]
    code = run(["pretrain", *options, f"run_dir={tmp_path / 'run'}", *words])
    expect(capsys, code, *parts)
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    expect(capsys, run(["pretrian"]), "pretrian", "did you mean 'pretrain'?")


def test_missing_argument_points_to_help(capsys: pytest.CaptureFixture[str]) -> None:
    expect(capsys, run(["pretrain", "data=digits"]), "run_dir", "--help")


def test_absent_data_folder_says_what_to_run(
    tiny: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = tiny | {"data_dir": str(tmp_path / "nowhere"), "run_dir": str(tmp_path / "run")}
    code = run(["pretrain", *(f"{k}={v}" for k, v in options.items())])
    expect(capsys, code, "nowhere", "python -m data2vec prepare")


def test_unknown_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expect(capsys, run(["prepare", "data=cifra10", f"data_dir={tmp_path}"]), "cifra10", "cifar10")


def test_licensed_data_says_how_to_get_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expect(capsys, run(["prepare", "data=imagenet", f"data_dir={tmp_path}"]), "imagenet", "data.path")


def test_absent_own_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["prepare", "data=imagefolder", f"data.path={tmp_path / 'none'}", f"data_dir={tmp_path / 'data'}"]
    expect(capsys, run(words), str(tmp_path / "none"))
    assert not (tmp_path / "data" / "imagefolder").exists()


def test_images_without_label_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "mine" / "a.png")
    words = ["prepare", "data=imagefolder", f"data.path={tmp_path / 'mine'}", f"data_dir={tmp_path / 'data'}"]
    expect(capsys, run(words), "mine")


def test_zero_byte_image_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = images(tmp_path / "mine")
    (folder / "cat" / "2.png").write_bytes(b"")
    words = ["prepare", "data=imagefolder", f"data.path={folder}", f"data_dir={tmp_path / 'data'}"]
    expect(capsys, run(words), "2.png")
    assert not (tmp_path / "data" / "imagefolder").exists()


def test_truncated_archive_is_named_and_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mirror = tmp_path / "mirror" / "clothing-validation"
    mirror.mkdir(parents=True)
    with tarfile.open(mirror / "whole.tar.gz", "w:gz") as archive:
        archive.add(images(tmp_path / "clothing"), "clothing-dataset-small/validation")
    whole = (mirror / "whole.tar.gz").read_bytes()
    (mirror / "whole.tar.gz").unlink()
    (mirror / "clothing-validation.tar.gz").write_bytes(whole[: len(whole) // 2])
    words = ["prepare", "data=clothing-validation", f"data_dir={tmp_path / 'data'}", f"data_mirror={mirror.parent}"]
    expect(capsys, run(words), "clothing-validation.tar.gz")
    assert not list((tmp_path / "data").glob("**/manifest.json"))


def test_no_disk_space_names_what_is_needed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 10, 10))
    expect(capsys, run(["prepare", "data=digits", f"data_dir={tmp_path}"]), "free")
    assert not (tmp_path / "digits").exists()


def test_a_full_disk_while_saving_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    from data2vec.errors import UserError
    from data2vec.training.run_folder import write_atomic

    path = tmp_path / "state.pt"
    write_atomic(path, b"complete")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left"):
        write_atomic(path, b"half")
    assert path.read_bytes() == b"complete" and list(tmp_path.iterdir()) == [path]


def test_help_of_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    listed = capsys.readouterr().out
    for name in ("prepare", "pretrain", "finetune", "evaluate", "benchmark", "report"):
        assert name in listed
        assert run([name, "--help"]) == 0
        assert "python -m data2vec" in capsys.readouterr().out


def test_prepare_evaluate_and_finetune_a_tiny_run(
    tiny: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The README's way through one run, on digits; the frozen encoder is not changed by its evaluation."""
    import json

    folder = tmp_path / "run"
    assert run(["pretrain", *(f"{k}={v}" for k, v in tiny.items()), f"run_dir={folder}"]) == 0
    before = (folder / "checkpoint" / "model.safetensors").read_bytes()
    for features in ("encoder", "random", "pixels"):
        out = tmp_path / features / "metrics.json"
        words = [f"run_dir={folder}", f"out={out}", f"probe.features={features}", "probe.train_limit=200"]
        assert run(["evaluate", *words]) == 0
        rows = {r["metric"]: r["value"] for r in json.loads(out.read_text())["rows"]}
        assert set(rows) == {"linear_top1", "linear_top1_valid", "knn_top1"} and all(
            10 < v <= 100 for v in rows.values()
        )
    assert (folder / "checkpoint" / "model.safetensors").read_bytes() == before
    for init in ("pretrained", "scratch"):
        target = tmp_path / f"ft-{init}"
        options = ["finetune.updates=4", "finetune.batch_size=8", "finetune.warmup_updates=1", f"init={init}"]
        assert run(["finetune", f"init_run={folder}", f"run_dir={target}", *options]) == 0
        assert json.loads((target / "metrics.json").read_text())["rows"][0]["metric"] == "finetune_top1"
        assert (target / "checkpoint" / "model.safetensors").exists()
    assert "error" not in capsys.readouterr().err
