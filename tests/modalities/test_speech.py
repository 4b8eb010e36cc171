"""Speech: every length and ratio gives masks or a clear error, padding changes nothing, and who sees what."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import pad

from data2vec.compose import compose
from data2vec.config import RunConfig, validate
from data2vec.errors import UserError
from data2vec.masking import sample_frame_masks
from data2vec.methods.build import build_method
from data2vec.methods.step import Batch
from data2vec.modalities.speech import draw_masks
from data2vec.nn.encoder import Masks, padding_bias
from data2vec.nn.waveform import frame_padding, frames_of, samples_of
from data2vec.sections import MaskConfig

METHODS = ("data2vec", "data2vec2")
LAYERS = [(8, 10, 5), (8, 3, 2), (8, 2, 2)]
fast = settings(max_examples=80, derandomize=True, deadline=None)
few = settings(max_examples=15, derandomize=True, deadline=None)


def tiny(method: str, **sections: dict) -> RunConfig:
    values: dict = {
        "modality": "speech",
        "method": method,
        "speech": {"conv_layers": LAYERS, "pos_conv_width": 15, "pos_conv_depth": 3, "pos_conv_groups": 4},
        "model": {"dim": 16, "heads": 2, "depth": 2, "mlp_ratio": 2.0},
        "mask": {"sampler": "span", "ratio": 0.5, "length": 4},
        "target": {"top_k": 2, "norm_average": []},
        "teacher": {"scope": "context", "copied": ["context.pos_conv.*"]},
        "decoder": {"dim": 16, "layers": 1, "groups": 4, "noise_std": 0.0},
    }
    if method == "data2vec2":
        values["model"] |= {"alibi": "1d", "prenet_depth": 1}
        values["mask"] = {"sampler": "block_1d", "ratio": 0.5, "length": 3, "clones": 2}
        values["teacher"] = {"scope": "context"}
    for name, section in sections.items():
        values[name] = values[name] | section
    return validate(values)


def build(config: RunConfig) -> torch.nn.Module:
    """A method whose biases and norms are far from the plain start, so that mistakes show."""
    torch.manual_seed(0)
    method = build_method(config)
    for parameter in method.encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    method.update_teacher(0.0)
    return method.eval()


def batch_for(config: RunConfig, rows: int = 3, samples: int = 800) -> Batch:
    waveforms = torch.randn(rows, samples, generator=torch.Generator().manual_seed(0))
    lengths = np.arange(rows) * 120 + samples
    return Batch(waveforms, draw_masks(config, samples, lengths, np.random.default_rng(0)))


# ---- frames and masks


@fast
@given(st.integers(0, 3000), st.lists(st.tuples(st.integers(1, 12), st.integers(1, 6)), min_size=1, max_size=4))
def test_frames_are_those_of_the_convolutions(samples: int, shape: list[tuple[int, int]]) -> None:
    layers = [(4, kernel, stride) for kernel, stride in shape]
    frames = frames_of(samples, layers)
    assert frames >= 0
    if frames:
        stack = torch.nn.Sequential(*(torch.nn.Conv1d(1, 1, k, s) for _, k, s in layers))
        assert stack(torch.zeros(1, 1, samples)).shape[-1] == frames
        assert samples_of(frames, layers) <= samples < samples_of(frames + 1, layers)
    else:
        assert samples < samples_of(1, layers)
    assert frames_of(torch.tensor([samples]), layers).item() == frames
    assert frames_of(np.array([samples]), layers).tolist() == [frames]


def test_frames_of_the_published_stack() -> None:
    layers = compose({"modality": "speech"}).speech.conv_layers
    assert [frames_of(n, layers) for n in (399, 400, 16_000, 160_000, 249_600, 320_000)] == [0, 1, 49, 499, 779, 999]
    assert samples_of(1, layers) == 400


@fast
@given(
    st.sampled_from(["span", "block_1d"]),
    st.sampled_from(["equalised", "free"]),
    st.integers(1, 90),
    st.lists(st.integers(0, 30), min_size=1, max_size=4),
    st.integers(1, 3),
    st.floats(0, 1),
    st.integers(1, 12),
    st.integers(0, 2**32 - 1),
)
def test_every_length_and_ratio_gives_valid_masks_or_a_clear_error(
    sampler: str, counts: str, frames: int, longer: list[int], clones: int, ratio: float, length: int, seed: int
) -> None:
    config = MaskConfig(sampler=sampler, counts=counts, ratio=ratio, length=length)
    whole = frames + np.array(longer)
    try:
        masks = sample_frame_masks(config, frames, whole, clones, np.random.default_rng(seed))
    except UserError as error:
        assert "\n" not in str(error)
        return
    assert masks.shape == (len(longer) * clones, frames) and masks.dtype == bool
    assert masks.any() and not masks[0].all()
    if counts == "equalised":
        assert len(set(masks.sum(1))) == 1
        assert Masks.from_numpy(masks).visible is not None


def test_masks_drawn_for_the_whole_recording_differ_in_their_counts() -> None:
    """As released (P-I2): the first row's count decides how many positions every row's student sees."""
    config = tiny("data2vec2", mask={"counts": "free", "clones": 4})
    masks = draw_masks(config, 800, np.array([1600, 2400, 800]), np.random.default_rng(0))
    counts = masks.is_masked.sum(1)
    assert len(set(counts.tolist())) > 1 and masks.visible is not None
    assert masks.visible.shape[1] == masks.is_masked.shape[1] - int(counts[0])
    shown = masks.is_masked.gather(1, masks.visible).sum(1)
    assert torch.equal(shown, (counts - counts[0]).clamp(min=0))  # so many hidden frames leak to the student
    batch = Batch(torch.randn(3, 800), masks)
    output = build(config)(batch)
    assert output.loss.isfinite() and int(output.sample_size) == int(counts.sum())


@pytest.mark.parametrize("method", METHODS)
def test_masks_are_a_function_of_their_generator(method: str) -> None:
    config = tiny(method)
    lengths = np.array([900, 1000])
    a, b = (draw_masks(config, 800, lengths, np.random.default_rng(5)) for _ in range(2))
    assert torch.equal(a.is_masked, b.is_masked)
    assert not torch.equal(a.is_masked, draw_masks(config, 800, lengths, np.random.default_rng(6)).is_masked)


# ---- padding


@few
@given(st.sampled_from(METHODS), st.sampled_from(["post", "pre"]), st.integers(45, 500), st.integers(1, 300))
def test_padding_does_not_change_real_frames(method: str, norm: str, samples: int, longer: int) -> None:
    """With layer norm in the convolutions: alone, or padded within a batch, a recording has the same features."""
    config = tiny(method, model={"norm": norm, "final_norm": norm == "pre"})
    encoder = build(config).encoder
    waveform = torch.randn(1, samples, generator=torch.Generator().manual_seed(samples))
    batch = torch.cat([pad(waveform, (0, longer)), torch.randn(1, samples + longer)])
    padding = frame_padding(torch.tensor([samples, samples + longer]), samples + longer, LAYERS)
    alone = encoder(waveform).x
    together = encoder(batch, padding).x[:1, : alone.shape[1]]
    assert torch.allclose(together, alone, atol=2e-4, rtol=1e-4)


@few
@given(st.sampled_from(METHODS), st.integers(100, 500), st.integers(20, 200))
def test_padding_as_released_changes_the_frames_before_it(method: str, samples: int, longer: int) -> None:
    """What the chained position convolutions write into the padding reaches back; the frames themselves are equal."""
    encoder = build(tiny(method, speech={"pos_conv_padding": "released"})).encoder
    waveform = torch.randn(1, samples, generator=torch.Generator().manual_seed(samples))
    padding = frame_padding(torch.tensor([samples]), samples + longer, LAYERS)
    if padding is None or not padding.any():
        return
    padded = pad(waveform, (0, longer))
    frames = frames_of(samples, LAYERS)
    assert torch.allclose(encoder.local(padded)[:, :frames], encoder.local(waveform), atol=1e-5)
    assert not torch.allclose(encoder(padded, padding).x[:, :frames], encoder(waveform).x, atol=1e-4)


@few
@given(st.sampled_from(METHODS), st.integers(100, 500), st.integers(20, 200))
def test_group_norm_depends_on_the_padded_length_and_on_nothing_else(method: str, samples: int, longer: int) -> None:
    """Each channel is normalised over time, padding included, so padding does change features: by construction.

    What holds: other recordings of the batch change nothing, nor does what stands in frames of padding later on.
    """
    encoder = build(tiny(method, speech={"conv_norm": "group"})).encoder
    waveform = torch.randn(1, samples, generator=torch.Generator().manual_seed(samples))
    padded = pad(waveform, (0, longer))
    lengths = torch.tensor([samples, samples + longer])
    padding = frame_padding(lengths, samples + longer, LAYERS)
    mine = None if padding is None else padding[:1]
    frames = frames_of(samples, LAYERS)
    alone = encoder(padded, mine).x[:, :frames]
    together = encoder(torch.cat([padded, torch.randn(1, samples + longer)]), padding).x[:1, :frames]
    assert torch.allclose(together, alone, atol=2e-4, rtol=1e-4)
    local = encoder.local(padded)
    if mine is not None and mine.any():
        garbage = torch.where(mine.unsqueeze(-1), torch.full_like(local, 7.0), local)
        tokens = encoder.context(garbage, mine)
        assert torch.allclose(encoder.run_trunk(tokens).x[:, :frames], alone, atol=2e-4, rtol=1e-4)
        assert not torch.allclose(encoder.local(waveform), local[:, :frames], atol=1e-4)


# ---- who sees what


@pytest.mark.parametrize("method", METHODS)
def test_teacher_equals_student_at_the_start_and_gets_no_gradient(method: str) -> None:
    config = tiny(method)
    torch.manual_seed(0)
    model = build_method(config)
    student = model.encoder.state_dict()
    assert model.teacher.encoder.local is None  # the convolutions are shared
    for name, value in model.teacher.encoder.state_dict().items():
        assert torch.equal(value, student[name]), name
    model(batch_for(config)).loss.backward()
    assert all(p.grad is None and not p.requires_grad for p in model.teacher.parameters())
    assert all(p.grad is not None for n, p in model.encoder.named_parameters() if n.startswith("local."))


def test_position_convolutions_are_copied_in_1_and_averaged_in_2() -> None:
    for method, copied in (("data2vec", True), ("data2vec2", False)):
        model = build(tiny(method))
        weight, own = (e.context.pos_conv.convs[0].weight for e in (model.encoder, model.teacher.encoder))
        with torch.no_grad():
            weight += 1
        model.update_teacher(0.75)
        assert torch.allclose(own, weight if copied else weight - 0.75)


def test_visible_only_encoding_equals_full_encoding_with_hidden_keys_masked() -> None:
    """The positions come from the same sequence with zeros at hidden frames in both."""
    config = tiny("data2vec2", speech={"hidden_std": 0.0})
    encoder = build(config).encoder
    batch = batch_for(config)
    hidden = batch.masks.is_masked
    short = encoder(batch.inputs, None, batch.masks).x
    context = encoder.context
    x = context.select(encoder.local(batch.inputs), None, Masks(hidden, None))  # all frames stay
    bias = context.alibi(x.shape[1]) + padding_bias(hidden, 0)
    x, _ = context.blocks(context.norm(x), bias)
    full, _ = encoder.trunk(x, bias)
    assert torch.allclose(full[~hidden], short.flatten(0, 1), atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_only_hidden_frames_enter_the_loss(method: str) -> None:
    config = tiny(method)
    model, batch = build(config), batch_for(config)
    output = model(batch)
    (gradient,) = torch.autograd.grad(output.loss, output.pred)
    assert torch.equal(gradient.abs().sum(-1) > 0, batch.masks.is_masked)


@pytest.mark.parametrize("method", METHODS)
def test_student_does_not_see_the_features_of_hidden_frames(method: str) -> None:
    config = tiny(method, mask={"clones": 1})
    encoder = build(config).encoder
    batch = batch_for(config, rows=2)
    local = encoder.local(batch.inputs)
    other = torch.where(batch.masks.is_masked.unsqueeze(-1), torch.randn_like(local), local)
    a, b = (encoder.run_trunk(encoder.context(x, None, batch.masks)).x for x in (local, other))
    assert torch.allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("factor", [0.0, 0.5])
def test_gradient_into_the_convolutions_is_scaled(factor: float) -> None:
    gradients = []
    for grad_mult in (1.0, factor):
        config = tiny("data2vec", speech={"feature_grad_mult": grad_mult})
        model = build(config)
        model(batch_for(config)).loss.backward()
        gradients.append({n: p.grad for n, p in model.encoder.local.named_parameters()})
    whole, scaled = gradients
    for name, gradient in scaled.items():
        if not name.startswith("stack."):
            assert torch.allclose(gradient, whole[name], rtol=1e-4, atol=1e-5)
        elif factor == 0:
            assert gradient is None
        else:
            assert torch.allclose(gradient, factor * whole[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("model", "dim", 18),
        ("mask", "sampler", "beit_block"),
        ("speech", "micro_seconds", 333.0),
        ("speech", "max_seconds", 1000.0),
    ],
)
def test_settings_that_cannot_work_are_named(method: str, section: str, key: str, value: object) -> None:
    with pytest.raises(UserError, match=key):
        tiny(method, **{section: {key: value}})


# ---- recipes


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model", ["tiny", "mini", "base", "large"])
def test_every_size_has_a_recipe_and_the_released_one_differs_as_stated(method: str, model: str) -> None:
    words = {"modality": "speech", "method": method, "model": model, "data": "an4"}
    plain, released = compose(words), compose(words | {"variant": "released"})
    assert plain.speech.min_seconds == 1.0 and plain.mask.counts == "equalised"
    assert plain.speech.pos_conv_padding == "zeroed" and released.speech.pos_conv_padding == "released"
    assert released.mask.counts == ("free" if method == "data2vec2" else "equalised")
    assert released.optim.weight_decay_on == "all"


@pytest.mark.slow
@pytest.mark.parametrize(("method", "count"), [("data2vec", 93_754_880), ("data2vec2", 93_783_308)])
def test_base_models_have_the_published_number_of_parameters(method: str, count: int) -> None:
    config = compose({"modality": "speech", "method": method, "model": "base"})
    model = build_method(config)
    assert sum(p.numel() for n, p in model.named_parameters() if not n.startswith("teacher.")) == count
