"""Batches of whole recordings for fine-tuning and evaluation: padded waveforms, padding and masks of their frames."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from data2vec.config import RunConfig
from data2vec.data.audio import SAMPLE_RATE, Recordings
from data2vec.data.buckets import PaddedBatches, audio_batches
from data2vec.data.loading import loader
from data2vec.downstream.ctc import SpecAugment, finetuning_masks
from data2vec.errors import UserError
from data2vec.nn.encoder import Masks
from data2vec.nn.waveform import frame_padding, frames_of
from data2vec.training.device import Device

_MASKS = 3  # a random stream of its own, beside those of data/buckets.py


@dataclass
class SpeechInput:
    """Waveforms (B, S), which frames (B, T) are padding (None: none), masks in training, and which recordings."""

    waveforms: Tensor
    padding: Tensor | None
    masks: Masks | None
    indices: Tensor
    frames: list[int]
    number: int = 0


class SpeechBatches:
    """Endless training batches of recordings of similar length; batch n depends on (seed, n) alone."""

    def __init__(self, config: RunConfig, train: Recordings, device: Device) -> None:
        ft = config.finetune
        seconds, longest = ft.micro_seconds or ft.batch_seconds, int(train.lengths.max()) / SAMPLE_RATE
        if longest > seconds:
            raise UserError(
                f"a forward pass of finetune.micro_seconds = {seconds:g} cannot hold a recording of {longest:.1f} s: "
                "raise it, or leave that recording out"
            )
        self.config, self.device = config, device
        self.accumulation = round(ft.batch_seconds / seconds)
        self.stream = PaddedBatches(train, round(seconds * SAMPLE_RATE), config.seed)

    def __call__(self, first: int, last: int, every: int = 1) -> Iterator[SpeechInput]:
        """Batches `first` to `last` - 1, each or one of `every`, on the device."""
        made = loader(self.stream, first, last, self.config.train.workers, every)
        for number, item in zip(range(first, last, every), made, strict=True):
            yield _input(item, self.config, self.device, number)


def evaluation_inputs(
    recordings: Recordings, config: RunConfig, device: Device, seconds: float | None = None
) -> Iterator[SpeechInput]:
    """Every recording once, without masks; `seconds` of audio at a time, else as many as in training."""
    seconds = seconds or config.finetune.micro_seconds or config.finetune.batch_seconds
    for item in audio_batches(recordings, None, seconds, config.train.workers):
        yield _input(item, config, device)


def _input(item: dict[str, Tensor], config: RunConfig, device: Device, number: int | None = None) -> SpeechInput:
    """A padded batch on the device, with the masks of training batch `number` if it is one."""
    waveforms, lengths, layers = item["waveforms"], item["lengths"], config.speech.conv_layers
    frames = frames_of(lengths.numpy(), layers)
    padding = frame_padding(lengths, waveforms.shape[1], layers)
    masks = None
    if number is not None:
        ft = config.finetune
        options = SpecAugment(ft.mask_ratio, ft.mask_length, ft.channel_ratio, ft.channel_length)
        rng = np.random.default_rng((config.seed, _MASKS, number))
        width = int(frames_of(waveforms.shape[1], layers))
        masks = finetuning_masks(options, frames, width, config.model.dim, rng).to(device.torch)
    on_device = None if padding is None else padding.to(device.torch)
    waveforms = waveforms.to(device.torch, non_blocking=True)
    return SpeechInput(waveforms, on_device, masks, item["indices"], frames.tolist(), number or 0)
