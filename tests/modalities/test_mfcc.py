"""MFCC of the waveform encoder's frames."""

import pytest
import torch

from data2vec.modalities.mfcc import MFCC_SIZE, FrameMFCC
from data2vec.nn.waveform import Layers, frames_of

PUBLISHED: Layers = [(8, 10, 5), *[(8, 3, 2)] * 4, *[(8, 2, 2)] * 2]
STACKS = {"published": PUBLISHED, "odd hop": [(8, 10, 5), (8, 3, 3)], "long window": [(8, 1000, 320)]}


@pytest.mark.parametrize("layers", STACKS.values(), ids=STACKS)
@pytest.mark.parametrize("samples", [3_999, 4_000, 16_001])
def test_there_is_one_vector_for_each_frame(layers: Layers, samples: int) -> None:
    vectors = FrameMFCC(layers)(torch.randn(2, samples))
    assert vectors.shape == (2, frames_of(samples, layers), MFCC_SIZE)


def test_the_coefficients_of_a_frame_depend_on_its_window_only() -> None:
    """Frame t sees samples 320 t to 320 t + 399; its differences reach some frames further."""
    torch.manual_seed(0)
    wave, mfcc = torch.randn(1, 16_000), FrameMFCC(PUBLISHED)
    before = mfcc(wave)
    changed = wave.clone()
    changed[:, 20 * 320 : 20 * 320 + 400] += 1.0
    moved = (mfcc(changed) - before).abs().amax(-1)[0] > 1e-4
    static = (mfcc(changed) - before)[..., :13].abs().amax(-1)[0] > 1e-4
    assert static.nonzero().flatten().tolist() == [19, 20, 21]  # windows overlap by 80 samples
    assert moved.nonzero().flatten().tolist() == list(range(17, 24))


def test_a_change_of_loudness_moves_the_first_coefficient_only() -> None:
    torch.manual_seed(0)
    wave, mfcc = torch.randn(1, 16_000), FrameMFCC(PUBLISHED)
    difference = (mfcc(2 * wave) - mfcc(wave))[0, 5:-5]
    assert (difference[:, 0] > 1).all()
    assert difference[:, 1:].abs().max() < 1e-3
