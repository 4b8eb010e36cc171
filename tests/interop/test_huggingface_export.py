"""What is exported computes the same in transformers, and comes back unchanged."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import data2vec
from data2vec.cli import main
from data2vec.data.vocabulary import PAD
from data2vec.errors import UserError
from data2vec.interop.export import export
from data2vec.interop.huggingface import import_huggingface, read_huggingface
from data2vec.interop.load import open_checkpoint
from data2vec.interop.tokenizers import find_tokenizer

from .runs import SPEECH, TEXT, VISION, VISION2, changed, save_run

pytestmark = pytest.mark.slow  # importing transformers takes seconds

WAV2VEC2 = changed(SPEECH, speech={"pos_conv_depth": 1, "pos_conv_width": 16, "conv_norm": "group", "conv_bias": True})
MAE = changed(
    VISION,
    model={"qkv_bias": "full", "layer_scale": None, "relative_positions": "none", "absolute_positions": "learned"},
)
CLASSIFIER = changed(VISION, finetune={"pooling": "mean", "head_norm": True})
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "speech": (SPEECH, "none"),
    "speech-ctc": (SPEECH, "ctc"),
    "speech-conv-bias": (changed(SPEECH, speech={"conv_bias": True}, model={"norm_eps": 1e-5}), "ctc"),
    "wav2vec2-group": (WAV2VEC2, "none"),
    "wav2vec2-group-ctc": (WAV2VEC2, "ctc"),
    "wav2vec2-stable": (
        changed(WAV2VEC2, speech={"conv_norm": "layer"}, model={"norm": "pre", "final_norm": True}),
        "ctc",
    ),
    "text": (TEXT, "none"),
    "text-sentence": (TEXT, "sentence"),
    "text-words": (TEXT, "words"),
    "vision": (VISION, "none"),
    "vision-without-final-norm": (changed(VISION, model={"final_norm": False, "layer_scale": None}), "none"),
    "vision-absolute": (changed(VISION, model={"relative_positions": "none", "absolute_positions": "learned"}), "none"),
    "vision-classifier": (CLASSIFIER, "image"),
    "vision-per-block": (changed(CLASSIFIER, model={"relative_positions": "per_block"}), "image"),
    "vision-class-token": (changed(VISION, finetune={"pooling": "class_token", "head_norm": False}), "image"),
    "mae-imported": (MAE, "none"),
    "mae": (
        changed(MAE, model={"absolute_positions": "sincos"}, decoder={"dim": 16, "heads": 4}) | {"method": "mae"},
        "none",
    ),
}


def batch(modality: str) -> tuple[Tensor, Tensor | None]:
    """Inputs of two samples, the second shorter, and where it is padding."""
    torch.manual_seed(7)
    if modality == "vision":
        return torch.randn(2, 3, 24, 24), None
    length, short = (800, 633) if modality == "speech" else (10, 7)
    padding = torch.arange(length) >= torch.tensor([[length], [short]])
    if modality == "speech":
        return torch.randn(2, length).masked_fill(padding, 0), padding
    return torch.randint(4, 49, (2, length)).masked_fill(padding, PAD), padding


def transformers_model(folder: Path) -> Any:
    import transformers

    content = read_huggingface(folder).provenance["architecture"]
    model, info = getattr(transformers, content).from_pretrained(folder, output_loading_info=True)
    new = {name for name in info["missing_keys"] if not name.startswith("pooler.")}
    assert not new and not info["unexpected_keys"] and not info["mismatched_keys"], info
    return model.eval()


@torch.no_grad()
def run_transformers(model: Any, inputs: Tensor, padding: Tensor | None) -> Any:
    names = {"Data2VecText": "input_ids", "Data2VecVision": "pixel_values", "ViT": "pixel_values"}
    name = next((n for start, n in names.items() if type(model).__name__.startswith(start)), "input_values")
    given: dict[str, Any] = {name: inputs, "output_hidden_states": True}
    if padding is not None:
        given["attention_mask"] = (~padding).long()
    if "MAE" in type(model).__name__:  # every patch in its place
        model.config.mask_ratio = 0.0
        given["noise"] = torch.arange(36.0).expand(2, -1)
    return model(**given)


def near(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= 1e-5 * (1 + theirs.abs().max())


@pytest.mark.parametrize("name", list(CASES))
def test_exported_models_compute_the_same_in_transformers_also_with_padding(name: str, tmp_path: Path) -> None:
    values, head = CASES[name]
    save_run(tmp_path / "run", values, head)
    out = export(tmp_path / "run", tmp_path / "out")
    ours, theirs = data2vec.load(tmp_path / "run"), transformers_model(out)
    inputs, padding = batch(values["modality"])
    result = run_transformers(theirs, inputs, padding)
    # at padding only text differs (pitfall P-H3)
    kept = ~padding if values["modality"] == "text" and padding is not None else ...
    *states, last = ours.states(inputs, padding)
    stable = values["model"].get("norm") == "pre" and values["modality"] == "speech"
    for mine, other in zip(states[:-1] if stable else states, result.hidden_states, strict=not stable):
        near(mine[kept], other[kept])
    if "last_hidden_state" in result:
        near(last[kept], result.last_hidden_state[kept])
    if head != "none":
        logits = ours.logits(inputs, padding)
        words = head == "words"
        near(logits[kept] if words else logits, result.logits[kept] if words else result.logits)


@pytest.mark.parametrize("name", list(CASES))
def test_what_went_out_comes_back(name: str, tmp_path: Path) -> None:
    values, head = CASES[name]
    save_run(tmp_path / "run", values, head)
    before = open_checkpoint(tmp_path / "run")
    after = open_checkpoint(export(tmp_path / "run", tmp_path / "out"))
    for key, tensor in after.tensors.items():
        if name == "mae" and key in ("encoder.context.positions", "encoder.context.mask_token"):
            continue
        if key == "encoder.context.mask_token" and name == "mae-imported":
            continue  # MAE's encoder has none
        assert torch.equal(tensor, before.tensors[key]), key
    encoder = {key for key in before.tensors if key.startswith("encoder.")}
    if name == "mae":  # fixed positions come back as learned ones, beside a mask token
        encoder |= {"encoder.context.positions", "encoder.context.mask_token"}
    assert {key for key in after.tensors if key.startswith("encoder.")} == encoder
    inputs, padding = batch(values["modality"])
    near(data2vec.load(tmp_path / "out")(inputs, padding), data2vec.load(tmp_path / "run")(inputs, padding))


def test_zeroed_padding_between_convolutions_is_stated_and_one_length_is_exact(tmp_path: Path) -> None:
    values = changed(SPEECH, speech={"pos_conv_padding": "zeroed"})
    save_run(tmp_path / "run", values)
    out = export(tmp_path / "run", tmp_path / "out")
    assert "padding" in (out / "README.md").read_text().split("## Notes")[1]
    inputs, _ = batch("speech")
    near(
        data2vec.load(tmp_path / "run")(inputs),
        run_transformers(transformers_model(out), inputs, None).last_hidden_state,
    )


def test_the_teacher_can_be_exported(tmp_path: Path) -> None:
    save_run(tmp_path / "run", SPEECH)
    teacher = data2vec.load(tmp_path / "run", weights="teacher")
    out = export(tmp_path / "run", tmp_path / "out", weights="teacher")
    inputs, padding = batch("speech")
    near(teacher(inputs, padding), run_transformers(transformers_model(out), inputs, padding).last_hidden_state)
    assert not torch.allclose(teacher(inputs), data2vec.load(tmp_path / "run")(inputs), atol=1e-3)


def test_a_trained_model_is_fine_tuned_in_transformers_and_comes_back(
    tiny: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(["pretrain", *(f"{k}={v}" for k, v in (tiny | {"method": "data2vec"}).items()), f"run_dir={run}"]) == 0
    assert main(["export", f"run_dir={run}", f"out={tmp_path / 'out'}"]) == 0, capsys.readouterr().err
    from transformers import Data2VecVisionForImageClassification

    model = Data2VecVisionForImageClassification.from_pretrained(tmp_path / "out", num_labels=10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    images, labels = torch.randn(8, 3, 8, 8), torch.arange(8)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = model(pixel_values=images, labels=labels).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    model.eval().save_pretrained(tmp_path / "tuned")
    report = import_huggingface(tmp_path / "tuned", tmp_path / "back")
    assert not report.unused
    back = data2vec.load(tmp_path / "back")
    with torch.no_grad():
        result = model(pixel_values=images, output_hidden_states=True)
    near(back.logits(images), result.logits)
    near(back.states(images)[-2], result.hidden_states[-1])


def test_the_processor_gives_the_inputs_of_training(tmp_path: Path) -> None:
    from transformers import AutoFeatureExtractor, AutoImageProcessor

    from data2vec.data.augment import normalise

    save_run(tmp_path / "images", VISION)
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    out = export(tmp_path / "images", tmp_path / "out")
    found = AutoImageProcessor.from_pretrained(out)(images=pixels, return_tensors="pt")["pixel_values"]
    config = data2vec.load(out).config.vision
    near(normalise(torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None], config.mean, config.std), found)
    save_run(tmp_path / "sound", SPEECH)
    extractor = AutoFeatureExtractor.from_pretrained(export(tmp_path / "sound", tmp_path / "out2"))
    assert extractor.sampling_rate == 16_000 and extractor.do_normalize and extractor.return_attention_mask


ODD = ["  two  spaces ", "ﬁ ligature Ⅳ", "日本語 and 😀😀", "a\tb", "…“quoted”", "don't they're"]


def lines_of_text() -> list[str]:
    import pydoc_data.topics  # type: ignore[import-untyped]

    texts = pydoc_data.topics.topics.values()
    return [line for text in texts for line in text.splitlines() if line.strip()][:2000]


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_the_tokenizer_gives_the_ids_of_training(kind: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    from data2vec.data.sentence_pieces import train_pieces
    from data2vec.data.vocabulary import FILE

    lines = lines_of_text()
    trained = train_pieces(lines, kind, 400)
    save_run(tmp_path / "run", changed(TEXT, data={"vocab_size": 400}))
    (tmp_path / "run" / FILE).write_bytes(trained.files[FILE])
    tokenizer = AutoTokenizer.from_pretrained(export(tmp_path / "run", tmp_path / "out"))
    for line in [*lines, *ODD]:
        ours, theirs = [0, *trained.encode(line), 2], tokenizer(line)["input_ids"]
        if kind == "unigram" and not any(
            c.isalnum() for c in line
        ):  # rulers: equally good ways to cut, of which each takes another
            ours, theirs = sorted(ours), sorted(theirs)
        assert theirs == ours, line
    assert tokenizer.mask_token_id == trained.mask_id and tokenizer.pad_token_id == PAD


def test_byte_pairs_go_out_and_those_of_hugging_face_come_in(tmp_path: Path) -> None:
    from tokenizers import ByteLevelBPETokenizer
    from transformers import AutoTokenizer

    lines = lines_of_text()
    made = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    made.train_from_iterator(lines, 400, special_tokens=special, show_progress=False)
    made.add_special_tokens(["<mask>"])
    save_run(tmp_path / "run", changed(TEXT, data={"vocab_size": made.get_vocab_size()}))
    out = export(tmp_path / "run", tmp_path / "plain")
    made.save_model(str(out))  # vocab.json is without the token that was added
    (out / "vocab.json").write_text(json.dumps(made.get_vocab()))
    import_huggingface(out, tmp_path / "back")
    found = find_tokenizer(tmp_path / "back", open_checkpoint(tmp_path / "back").config)
    assert found is not None
    again = AutoTokenizer.from_pretrained(export(tmp_path / "back", tmp_path / "again"))
    for line in [*lines[:300], *ODD]:
        ids = found.encode(line)
        assert ids == made.encode(line).ids and again(line)["input_ids"] == [0, *ids, 2], line


def test_letters_of_a_speech_recogniser_go_along(tmp_path: Path) -> None:
    from transformers import Wav2Vec2CTCTokenizer

    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDEFG"]
    save_run(tmp_path / "run", SPEECH, "ctc", classes=letters)
    out = export(tmp_path / "run", tmp_path / "out")
    tokenizer = Wav2Vec2CTCTokenizer.from_pretrained(out)
    assert tokenizer.decode([5, 5, 0, 5, 4, 6, 0]) == "AA B"
    assert open_checkpoint(out).labels == letters


def test_names_of_classes_go_along(tmp_path: Path) -> None:
    save_run(tmp_path / "run", CLASSIFIER, "image", classes=["ant", "bee", "cat", "dog", "eel"])
    model = transformers_model(export(tmp_path / "run", tmp_path / "out"))
    assert model.config.id2label[1] == "bee" and model.config.label2id["eel"] == 4


def test_letters_read_by_convolutions_load_here_and_are_refused_by_transformers(tmp_path: Path) -> None:
    model = save_run(tmp_path / "run", SPEECH, "ctc-conv")
    waveforms = torch.randn(2, 4000)
    with torch.no_grad():
        assert torch.equal(data2vec.load(tmp_path / "run").logits(waveforms), model(waveforms))
    with pytest.raises(UserError, match=r"finetune\.head=conv; use format=data2vec"):
        export(tmp_path / "run", tmp_path / "out", "huggingface")
    assert main(["export", f"run_dir={tmp_path / 'run'}", f"out={tmp_path / 'out'}", "format=data2vec"]) == 0
    assert torch.equal(data2vec.load(tmp_path / "out").logits(waveforms), model(waveforms))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (VISION2, "2.0"),
        (VISION | {"method": "simmim"}, "simmim"),
        (changed(TEXT, model={"norm": "pre"}), "model.norm"),
        (changed(TEXT, text={"embedding_scale": True}), "embedding_scale"),
        (changed(SPEECH, speech={"conv_norm": "group"}), "conv_norm"),
        (changed(VISION, model={"extra_tokens": 0, "relative_positions": "none"}), "extra_tokens"),
    ],
)
def test_what_transformers_does_not_have_is_refused(values: dict[str, Any], words: str, tmp_path: Path) -> None:
    save_run(tmp_path / "run", values)
    with pytest.raises(UserError, match=words):
        export(tmp_path / "run", tmp_path / "out", "huggingface")
    assert not (tmp_path / "out").exists()
