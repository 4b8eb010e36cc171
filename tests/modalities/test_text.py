"""Text: what student and teacher see, whatever the lengths and mask ratios, and that padding changes nothing."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data2vec.compose import compose
from data2vec.config import RunConfig, validate
from data2vec.data.text import pad_rows
from data2vec.data.vocabulary import BOS, EOS, PAD, WORDS
from data2vec.errors import UserError
from data2vec.methods.build import build_encoder, build_method
from data2vec.modalities.tokens import text_views
from data2vec.nn.encoder import Masks
from data2vec.training.streams import text_batch

VOCAB = 40
MASK = VOCAB - 1
fast = settings(max_examples=60, derandomize=True, deadline=None)
few = settings(max_examples=10, derandomize=True, deadline=None)
lengths = st.lists(st.integers(1, 20), min_size=1, max_size=4)


def tiny(method: str, **sections: dict) -> RunConfig:
    values: dict = {
        "modality": "text",
        "method": method,
        "data": {"vocab_size": VOCAB},
        "text": {"tokens_per_sample": 20, "max_positions": 20},
        "model": {"dim": 16, "heads": 2, "depth": 2, "mlp_ratio": 2.0, "absolute_positions": "learned"},
        "mask": {"sampler": "tokens", "ratio": 0.4, "length": 1, "keep": 0.1, "randomise": 0.1},
        "target": {"top_k": 2, "norm_layer": ["layer"], "norm_average": []},
        "teacher": {"scope": "encoder", "copied": ["local.*"]},
        "decoder": {"dim": 16, "layers": 1, "groups": 1, "kernel": 3, "projection_layers": 2},
    }
    if method == "data2vec2":
        values["mask"] = {"sampler": "random", "ratio": 0.4, "length": 1, "clones": 2}
        values["teacher"] = {"scope": "trunk"}
    for name, section in sections.items():
        values[name] = values[name] | section
    return validate(values)


def build(config: RunConfig) -> torch.nn.Module:
    """A method whose embeddings and biases are far from the small start, so that mistakes show."""
    torch.manual_seed(0)
    method = build_method(config)
    for parameter in method.encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    method.update_teacher(0.0)
    return method


def sentences_of(sizes: list[int], seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = [rng.integers(WORDS, MASK, size) for size in sizes]
    for row in rows:
        row[0], row[-1] = BOS, EOS if len(row) > 1 else BOS
    return rows


def views(config: RunConfig, rows: list[np.ndarray], seed: int = 0) -> dict[str, np.ndarray]:
    return dict(text_views(*pad_rows(rows), np.random.default_rng(seed), config))


@fast
@given(lengths, st.floats(0, 1), st.integers(1, 4), st.sampled_from(["full", "masked_only"]))
def test_tokens_are_hidden_by_id_at_real_positions_only(
    sizes: list[int], ratio: float, span: int, teacher_input: str
) -> None:
    mask = {"ratio": ratio, "length": span}
    config = tiny("data2vec", mask=mask, text={"teacher_input": teacher_input})
    tokens, _ = pad_rows(sentences_of(sizes))
    if ratio == 0:
        with pytest.raises(UserError, match=r"mask\.ratio = 0"):
            views(config, sentences_of(sizes))
        return
    seen = views(config, sentences_of(sizes))
    hidden, padding = seen["is_masked"], tokens == PAD
    assert (seen["inputs"][hidden] == MASK).all() and (seen["inputs"] == MASK).sum() == hidden.sum()
    assert not (hidden & padding).any() and (seen["inputs"][padding] == PAD).all()
    assert ("padding" in seen) == padding.any()
    shown = ~seen["teacher_padding"] if "teacher_padding" in seen else np.ones_like(padding)
    assert (seen["teacher_inputs"][shown] == tokens[shown]).all() and shown.any(1).all()
    assert (seen["teacher_inputs"][~shown] == PAD).all()


@fast
@given(lengths, st.floats(0, 1), st.integers(1, 3))
def test_random_masks_hide_equally_many_and_leave_a_token(sizes: list[int], ratio: float, clones: int) -> None:
    config = tiny("data2vec2", mask={"ratio": ratio, "clones": clones})
    width = max(sizes)
    kept = int(width * (1 - ratio))
    if ratio == 0 or kept == 0:
        with pytest.raises(UserError, match="mask"):
            views(config, sentences_of(sizes))
        return
    seen = views(config, sentences_of(sizes))
    hidden = seen["is_masked"]
    assert hidden.shape == (len(sizes) * clones, width) and (hidden.sum(1) == width - kept).all()
    is_real = (np.arange(width) < np.array(sizes)[:, None]).repeat(clones, 0)
    assert (~hidden & is_real).any(1).all()


@few
@given(lengths, st.floats(0.05, 0.95), st.sampled_from(["full", "masked_only"]))
@pytest.mark.parametrize("method", ["data2vec", "data2vec2"])
def test_every_step_is_finite(method: str, sizes: list[int], ratio: float, teacher_input: str) -> None:
    config = tiny(method, mask={"ratio": ratio}, text={"teacher_input": teacher_input})
    if method == "data2vec2" and int(max(sizes) * (1 - ratio)) == 0:
        return
    model = build(config)
    seen = views(config, sentences_of(sizes))
    output = model(text_batch({name: torch.from_numpy(value) for name, value in seen.items()}))
    assert output.loss.isfinite() and output.sample_size == seen["is_masked"].sum()
    assert output.pred.isfinite().all() and output.target.isfinite().all()


def test_the_teacher_reads_the_unmasked_sentence() -> None:
    """The released pipeline hands it only the selected tokens (public bug report); ours is one key away."""
    rows = sentences_of([20, 13])
    tokens, _ = pad_rows(rows)
    full = views(tiny("data2vec"), rows)
    assert (full["teacher_inputs"] == tokens).all() and (full["inputs"] != tokens).any()
    assert (full["teacher_padding"] == (tokens == PAD)).all()
    released = views(tiny("data2vec", text={"teacher_input": "masked_only"}), rows)
    changed = released["inputs"] != tokens
    assert not released["teacher_padding"][changed].any() and released["teacher_padding"].any(1).all()
    batch = text_batch({name: torch.from_numpy(value) for name, value in full.items()})
    model = build(tiny("data2vec")).eval()
    expected = model.teacher.encoder(torch.from_numpy(tokens), torch.from_numpy(tokens) == PAD, feature="ffn")
    target = torch.stack([torch.nn.functional.layer_norm(y, y.shape[-1:]) for y in expected.features]).mean(0)
    assert torch.allclose(model(batch).target, target, atol=1e-6)


@pytest.mark.parametrize("method", ["data2vec", "data2vec2"])
def test_teacher_equals_student_at_the_start(method: str) -> None:
    model = build_method(tiny(method))
    student = model.encoder.state_dict()
    teacher = model.teacher.encoder.state_dict()
    assert teacher and all(torch.equal(value, student[name]) for name, value in teacher.items())


def test_embeddings_of_the_teacher_are_copied_and_its_blocks_averaged() -> None:
    model = build(tiny("data2vec"))
    for parameter in model.encoder.parameters():
        parameter.data += 1
    model.update_teacher(0.9)
    student = dict(model.encoder.named_parameters())
    for name, mine in model.teacher.encoder.named_parameters():
        gap = (student[name] - mine).detach()
        assert torch.allclose(gap, torch.full_like(gap, 0.0 if name.startswith("local.") else 0.9), atol=1e-5), name


@pytest.mark.parametrize(
    ("method", "model"),
    [
        ("data2vec", {}),
        ("data2vec", {"norm": "pre", "final_norm": True, "absolute_positions": "sincos"}),
        ("data2vec2", {}),
        ("data2vec2", {"absolute_positions": "none", "alibi": "1d", "prenet_depth": 1, "extra_tokens": 1}),
    ],
)
def test_padding_changes_nothing(method: str, model: dict) -> None:
    encoder = build(tiny(method, model=model)).encoder.eval()
    short = torch.from_numpy(sentences_of([7])[0])[None]
    alone = encoder(short).x
    for extra in (1, 2, 13):
        padded = torch.nn.functional.pad(short, (0, extra), value=PAD)
        assert torch.allclose(encoder(padded, padded == PAD).x[:, :7], alone, atol=1e-5)


def test_visible_padding_changes_nothing_for_the_student_of_2_0() -> None:
    encoder = build(tiny("data2vec2")).encoder.eval()
    padded = torch.from_numpy(pad_rows(sentences_of([9, 12]))[0])[:1]
    hidden = torch.zeros(2, 12, dtype=torch.bool)
    hidden[:, [1, 4, 5]] = True
    with_padding = encoder(padded, padded == PAD, Masks.from_numpy(hidden.numpy())).x[:, :6]
    without = encoder(padded[:, :9], None, Masks.from_numpy(hidden[:, :9].numpy())).x
    assert torch.allclose(with_padding, without, atol=1e-5)


def test_a_sequence_longer_than_the_position_table_is_an_error_that_names_the_limit() -> None:
    for positions in ("learned", "sincos"):
        encoder = build_encoder(tiny("data2vec2", model={"absolute_positions": positions}))
        encoder(torch.full((1, 20), WORDS))
        with pytest.raises(UserError, match=r"21 tokens.*text\.max_positions = 20"):
            encoder(torch.full((1, 21), WORDS))


@pytest.mark.parametrize(
    ("sections", "part"),
    [
        ({"text": {"tokens_per_sample": 21}}, r"text\.tokens_per_sample = 21 .* 2 to text\.max_positions = 20"),
        ({"mask": {"sampler": "random"}}, r"mask\.sampler = random .* tokens"),
        ({"mask": {"keep": 0.5, "randomise": 0.5}}, r"mask\.keep"),
        ({"teacher": {"scope": "trunk"}}, r"teacher\.scope = trunk .* encoder"),
        ({"data": {"vocab_size": 5}}, r"data\.vocab_size = 5 .* at least 6"),
    ],
)
def test_impossible_configurations_are_refused(sections: dict, part: str) -> None:
    with pytest.raises(UserError, match=part):
        tiny("data2vec", **sections)


@pytest.mark.parametrize(
    ("method", "model", "count"),
    [
        ("data2vec", "base", 126_415_872),
        ("data2vec2", "base", 152_961_792),
        ("data2vec2", "large", 385_379_584),
    ],
)
def test_published_recipes_have_the_published_number_of_parameters(method: str, model: str, count: int) -> None:
    config = compose({"modality": "text", "method": method, "model": model, "data": "textfolder"})
    with torch.device("meta"):
        built = build_method(config)
    assert sum(p.numel() for name, p in built.named_parameters() if not name.startswith("teacher.")) == count
