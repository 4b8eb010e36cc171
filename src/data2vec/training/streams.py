"""Pre-training batches of each modality: augmented inputs with their masks.

Batch number n depends on (seed, n) alone, so a resumed run needs no state of the data side.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from data2vec.config import RunConfig
from data2vec.data.audio import SAMPLE_RATE, Recordings, join, load_audio
from data2vec.data.buckets import CroppedBatches
from data2vec.data.loading import loader
from data2vec.data.text import TextBatches, TextBlocks, TextSet
from data2vec.methods.step import Batch
from data2vec.modalities.speech import draw_masks
from data2vec.modalities.tokens import text_views
from data2vec.nn.encoder import Masks
from data2vec.nn.waveform import samples_of

COMPARES_VIEWS = ("byol", "dino")  # methods that hide nothing


class Batches(Protocol):
    """Batches `first` to `last` - 1; with `every` only first, first + every, ..."""

    def __call__(self, first: int, last: int, every: int = 1) -> Iterator[Batch]:
        """Of these numbers."""
        ...


def pretraining_batches(config: RunConfig) -> Batches:
    """The micro-batches of a pre-training run."""
    return STREAMS[config.modality](config)


def micro_batch_size(config: RunConfig) -> int:
    """Samples per forward pass."""
    return min(config.train.micro_batch or config.train.batch_size, config.train.batch_size)


def micro_batches(config: RunConfig) -> int:
    """Forward passes per update."""
    if config.modality == "speech":
        return round(config.speech.batch_seconds / (config.speech.micro_seconds or config.speech.batch_seconds))
    return config.train.batch_size // micro_batch_size(config)


def num_clones(config: RunConfig) -> int:
    """Masked views per sample: 1 in data2vec 1.0."""
    return config.mask.clones if config.method == "data2vec2" else 1


def _image_batches(config: RunConfig) -> Batches:
    from data2vec.training.image_streams import image_batches  # torchvision takes seconds, only images need it

    return image_batches(config)


def speech_recordings(config: RunConfig) -> Recordings:
    """The recordings of a pre-training run: the training splits of its data set and of those in `data.also`."""
    s, folder = config.speech, Path(config.data_dir)
    shortest = max(round(s.min_seconds * SAMPLE_RATE), samples_of(1, s.conv_layers))
    own = load_audio(folder / config.data.name, config.data.train_split, s.normalise, shortest)
    return join([own, *(load_audio(folder / name, "train", s.normalise, shortest) for name in config.data.also)])


def speech_batches(config: RunConfig) -> Batches:
    """Recordings (B, samples) of about the same length, cropped to the shortest, and masks over their frames."""
    s, recordings = config.speech, speech_recordings(config)

    def masks(rng: np.random.Generator, samples: int, lengths: NDArray[np.int64]) -> dict[str, Any]:
        drawn = draw_masks(config, samples, lengths, rng)
        return {name: value for name, value in drawn._asdict().items() if value is not None}

    budget, longest = (round(x * SAMPLE_RATE) for x in (s.micro_seconds or s.batch_seconds, s.max_seconds))
    stream = CroppedBatches(recordings, budget, longest, config.seed, masks)

    def batches(first: int, last: int, every: int = 1) -> Iterator[Batch]:
        for item in loader(stream, first, last, config.train.workers, every):
            yield Batch(item["waveforms"], Masks(item["is_masked"], item.get("visible")))

    return batches


def text_batches(config: RunConfig) -> Batches:
    """Blocks of token ids (B, T), hidden by their ids, or by random positions of each view (2.0)."""
    dataset = TextSet(Path(config.data_dir) / config.data.name, "train", config.data.vocab_size, config.data.tokenizer)
    blocks = TextBlocks(dataset, config.text.block_mode, config.text.tokens_per_sample)
    stream = TextBatches(blocks, micro_batch_size(config), config.seed, partial(text_views, config=config))

    def batches(first: int, last: int, every: int = 1) -> Iterator[Batch]:
        for item in loader(stream, first, last, config.train.workers, every):
            yield text_batch(item)

    return batches


def text_batch(item: dict[str, Tensor]) -> Batch:
    """What `text_views` makes, as a batch."""
    masks = Masks.from_numpy(item.pop("is_masked").numpy())
    return Batch(item.pop("inputs"), masks, **item)


STREAMS: dict[str, Callable[[RunConfig], Batches]] = {
    "vision": _image_batches,
    "speech": speech_batches,
    "text": text_batches,
}
