"""Files of a user as inputs of a model: images, recordings and text, prepared as in evaluation."""

from collections.abc import Callable, Iterator
from pathlib import Path

import soundfile
import torch
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms.v2 import functional as F

from data2vec.config import RunConfig
from data2vec.data.audio import SAMPLE_RATE, normalise_waveform
from data2vec.data.augment import normalise
from data2vec.data.batches import EVALUATION_CROP
from data2vec.data.decode import decode_rgb
from data2vec.data.recordings import EXTENSIONS, read_mono
from data2vec.data.vocabulary import BOS, EOS, Tokenizer
from data2vec.errors import UserError
from data2vec.nn.waveform import samples_of

MAX_SECONDS = 60.0
"""Longer recordings are encoded in pieces: attention takes memory by the square of their length."""

Reader = Callable[[Path], list[Tensor]]
"""A file -> the model's inputs (1, ...), whose features are laid end to end."""

SUFFIXES = {"vision": IMG_EXTENSIONS, "speech": EXTENSIONS, "text": (".txt",)}


def files_of(folder: Path, modality: str) -> Iterator[Path]:
    """Files of the kind below `folder`, relative to it, in order; hidden ones are left out."""
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in relative.parts)
        if path.name.lower().endswith(SUFFIXES[modality]) and not hidden and path.is_file():
            yield relative


def reader(config: RunConfig, tokenizer: Tokenizer | None) -> Reader:
    """How files become inputs. UserError where a model of text has no vocabulary."""
    if config.modality == "vision":
        return lambda path: [read_image(path, config)]
    if config.modality == "speech":
        return lambda path: read_recording(path, config)
    if tokenizer is None:
        raise UserError(
            "the vocabulary of this model was not found, neither beside the checkpoint nor in the prepared data of its "
            "run: put vocabulary.model, or encoder.json, vocab.bpe and dict.txt, beside it"
        )
    return lambda path: read_text(path, tokenizer, config.text.max_positions)


def read_image(path: Path, config: RunConfig) -> Tensor:
    """(1, 3, S, S): the short side resized to S / 0.875, the centre cropped, normalised; S x S images are whole.

    Raises:
        UserError: it cannot be decoded.
    """
    size = config.vision.image_size
    image = torch.from_numpy(decode_rgb(path, str(path)).transpose(2, 0, 1).copy())
    if image.shape[1:] != (size, size):
        short = [round(size / EVALUATION_CROP)]
        mode = F.InterpolationMode.BICUBIC
        image = F.center_crop(F.resize(image, short, interpolation=mode, antialias=True), [size, size])
    return normalise(image[None], config.vision.mean, config.vision.std)


def read_recording(path: Path, config: RunConfig) -> list[Tensor]:
    """Pieces (1, samples) at 16 kHz of at most a minute, normalised as one recording where the model was.

    Raises:
        UserError: it cannot be decoded, is too short for one frame, or holds values that are not finite.
    """
    try:
        samples, rate = read_mono(path)
    except (soundfile.LibsndfileError, OSError) as error:
        raise UserError(f"recording {path} cannot be decoded ({str(error).splitlines()[0]})") from None
    waveform = torch.from_numpy(samples)
    if rate != SAMPLE_RATE and len(waveform):
        from torchaudio.functional import resample  # type: ignore[import-untyped]

        waveform = resample(waveform, rate, SAMPLE_RATE)
    least = samples_of(1, config.speech.conv_layers)
    if len(waveform) < least:
        raise UserError(f"recording {path} is too short: {len(waveform)} samples at 16 kHz, {least} make one frame")
    if not bool(waveform.isfinite().all()):
        raise UserError(f"recording {path} holds values that are not finite")
    if config.speech.normalise:
        waveform = normalise_waveform(waveform)
    pieces = waveform.split(int(MAX_SECONDS * SAMPLE_RATE))
    return [piece[None] for piece in pieces if len(piece) >= least]


def read_text(path: Path, tokenizer: Tokenizer, max_positions: int) -> list[Tensor]:
    """Ids (1, T) of the whole file between <s> and </s>, in pieces that the position table serves.

    Raises:
        UserError: it is empty or not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (UnicodeDecodeError, OSError) as error:
        raise UserError(f"text {path} cannot be read ({error})") from None
    ids = tokenizer.encode(text.strip())
    if not ids:
        raise UserError(f"text {path} is empty")
    room = max_positions - 2
    return [torch.tensor([[BOS, *ids[i : i + room], EOS]]) for i in range(0, len(ids), room)]
