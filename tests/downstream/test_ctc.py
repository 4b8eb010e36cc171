"""Speech recognition head: what padding, masks and frozen convolutions do to it."""

import numpy as np
import pytest
import torch
from torch.nn.functional import pad

from data2vec.config import RunConfig, validate
from data2vec.downstream.ctc import (
    BLANK,
    ConvReader,
    CTCModel,
    SpecAugment,
    ctc_loss,
    finetuning_masks,
    log_probabilities,
)
from data2vec.methods.build import build_encoder
from data2vec.methods.targets import normalise
from data2vec.nn.waveform import frame_padding, frames_of

LAYERS = [(8, 10, 5), (8, 3, 2), (8, 2, 2)]
METHODS = ("data2vec", "data2vec2")
LENGTHS = (1000, 760, 830)


def config_for(method: str, **speech: object) -> RunConfig:
    return validate(
        {
            "modality": "speech",
            "method": method,
            "speech": {"conv_layers": LAYERS, "pos_conv_width": 15, "pos_conv_depth": 3, "pos_conv_groups": 4} | speech,
            "model": {"dim": 16, "heads": 2, "depth": 2, "alibi": "1d" if method == "data2vec2" else "none"},
            "mask": {"sampler": "span" if method == "data2vec" else "block_1d"},
            "target": {"top_k": 2},
            "decoder": {"dim": 16},
        }
    )


def model_for(method: str, reader: bool = False, **speech: object) -> CTCModel:
    torch.manual_seed(0)
    model = CTCModel(build_encoder(config_for(method, **speech)), 16, 7, reader=reader).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def batch() -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor | None]:
    generator = torch.Generator().manual_seed(1)
    waveforms = [torch.randn(1, n, generator=generator) for n in LENGTHS]
    together = torch.cat([pad(w, (0, max(LENGTHS) - w.shape[1])) for w in waveforms])
    return waveforms, together, frame_padding(torch.tensor(LENGTHS), max(LENGTHS), LAYERS)


@pytest.mark.parametrize("reader", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_a_padded_batch_gives_the_logits_and_losses_of_its_members(method: str, reader: bool) -> None:
    model = model_for(method, reader)
    waveforms, together, padding = batch()
    targets, lengths = torch.tensor([[4, 5, 6], [5, 1, 1], [6, 4, 1]]), torch.tensor([3, 1, 2])
    logits = model(together, padding)
    total = 0.0
    for i, waveform in enumerate(waveforms):
        alone = model(waveform)
        assert torch.allclose(logits[i, : alone.shape[1]], alone[0], atol=2e-4)
        total += ctc_loss(alone, None, targets[i : i + 1], lengths[i : i + 1]).item()
    assert ctc_loss(logits, padding, targets, lengths).item() == pytest.approx(total, rel=1e-4)


def test_frames_of_padding_are_blank_for_certain() -> None:
    logits = torch.randn(2, 5, 4)
    padding = torch.arange(5)[None] >= torch.tensor([[5], [3]])
    log_probs = log_probabilities(logits, padding)
    assert torch.equal(log_probs[1, 3:, BLANK], torch.zeros(2)) and log_probs[1, 3:, 1:].isneginf().all()
    assert torch.equal(log_probs[0], logits[0].log_softmax(-1))


def test_an_utterance_too_short_for_its_text_counts_nothing() -> None:
    logits = torch.randn(1, 3, 6, requires_grad=True)
    loss = ctc_loss(logits, None, torch.tensor([[4, 4, 5, 5]]), torch.tensor([4]))
    loss.backward()
    assert loss.item() == 0 and logits.grad is not None and not logits.grad.any()


@pytest.mark.parametrize("method", METHODS)
def test_frozen_convolutions_get_no_gradient_and_the_projection_does(method: str) -> None:
    """As released only the convolution stack is frozen (P-C2)."""
    model = model_for(method, feature_grad_mult=0.0)
    _, together, padding = batch()
    model(together, padding).sum().backward()
    local = dict(model.encoder.local.named_parameters())
    assert all((parameter.grad is None) == name.startswith("stack.") for name, parameter in local.items())


def test_the_convolutional_head_learns_on_a_frozen_encoder() -> None:
    model = model_for("data2vec2", reader=True).train()
    _, together, padding = batch()
    model(together, padding, frozen=True).square().sum().backward()
    got = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert got == {name for name, _ in model.named_parameters() if not name.startswith("encoder.")}
    assert "reader.weights" in got


@pytest.mark.parametrize("reader", [False, True])
def test_with_an_init_scale_of_0_all_letters_begin_equally_likely_on_every_frame(reader: bool) -> None:
    torch.manual_seed(0)
    _, together, padding = batch()
    encoder = build_encoder(config_for("data2vec"))
    even, random = (CTCModel(encoder, 16, 7, reader=reader, init_scale=scale) for scale in (0.0, 1.0))
    logits = even(together, padding)
    assert not logits.any() and random(together, padding).std() > 0.1
    targets, lengths = torch.tensor([[4, 5, 6], [5, 1, 1], [6, 4, 1]]), torch.tensor([3, 1, 2])
    ctc_loss(logits, padding, targets, lengths).backward()
    assert even.output.weight.grad is not None and even.output.weight.grad.any()  # the first update leaves that start


def test_the_convolutional_head_sees_nine_frames_of_the_mean_of_all_blocks() -> None:
    torch.manual_seed(0)
    reader = ConvReader(16, 3).eval()
    states = [torch.randn(1, 40, 16) for _ in range(3)]
    mean = normalise(torch.stack(states).mean(0), "instance")
    assert torch.allclose(reader([mean] * 3, None), reader(states, None), atol=1e-4)
    order = torch.arange(40)
    order[[12, 30]] = order[[30, 12]]  # two frames change places, which leaves mean and variance
    changed = (reader([state[:, order] for state in states], None) - reader(states, None)).abs().amax((0, 2))
    near = torch.zeros(40, dtype=torch.bool)
    near[8:17] = near[26:35] = True
    assert changed[near].min() > 1e-3 and changed[~near].max() < 1e-5


def test_masks_spare_padding_and_hide_whole_channels() -> None:
    options = SpecAugment(time_ratio=0.5, time_length=4, channel_ratio=0.4, channel_length=4)
    frames = np.array([frames_of(n, LAYERS) for n in LENGTHS])
    masks = finetuning_masks(options, frames, frames.max(), 16, np.random.default_rng(0))
    assert masks.visible is None and masks.channels is not None and masks.channels.shape == (3, 16)
    assert not (masks.is_masked & (torch.arange(frames.max()) >= torch.from_numpy(frames)[:, None])).any()
    assert len(set(masks.is_masked.sum(1).tolist())) == 1 and masks.is_masked.any()
    none = finetuning_masks(SpecAugment(0.0, 4, 0.0, 4), frames, frames.max(), 16, np.random.default_rng(0))
    assert not none.is_masked.any() and none.channels is None


@pytest.mark.parametrize(("method", "std"), [("data2vec", 0.0), ("data2vec2", 0.0), ("data2vec2", 0.5)])
def test_masked_frames_stay_in_the_sequence(method: str, std: float) -> None:
    """2.0 puts noise or zeros there, 1.0 its mask token; channels are zero everywhere (P-C4)."""
    model = model_for(method, hidden_std=std)
    _, together, padding = batch()
    frames = np.array([frames_of(n, LAYERS) for n in LENGTHS])
    masks = finetuning_masks(SpecAugment(0.5, 4, 0.4, 4), frames, frames.max(), 16, np.random.default_rng(0))
    assert model(together, padding, masks).shape == (3, frames.max(), 7)
    context, features = model.encoder.context, torch.full((3, int(frames.max()), 16), 9.0)
    hidden = context.hide(features, masks) if method == "data2vec" else context.hide(features, masks, std)
    assert masks.channels is not None and not hidden[masks.channels[:, None].expand_as(hidden)].any()
    assert not (hidden[masks.is_masked] == 9).any() and (hidden[~masks.is_masked] == 9).any()
