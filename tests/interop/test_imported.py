"""The run folder of an imported model: what downstream tasks read, and never a file overwritten."""

import json
from pathlib import Path

import pytest
import torch

from data2vec import config as schema
from data2vec.compose import compose
from data2vec.downstream.features import load_encoder
from data2vec.errors import UserError
from data2vec.interop.imported import save_imported
from data2vec.methods.build import build_encoder

SOURCE = {"imported_from": "somewhere.pt", "sha256": "00", "licence": "MIT", "format": "test"}


def model(tiny: dict[str, str]):
    config = compose(tiny)
    return config, {f"encoder.{name}": t for name, t in build_encoder(config).state_dict().items()}


def test_downstream_tasks_load_it_as_a_run_of_ours(tiny: dict[str, str], tmp_path: Path) -> None:
    config, tensors = model(tiny)
    halves = {name: t.half() for name, t in tensors.items()}
    save_imported(tmp_path / "run", config, halves, SOURCE)
    loaded = load_encoder(schema.load(tmp_path / "run" / "config.yaml"), tmp_path / "run").state_dict()
    for name, t in halves.items():
        assert torch.equal(loaded[name.removeprefix("encoder.")], t.float())
    assert json.loads((tmp_path / "run" / "provenance.json").read_text()) == SOURCE


def test_tensors_that_share_memory_are_stored(tiny: dict[str, str], tmp_path: Path) -> None:
    config, tensors = model(tiny)
    whole = torch.arange(6.0)
    save_imported(tmp_path / "run", config, tensors | {"teacher.a": whole[:4], "teacher.b": whole[2:]}, SOURCE)
    assert (tmp_path / "run" / "checkpoint" / "model.safetensors").is_file()


def test_the_same_import_again_changes_nothing(tiny: dict[str, str], tmp_path: Path) -> None:
    config, tensors = model(tiny)
    save_imported(tmp_path / "run", config, tensors, SOURCE)
    (tmp_path / "run" / "finetune").mkdir()
    stamp = (tmp_path / "run" / "config.yaml").stat().st_mtime_ns
    save_imported(tmp_path / "run", config, tensors, SOURCE)
    assert (tmp_path / "run" / "config.yaml").stat().st_mtime_ns == stamp
    assert (tmp_path / "run" / "finetune").is_dir()


@pytest.mark.parametrize("there", ["another import", "other files", "a file", "other options"])
def test_what_stands_there_is_never_overwritten(there: str, tiny: dict[str, str], tmp_path: Path) -> None:
    config, tensors = model(tiny)
    run = tmp_path / "run"
    if there == "a file":
        run.write_text("precious")
    elif there == "other files":
        run.mkdir()
        (run / "thesis.tex").write_text("precious")
    else:
        save_imported(run, config, tensors, SOURCE | ({"sha256": "11"} if there == "another import" else {}))
    before = {p: p.read_bytes() for p in (tmp_path.rglob("*")) if p.is_file()}
    with pytest.raises(UserError, match="run_dir"):
        save_imported(run, config, tensors, SOURCE | {"licence": "CC-BY-NC 4.0"})
    assert {p: p.read_bytes() for p in (tmp_path.rglob("*")) if p.is_file()} == before
