"""Original checkpoints in our terms: equal outputs, configuration from shapes, every tensor accounted for."""

import argparse
import enum
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch

from data2vec import config as schema
from data2vec.cli import main
from data2vec.config import RunConfig
from data2vec.downstream.classifier import Classifier
from data2vec.downstream.ctc import CTCModel
from data2vec.errors import UserError
from data2vec.interop.importing import Original, import_checkpoint, read_original
from data2vec.interop.weights import UNKNOWN
from data2vec.methods.build import build_encoder
from data2vec.nn.encoder import Encoder
from data2vec.nn.waveform import frame_padding
from data2vec.training.checkpoint import load_model

CTC = ["ft_ctc_v1_audio", "ft_ctc_v2_audio"]
LETTERS = ["<s>", "<pad>", "</s>", "<unk>", "|", "E", "T", "A", "O", "N"]


def encoder_of(model: Original) -> Encoder:
    encoder = build_encoder(model.config).eval()
    encoder.load_state_dict({n[8:]: t for n, t in model.tensors.items() if n.startswith("encoder.")})
    return encoder


def load_all(module: torch.nn.Module, model: Original) -> torch.nn.Module:
    names = set(module.state_dict())
    module.load_state_dict({n: t for n, t in model.tensors.items() if n in names})
    return module.eval()


def close(found: torch.Tensor, expected: torch.Tensor) -> bool:
    return bool(torch.allclose(found, expected, rtol=1e-5, atol=1e-5 + 1e-5 * float(expected.abs().max())))


def frames(config: RunConfig, tensors: dict[str, torch.Tensor]) -> torch.Tensor | None:
    samples = tensors["in/padding_mask"]
    return frame_padding((~samples).sum(1), samples.shape[1], config.speech.conv_layers)


# ---- pre-trained


@pytest.mark.parametrize(
    "case", ["v1_audio_base", "v2_image_prenorm_quirk", "v2_image_alibi2d_endblock", "v2_text_base"]
)
def test_features_are_those_of_the_original(case: str, made: Any) -> None:
    path, _, tensors = made(case)
    model = read_original(path)
    assert not model.report.differences and not model.report.assumed
    assert UNKNOWN not in model.report.unused.values()
    output = encoder_of(model)(tensors["in/source"])
    second = model.config.method == "data2vec2"
    found = torch.cat([output.extra, output.x], 1) if second else output.x
    assert close(found, tensors["out/features_unmasked_eval"])


def test_the_teacher_has_its_own_weights(made: Any) -> None:
    path, _, tensors = made("v1_audio_base")
    model = read_original(path)
    assert model.config.teacher.scope == "context" and model.config.teacher.copied == ["context.pos_conv.*"]
    name = "trunk.blocks.0.mlp.fc1.weight"
    assert torch.equal(model.tensors[f"teacher.encoder.{name}"], tensors["teacher/layers.0.fc1.weight"])
    assert not torch.equal(model.tensors[f"teacher.encoder.{name}"], model.tensors[f"encoder.{name}"])


def test_target_and_loss_are_those_stored(made: Any) -> None:
    config = read_original(made("v2_image_alibi2d_endblock")[0]).config
    assert config.target.feature == "end" and config.target.norm_layer == ["layer"]
    assert config.loss.cls == 0.01 and config.mask.length == 3 and config.teacher.anneal_updates == 3


def test_half_precision_and_data_parallel_names_make_no_difference(made: Any) -> None:
    def halve(state: dict[str, Any]) -> None:
        for name in [n for n in state if n != "_ema"]:
            state[f"module.{name}"] = state.pop(name).half()

    path, _, tensors = made("v2_text_base", change=halve)
    model = read_original(path)
    assert {t.dtype for t in model.tensors.values()} == {torch.float32}
    stored = tensors["weights/blocks.0.mlp.fc1.weight"]
    assert torch.equal(model.tensors["encoder.trunk.blocks.0.mlp.fc1.weight"], stored.half().float())


def test_names_of_older_files_are_known(made: Any) -> None:
    def age(state: dict[str, Any]) -> None:
        prefix = "modality_encoders.AUDIO."
        state[f"{prefix}alibi_scale"] = state[f"{prefix}alibi_scale"][0]  # without the axis of layers
        state[f"{prefix}encoder_mask"] = torch.ones(24)

    path, _, tensors = made("v2_audio_base", change=age)
    model = read_original(path)
    assert UNKNOWN not in model.report.unused.values()
    assert close(encoder_of(model)(tensors["in/source"]).x, tensors["out/features_unmasked_eval"])


def test_the_script_of_beit_stores_teacher_and_arguments(made: Any, tmp_path: Path) -> None:
    path, _, tensors = made("v1_vision_beit_end", stored=None)
    content = torch.load(path)
    teacher = {f"module.{name}": t for name, t in content["model"].pop("_ema").items()}
    arguments = argparse.Namespace(input_size=24, target_layers="[1, 2]", layer_scale_init_value=0.1, l1_beta=2.0)
    torch.save({"model": content["model"], "model_ema": teacher, "args": arguments, "epoch": 3}, path)
    model = read_original(path)
    assert model.config.target.layers == [1, 2] and model.config.vision.image_size == 24
    assert model.config.model.heads == 4 and model.config.teacher.scope == "encoder"
    assert model.provenance["epoch"] == 3 and not model.report.differences
    assert torch.equal(model.tensors["teacher.head.weight"], tensors["teacher/lm_head.weight"])


# ---- configuration


def test_tensors_are_right_where_the_stored_configuration_disagrees(made: Any) -> None:
    path, _, _ = made("v2_audio_base", stored={"depth": 7, "num_heads": 12, "norm_eps": 1e-5})
    model = read_original(path)
    assert (model.config.model.depth, model.config.model.heads) == (2, 4)
    assert any("depth is stored as 7, its tensors say 2" in line for line in model.report.differences)
    assert any("num_heads" in line for line in model.report.differences)
    assert "contradicts" in model.report.text()


def test_what_nothing_tells_is_assumed_and_said(made: Any) -> None:
    model = read_original(made("v2_text_base", stored=None)[0])
    assert any("attention heads" in line for line in model.report.assumed)
    assert model.config.data.vocab_size == 55 and model.config.text.max_positions == 24


def test_strides_come_from_the_stored_list_which_is_never_evaluated(made: Any, tmp_path: Path) -> None:
    stored = {"conv_feature_layers": f"[(16, 10, 5)] * open('{tmp_path}/executed', 'w')"}
    with pytest.raises(UserError, match="convolutions is not understood"):
        read_original(made("v1_audio_base", stored=stored)[0])
    assert not (tmp_path / "executed").exists()
    model = read_original(
        made("v1_audio_base", stored={"conv_feature_layers": "[(16, 10, 4)] + [(16, 3, 2), (16, 2, 2)]"})[0]
    )
    assert [stride for _, _, stride in model.config.speech.conv_layers] == [4, 2, 2]


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        ({"encoder_attention_heads": 5}, "encoder_attention_heads = 5"),
        ({"encoder_attention_heads": "four"}, "encoder_attention_heads = four"),
        ({"encoder_attention_heads": 4, "activation_fn": "relu"}, "activation_fn = relu"),
        ({"encoder_attention_heads": 4, "average_top_k_layers": "all"}, "target.top_k = 'all'"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(stored: dict[str, Any], words: str, made: Any) -> None:
    with pytest.raises(UserError, match=words):
        read_original(made("v1_audio_base", stored=stored)[0])


# ---- key by key


def test_a_tensor_that_is_missing_or_has_another_shape_is_named(made: Any) -> None:
    with pytest.raises(UserError, match=r"lacks a tensor that its model needs: encoder\.trunk.blocks.1.mlp.fc1.bias"):
        read_original(made("v2_image_base", change=lambda s: s.pop("blocks.1.mlp.fc1.bias"))[0])
    wrong = {"blocks.1.mlp.fc1.weight": torch.ones(7, 24)}
    with pytest.raises(UserError, match=r"blocks.1.mlp.fc1.weight has the shape \(7, 24\)"):
        read_original(made("v2_image_base", change=lambda s: s.update(wrong))[0])
    with pytest.raises(UserError, match="query, key and value"):
        read_original(
            made("v1_text_base", change=lambda s: s.pop("encoder.sentence_encoder.layers.0.self_attn.k_proj.bias"))[0]
        )


def test_a_number_in_a_name_does_not_make_a_model_large(made: Any) -> None:
    def add(state: dict[str, Any]) -> None:
        state["blocks.999999999.norm1.weight"] = torch.ones(24)

    with pytest.raises(UserError, match="no complete model"):
        read_original(made("v2_image_base", change=add)[0])


def test_an_unknown_tensor_is_left_out_and_said(made: Any, caplog: pytest.LogCaptureFixture) -> None:
    path, _, _ = made("v2_image_base", change=lambda s: s.update(surprise=torch.ones(1)))
    assert read_original(path).report.unused["surprise"] == UNKNOWN
    assert "surprise" in caplog.text


def test_every_tensor_is_either_mapped_or_unused(made: Any) -> None:
    path, _, tensors = made("v1_vision_fairseq_end")
    report = read_original(path).report
    names = {n.removeprefix("weights/") for n in tensors if n.startswith("weights/")}
    names |= {f"teacher: {n.removeprefix('teacher/')}" for n in tensors if n.startswith("teacher/")}
    assert set(report.mapped) | set(report.unused) == names and not set(report.mapped) & set(report.unused)
    assert "never applies" in report.unused["final_proj.weight"]


def test_positions_that_are_not_ours_are_noticed(made: Any) -> None:
    name = "modality_encoders.IMAGE.fixed_positional_encoder.positions"
    path, _, _ = made("v2_image_base", change=lambda s: s.update({name: torch.zeros(1, 36, 24)}))
    assert any("features will differ" in line for line in read_original(path).report.differences)


# ---- fine-tuned


@pytest.fixture
def fairseq_classes(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Classes as a fairseq checkpoint names them; they are gone again before the file is read."""
    module = types.ModuleType("fairseq.data.dictionary")

    class Dictionary:
        def __init__(self, symbols: list[str]) -> None:
            self.symbols, self.count, self.indices = symbols, [1] * len(symbols), {s: i for i, s in enumerate(symbols)}

    class PredictionMode(enum.Enum):
        MEAN_POOLING = "MEAN_POOLING"

    for cls in (Dictionary, PredictionMode):
        cls.__module__, cls.__qualname__ = module.__name__, cls.__name__
        setattr(module, cls.__name__, cls)
    for name in ("fairseq", "fairseq.data", module.__name__):
        monkeypatch.setitem(sys.modules, name, module)
    return module


@pytest.mark.parametrize("case", CTC)
def test_a_recogniser_keeps_its_letters_and_its_logits(
    case: str, made: Any, fairseq_classes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = fairseq_classes.Dictionary(LETTERS)
    inner = {"model": read_config(made, case), "task": {"normalize": True}}
    path, _, tensors = made(
        case, {"_name": "wav2vec_ctc", "w2v_args": inner}, task_state={"target_dictionary": letters}
    )
    monkeypatch.delitem(sys.modules, "fairseq.data.dictionary")
    model = read_original(path)
    assert model.provenance["task"] == "ctc" and not model.report.differences
    assert json.loads(model.files["symbols.json"]) == LETTERS
    ctc = load_all(CTCModel(build_encoder(model.config), 24, len(LETTERS)), model)
    assert close(ctc(tensors["in/source"], frames(model.config, tensors)), tensors["out/encoder_logits"])


def read_config(made: Any, case: str) -> dict[str, Any]:
    return made(case)[1]["model"]


def test_letters_may_lie_beside_the_file(made: Any) -> None:
    path, _, _ = made(CTC[0])
    path.with_name("dict.ltr.txt").write_text("".join(f"{letter} 7\n" for letter in LETTERS[4:]))
    assert json.loads(read_original(path).files["symbols.json"]) == LETTERS
    path.with_name("dict.ltr.txt").write_text("| 7\n")
    model = read_original(path)
    assert "symbols.json" not in model.files and "5 symbols, the model 10" in model.report.differences[0]


def test_a_text_model_keeps_its_vocabulary(made: Any) -> None:
    path, _, _ = made("v2_text_base")
    path.with_name("dict.txt").write_text("".join(f"word{i} 1\n" for i in range(50)))
    symbols = json.loads(read_original(path).files["symbols.json"])
    assert len(symbols) == 55 and symbols[4] == "word0" and symbols[-1] == "<mask>"


@pytest.mark.parametrize("case", ["ft_v2_image_meanpool", "ft_v2_image_cls", "ft_v1_vision_beit"])
def test_an_image_classifier_keeps_its_logits(
    case: str, made: Any, fairseq_classes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = read_config(made, case)
    if case != "ft_v1_vision_beit":
        mean = case.endswith("meanpool")
        mode = fairseq_classes.PredictionMode.MEAN_POOLING if mean else "CLS_TOKEN"
        stored = {"prediction_mode": mode, "pretrained_model_args": {"model": stored}}
    path, _, tensors = made(case, stored)
    monkeypatch.delitem(sys.modules, "fairseq.data.dictionary")
    model = read_original(path)
    assert model.provenance["task"] == "classification" and not model.report.differences
    classes = len(model.tensors["classifier.bias"])
    classifier = load_all(Classifier(model.config, build_encoder(model.config), classes), model)
    images = tensors["in/image"] if "in/image" in tensors else tensors["in/source"]
    assert close(classifier(images), tensors["out/logits"])
    if case == "ft_v1_vision_beit":
        assert model.config.vision.mean == (0.5, 0.5, 0.5)  # pitfall P-V6


def test_a_sentence_classifier_keeps_its_head(made: Any) -> None:
    def tune(state: dict[str, Any]) -> None:
        for name in [n for n in state if "regression_head" in n or n == "_ema"]:
            del state[name]
        head = "classification_heads.sentence_classification_head."
        state |= {f"{head}dense.weight": torch.ones(24, 24), f"{head}out_proj.weight": torch.ones(2, 24)}
        state["encoder.lm_head.bias"] = torch.ones(65)

    model = read_original(made("v1_text_base", change=tune)[0])
    assert model.provenance["task"] == "sentence_classification"
    assert torch.equal(model.tensors["out_proj.weight"], torch.ones(2, 24))
    assert "predicts tokens" in model.report.unused["encoder.lm_head.bias"]


# ---- the folder


def test_an_imported_model_is_evaluated_like_a_run_of_ours(made: Any, tmp_path: Path, digits: Path) -> None:
    path, _, _ = made("v2_image_base")
    run = tmp_path / "run"
    assert main(["import", f"file={path}", f"run_dir={run}", "licence=CC-BY-NC 4.0"]) == 0
    source = json.loads((run / "provenance.json").read_text())
    assert source["licence"] == "CC-BY-NC 4.0" and source["format"] == "fairseq, data2vec 2.0 vision"
    words = [f"run_dir={run}", f"out={tmp_path / 'probe.json'}", f"data_dir={digits}", "data.name=digits"]
    small = ["vision.image_size=8", "probe.train_limit=60", "probe.regularisation=[0.1]", "train.threads=1"]
    assert main(["evaluate", *words, *small]) == 0
    assert json.loads((tmp_path / "probe.json").read_text())["rows"][0]["value"] > 20


def test_the_folder_holds_all_weights_and_the_report(made: Any, tmp_path: Path) -> None:
    path, _, _ = made("v2_audio_base")
    report = import_checkpoint(path, tmp_path / "run")
    model = read_original(path)
    assert schema.load(tmp_path / "run" / "config.yaml") == model.config
    stored = load_model(tmp_path / "run" / "checkpoint" / "model.safetensors")
    assert stored.keys() == model.tensors.keys()
    assert all(torch.equal(stored[name], t) for name, t in model.tensors.items())
    assert json.loads((tmp_path / "run" / "import.json").read_text()) == report.as_dict()
    assert "unknown" in json.loads((tmp_path / "run" / "provenance.json").read_text())["licence"]


def test_a_taken_folder_is_refused_before_anything_is_read_or_written(
    made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _, _ = made("v2_text_base")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("precious")
    assert main(["import", f"file={path}", f"run_dir={tmp_path / 'run'}"]) == 2
    assert "not overwritten" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["thesis.tex"]


def test_mistakes_in_the_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "run_dir=x"]) == 2
    assert "needs file=" in capsys.readouterr().err
    assert main(["import", f"file={tmp_path / 'x.pt'}", "run_dir=x", "license=MIT"]) == 2
    assert "did you mean 'licence'?" in capsys.readouterr().err
