"""Folders of Hugging Face models that are broken, hostile or of another kind end in one line; nothing is run."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from data2vec.cli import main
from data2vec.errors import UserError
from data2vec.interop.export import export
from data2vec.interop.huggingface import import_huggingface, read_huggingface
from data2vec.interop.load import load

from .runs import SPEECH, TEXT, VISION, changed, save_run


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `speech`, `text` and `vision` as transformers writes them."""
    root = tmp_path_factory.mktemp("exported")
    for name, values, head in (("speech", SPEECH, "ctc"), ("text", TEXT, "words"), ("vision", VISION, "none")):
        save_run(root / "runs" / name, values, head)
        export(root / "runs" / name, root / name, "huggingface")
    return root


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    """A copy of the speech model to damage."""
    return Path(shutil.copytree(exported / "speech", tmp_path / "model"))


def configure(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def refuse(folder: Path, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command ends in one line with these words and exit code 2, and leaves nothing."""
    assert main(["import", f"file={folder}", f"run_dir={tmp_path / 'run'}"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("error: ") and words in error, error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"model_type": "llama"}, "llama"),
        ({"model_type": ["data2vec-audio"]}, "model_type"),
        ({"hidden_size": "24"}, "hidden_size"),
        ({"hidden_size": 48}, "shape"),
        ({"hidden_size": -1}, "hidden_size"),
        ({"num_hidden_layers": True}, "num_hidden_layers"),
        ({"num_hidden_layers": 10**9}, "1000000000 blocks"),
        ({"num_hidden_layers": 3}, "lack"),
        ({"num_hidden_layers": 1}, "has no place"),
        ({"num_attention_heads": 7}, "model.heads"),
        ({"num_conv_pos_embeddings": 10**9}, "positional convolutions"),
        ({"num_conv_pos_embeddings": 1}, "positional convolutions"),
        ({"conv_dim": [16, 16]}, "equally long"),
        ({"conv_dim": {"a": 1}}, "conv_dim"),
        ({"hidden_act": "relu"}, "hidden_act"),
        ({"feat_extract_activation": "silu"}, "feat_extract_activation"),
        ({"add_adapter": True}, "add_adapter"),
        ({"layer_norm_eps": "tiny"}, "layer_norm_eps"),
        ({"conv_bias": "yes"}, "conv_bias"),
        ({"hidden_dropout": 7.5}, "model.dropout"),
    ],
)
def test_a_wrong_value_is_named(
    values: dict[str, Any], words: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(folder, **values)
    refuse(folder, words, tmp_path, capsys)


@pytest.mark.parametrize("content", [b"{", b"[1, 2]", b"\xff\xfe", b"[" * 100_000, b""])
def test_a_configuration_that_is_no_json_object_is_named(
    content: bytes, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "config.json").write_bytes(content)
    refuse(folder, "config.json", tmp_path, capsys)


@pytest.mark.parametrize("damage", ["cut", "noise", "none", "lacks", "shape", "unfused"])
def test_damaged_weights_are_named(
    damage: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "model.safetensors"
    content, tensors = path.read_bytes(), load_file(path)
    name = "data2vec_audio.encoder.layers.0.attention.q_proj.weight"
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "noise":
        path.write_bytes(b"\xff" * 200)
    elif damage == "none":
        path.unlink()
    elif damage == "lacks":
        save_file({n: t for n, t in tensors.items() if "fc" not in n and "output_dense" not in n}, path)
    elif damage == "shape":
        save_file(tensors | {"data2vec_audio.encoder.layer_norm.weight": torch.ones(7)}, path)
    else:
        save_file({n: t for n, t in tensors.items() if n != name}, path)
    words = {"none": "no weights", "lacks": "lack", "shape": "(7,)", "unfused": "query"}.get(damage, "damaged")
    refuse(folder, words, tmp_path, capsys)


class Hostile:
    """Runs a command where it is unpickled by Python's own reader."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("kind", ["zip", "pickle"])
def test_a_pickle_with_code_is_refused_and_not_run(
    kind: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mark = tmp_path / "executed"
    (folder / "model.safetensors").unlink()
    content = {"lm_head.weight": Hostile(mark)}
    if kind == "zip":
        torch.save(content, folder / "pytorch_model.bin")
    else:
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(content))
    refuse(folder, "pytorch_model.bin", tmp_path, capsys)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "absent.safetensors", 7])
def test_an_index_cannot_name_files_outside_of_its_folder(
    name: Any, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.move(folder / "model.safetensors", tmp_path / "secret.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"lm_head.weight": name}}))
    refuse(folder, "not in its folder", tmp_path, capsys)


def test_weights_in_parts_and_in_pytorch_files_are_read_alike(folder: Path, tmp_path: Path) -> None:
    whole = read_huggingface(folder).tensors
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    pickled = read_huggingface(folder).tensors
    (folder / "pytorch_model.bin").unlink()
    parts = [dict(list(tensors.items())[:20]), dict(list(tensors.items())[20:])]
    places = {}
    for number, part in enumerate(parts):
        save_file(part, folder / f"part{number}.safetensors")
        places |= dict.fromkeys(part, f"part{number}.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    parted = read_huggingface(folder).tensors
    assert whole.keys() == pickled.keys() == parted.keys()
    assert all(torch.equal(whole[n], pickled[n]) and torch.equal(whole[n], parted[n]) for n in whole)


def test_every_tensor_is_accounted_for(exported: Path, folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    extra = {"projector.weight": torch.ones(3), "something.else": torch.ones(3)}
    del tensors["data2vec_audio.masked_spec_embed"]
    save_file(tensors | extra, path)
    report = read_huggingface(folder).report
    assert set(report.mapped) | set(report.unused) == {n.removeprefix("data2vec_audio.") for n in tensors} | set(extra)
    assert report.unused.keys() == extra.keys() and all(report.unused.values())
    assert list(report.missing) == ["encoder.context.mask_token"]


def test_word_weights_apart_from_the_embeddings_are_refused(exported: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported / "text", tmp_path / "model"))
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"lm_head.decoder.weight": torch.ones(50, 24)}, folder / "model.safetensors")
    with pytest.raises(UserError, match="differs from the token embeddings"):
        read_huggingface(folder)
    words = tensors["data2vec_text.embeddings.word_embeddings.weight"].clone()
    save_file(tensors | {"lm_head.decoder.weight": words}, folder / "model.safetensors")
    assert "copy" in read_huggingface(folder).report.unused["lm_head.decoder.weight"]


def test_both_kinds_of_relative_positions_are_refused(exported: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported / "vision", tmp_path / "model"))
    configure(folder, use_relative_position_bias=True)
    with pytest.raises(UserError, match="both shared and per block"):
        read_huggingface(folder)


def test_an_imported_folder_is_used_like_a_run_and_never_replaced(exported: Path, tmp_path: Path) -> None:
    import_huggingface(exported / "speech", tmp_path / "run", licence="cc-by-nc-4.0")
    provenance = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert provenance["licence"] == "cc-by-nc-4.0" and provenance["task"] == "ctc"
    waveforms = torch.randn(2, 800)
    assert torch.equal(load(tmp_path / "run").logits(waveforms), load(exported / "speech").logits(waveforms))
    import_huggingface(exported / "speech", tmp_path / "run", licence="cc-by-nc-4.0")
    with pytest.raises(UserError, match="holds something else"):
        import_huggingface(exported / "vision", tmp_path / "run")


def test_the_licence_of_the_card_is_kept(folder: Path) -> None:
    (folder / "README.md").write_text("---\nlicense: apache-2.0\ntags: [a]\n---\n# Model\n")
    assert read_huggingface(folder).provenance["licence"] == "apache-2.0"
    (folder / "README.md").write_text("---\nlicense: [\n---\n")
    assert read_huggingface(folder).provenance["licence"] == "unknown"


def test_the_preprocessor_tells_about_normalisation(folder: Path) -> None:
    assert read_huggingface(folder).config.speech.normalise
    (folder / "preprocessor_config.json").write_text('{"do_normalize": false}')
    assert not read_huggingface(folder).config.speech.normalise


def test_segments_are_added_to_positions(exported: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported / "text", tmp_path / "model"))
    tensors = load_file(folder / "model.safetensors")
    name = "data2vec_text.embeddings.token_type_embeddings.weight"
    segments = torch.randn(2, 24)
    before = read_huggingface(folder).tensors["encoder.local.positions.weight"]
    save_file(tensors | {name: segments}, folder / "model.safetensors")
    after = read_huggingface(folder)
    assert torch.equal(after.tensors["encoder.local.positions.weight"], before + segments[0])
    assert after.report.assumed


def test_a_width_that_is_no_multiple_is_kept_exactly(tmp_path: Path) -> None:
    for hidden in (50, 35, 29):
        values = changed(VISION, model={"mlp_ratio": (hidden + 0.25) / 24})
        save_run(tmp_path / f"run{hidden}", values)
        found = read_huggingface(export(tmp_path / f"run{hidden}", tmp_path / f"out{hidden}"))
        assert found.tensors["encoder.trunk.blocks.0.mlp.fc1.weight"].shape == (hidden, 24)
        assert int(24 * found.config.model.mlp_ratio) == hidden
