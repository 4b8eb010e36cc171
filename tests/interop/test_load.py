"""`data2vec.load`, `export format=data2vec` and `describe` on checkpoints of every kind."""

from pathlib import Path

import pytest
import torch

import data2vec
from data2vec.cli import main
from data2vec.errors import UserError
from data2vec.interop.export import export
from data2vec.interop.load import open_checkpoint
from data2vec.nn.encoder import Encoder

from .runs import SPEECH, TEXT, VISION, VISION2, changed, save_run


def test_a_run_gives_its_students_or_its_teachers_features(tmp_path: Path) -> None:
    method = save_run(tmp_path, VISION2)
    images = torch.randn(2, 3, 24, 24)
    with torch.no_grad():
        student = method.encoder(images).x
        teacher = method.teacher(method.encoder, images, method.encoder.local(images), None, "end")
    assert torch.equal(data2vec.load(tmp_path)(images), student)
    loaded = data2vec.load(str(tmp_path), weights="teacher")
    for layer in (1, 2):
        assert torch.allclose(loaded(images, layer=layer), teacher[layer - 1], atol=1e-6)


def test_parts_that_the_teacher_shares_are_the_students(tmp_path: Path) -> None:
    method = save_run(tmp_path, SPEECH)  # the teacher owns context and trunk
    waveforms = torch.randn(2, 800)
    with torch.no_grad():
        expected = method.teacher(method.encoder, waveforms, method.encoder.local(waveforms), None, "end")[-1]
    assert torch.allclose(data2vec.load(tmp_path, "teacher")(waveforms), expected, atol=1e-6)


def test_layers_are_counted_from_what_enters_the_first_block(tmp_path: Path) -> None:
    save_run(tmp_path, VISION)
    encoder = data2vec.load(tmp_path)
    images = torch.randn(2, 3, 24, 24)
    inside = encoder.encoder.context(encoder.encoder.local(images))
    assert torch.equal(encoder(images, layer=0), inside.x[:, 1:])
    norm = encoder.encoder.trunk.norm
    assert torch.allclose(norm(encoder(images, layer=2)), encoder(images), atol=1e-6)
    assert encoder.class_token(images).shape == (2, 24) and encoder(images).shape == (2, 36, 24)
    for layer in (-1, 3):
        with pytest.raises(UserError, match="0 to 2"):
            encoder(images, layer=layer)


def test_padding_is_that_of_the_inputs_and_changes_nothing(tmp_path: Path) -> None:
    save_run(tmp_path / "speech", changed(SPEECH, speech={"pos_conv_padding": "zeroed"}))
    save_run(tmp_path / "text", TEXT)
    encoder = data2vec.load(tmp_path / "speech")
    waveform = torch.randn(1, 640)
    padded = torch.cat([torch.nn.functional.pad(waveform, (0, 160)), torch.randn(1, 800)])
    padding = torch.arange(800) >= torch.tensor([[640], [800]])
    alone, batched = encoder(waveform)[0], encoder(padded, padding)[0]
    assert torch.allclose(alone, batched[: len(alone)], atol=1e-5)
    encoder = data2vec.load(tmp_path / "text")
    ids = torch.randint(4, 49, (1, 7))
    padded = torch.nn.functional.pad(ids, (0, 3), value=1)
    assert torch.allclose(encoder(ids), encoder(padded, padded == 1)[:, :7], atol=1e-5)


def test_the_model_is_ready_for_use_and_draws_nothing(tmp_path: Path) -> None:
    save_run(tmp_path, changed(VISION, model={"dropout": 0.5}))
    torch.manual_seed(1)
    encoder = data2vec.load(tmp_path)
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(1))
    assert not encoder.training and not any(p.requires_grad for p in encoder.parameters())
    images = torch.randn(1, 3, 24, 24)
    assert torch.equal(encoder(images), encoder(images))


def test_heads_give_logits_and_pretrained_models_say_they_have_none(tmp_path: Path) -> None:
    values = changed(VISION, finetune={"pooling": "mean", "head_norm": True})
    model = save_run(tmp_path / "tuned", values, "image")
    images = torch.randn(2, 3, 24, 24)
    encoder = data2vec.load(tmp_path / "tuned")
    assert isinstance(encoder.encoder, Encoder) and torch.equal(encoder.logits(images), model(images))
    values = changed(SPEECH, task={"kind": "recordings"})
    model = save_run(tmp_path / "sounds", values, "recording")
    waveforms = torch.randn(2, 800)
    assert torch.equal(data2vec.load(tmp_path / "sounds").logits(waveforms), model(waveforms))
    with pytest.raises(UserError, match="recording"):
        export(tmp_path / "sounds", tmp_path / "out", "huggingface")
    save_run(tmp_path / "run", VISION)
    with pytest.raises(UserError, match="no head"):
        data2vec.load(tmp_path / "run").logits(images)


@pytest.mark.parametrize("head", ["none", "image"])
def test_a_model_of_2_0_goes_out_whole_and_comes_back(head: str, tmp_path: Path) -> None:
    save_run(tmp_path / "run", changed(VISION2, finetune={"pooling": "mean"}), head, classes=list("abcde"))
    out = export(tmp_path / "run", tmp_path / "out")
    assert {p.name for p in out.iterdir()} >= {"config.yaml", "model.safetensors", "README.md", "provenance.json"}
    before, after = open_checkpoint(tmp_path / "run"), open_checkpoint(out)
    assert after.config == before.config and after.tensors.keys() == before.tensors.keys()
    assert all(torch.equal(t, after.tensors[n]) for n, t in before.tensors.items())
    images = torch.randn(2, 3, 24, 24)
    assert torch.equal(data2vec.load(out)(images), data2vec.load(tmp_path / "run")(images))
    if head == "none":
        assert torch.equal(data2vec.load(out, "teacher")(images), data2vec.load(tmp_path / "run", "teacher")(images))
    else:
        assert after.labels == list("abcde")
    card = (out / "README.md").read_text()
    assert "data2vec.load" in card and "| loss | 1.25" in card and "abc1234" in card


def test_export_never_overwrites(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_run(tmp_path / "run", VISION)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    assert main(["export", f"run_dir={tmp_path / 'run'}", f"out={tmp_path / 'out'}"]) == 2
    assert "not overwritten" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["export", "run_dir={run}", "out={new}", "format=onnx"], "huggingface or data2vec"),
        (["export", "run_dir={run}", "out={new}", "weights=best"], "student or teacher"),
        (["export", "run_dir={run}", "outt={new}"], "did you mean 'out'"),
        (["export", "run_dir={tuned}", "out={new}", "weights=teacher"], "no teacher"),
        (["describe", "checkpoint={none}"], "no such file or folder"),
        (["describe", "checkpoint={empty}"], "holds no model"),
        (["describe"], "checkpoint="),
    ],
)
def test_mistakes_end_in_one_line(
    words: list[str], part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_run(tmp_path / "run", VISION)
    save_run(tmp_path / "tuned", VISION, "image")
    (tmp_path / "empty").mkdir()
    places = {name: tmp_path / name for name in ("run", "tuned", "new", "none", "empty")}
    assert main([word.format(**places) for word in words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and part in error, error
    assert not (tmp_path / "new").exists()


def test_a_checkpoint_without_some_of_its_tensors_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save_run(tmp_path, VISION)
    path = tmp_path / "checkpoint" / "model.safetensors"
    save_file({n: t for n, t in load_file(path).items() if "blocks.1" not in n}, path)
    with pytest.raises(UserError, match=r"lacks encoder\.trunk\.blocks\.1"):
        data2vec.load(tmp_path)


def test_describe_tells_what_is_known_on_one_screen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_run(tmp_path / "run", VISION2)
    assert main(["describe", f"checkpoint={tmp_path / 'run'}"]) == 0
    text = capsys.readouterr().out
    for part in (
        "data2vec 2.0",
        "1 + 2 blocks",
        "width 24",
        "student and teacher",
        "imagenet",
        "commit abc1234",
        "seed 3",
    ):
        assert part in text, text
    count = sum(p.numel() for p in data2vec.load(tmp_path / "run").parameters())
    assert f"{count:,} in the encoder" in text and len(text.splitlines()) < 25


def test_describe_and_load_read_files_of_the_original(capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(__file__).parents[1] / "golden" / "cases"
    file = next(folder.glob("ckpt_v2*/checkpoint.pt"), None)
    if file is None:
        pytest.skip("no such golden case in the project")
    assert main(["describe", f"checkpoint={file}"]) == 0
    assert "data2vec 2.0" in capsys.readouterr().out
    assert data2vec.load(file).config.method == "data2vec2"
