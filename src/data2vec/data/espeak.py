"""The embedded speech set: commands spoken by espeak-ng, the library that the package espeakng-loader brings.

Every sentence is VERB THE COLOUR OBJECT TO DIGIT, 30 words in all. A speaker is a voice at a pitch and a speed; no
speaker and no sentence is in two splits. The sentences of every speaker name each colour equally often.
"""

from __future__ import annotations

import ctypes
import itertools
import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data2vec.errors import UserError

PACKAGE = "espeakng-loader"
VERBS = ("TAKE", "MOVE", "BRING", "DROP")
COLOURS = ("RED", "BLUE", "GREEN", "WHITE", "BLACK", "YELLOW")
OBJECTS = ("BOX", "LAMP", "CUP", "DOOR", "BALL", "CHAIR", "KEY", "BOOK")
DIGITS = ("ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE")
ACCENTS = ("en-us", "en-gb-x-rp")
VARIANTS = {"train": ("m1", "m2", "m3", "m4", "m5", "f1", "f2", "f3"), "valid": ("m6", "f4"), "test": ("m7", "f5")}
PER_SPEAKER = {"train": 24, "valid": 12, "test": 12}

# Of espeak-ng's speak_lib.h.
_SYNCHRONOUS, _DO_NOT_EXIT, _UTF8, _BY_CHARACTER, _SPEED, _PITCH = 2, 0x8000, 1, 1, 1, 3


@dataclass(frozen=True)
class Utterance:
    """One sentence by one speaker; `pitch` 0..100, `speed` in words a minute."""

    split: str
    speaker: str
    voice: str
    pitch: int
    speed: int
    sentence: str

    @property
    def colour(self) -> str:
        """The class of the utterance."""
        return self.sentence.split()[2]


def utterances() -> list[Utterance]:
    """What is said by whom, in a fixed order."""
    rng = np.random.default_rng(0)
    # For each colour the sentences in random order, to be used up one by one.
    sentences = {colour: _sentences(colour, rng) for colour in COLOURS}
    planned = []
    for split, variants in VARIANTS.items():
        for accent, variant in itertools.product(ACCENTS, variants):
            pitch, speed = int(rng.integers(35, 66)), int(rng.integers(145, 191))
            speaker = f"{accent}+{variant}-pitch{pitch}-speed{speed}"
            for i in range(PER_SPEAKER[split]):
                sentence = next(sentences[COLOURS[i % len(COLOURS)]])
                planned.append(Utterance(split, speaker, f"{accent}+{variant}", pitch, speed, sentence))
    return planned


def _sentences(colour: str, rng: np.random.Generator) -> Iterator[str]:
    said = [
        f"{verb} THE {colour} {thing} TO {digit}" for verb, thing, digit in itertools.product(VERBS, OBJECTS, DIGITS)
    ]
    return iter([said[i] for i in rng.permutation(len(said))])


def speak(planned: Sequence[Utterance]) -> tuple[list[NDArray[np.int16]], int]:
    """The samples (n,) of each utterance and their rate in Hz; the same bytes at every call.

    Raises:
        UserError: the library is not there or does not work on this machine.
    """
    load_library()
    # In a process of its own: the library carries state from one utterance to the next, also over a new start.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_speak, (list(planned),))


def load_library() -> tuple[ctypes.CDLL, str]:
    """The library and the folder of its voices.

    Raises:
        UserError: naming the package.
    """
    try:
        import espeakng_loader  # type: ignore[import-untyped]

        return ctypes.CDLL(espeakng_loader.get_library_path()), espeakng_loader.get_data_path()
    except (ImportError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"data=espeak needs the package {PACKAGE}, whose library cannot be loaded here ({reason}): install it with "
            f"`pip install {PACKAGE}`, or choose other data, such as data=audiofolder data.path=FOLDER"
        ) from None


def library_version() -> str:
    """Version of espeak-ng."""
    library, _ = load_library()
    library.espeak_Info.restype = ctypes.c_char_p
    return str(library.espeak_Info(None).decode())


def _speak(planned: list[Utterance]) -> tuple[list[NDArray[np.int16]], int]:
    library, voices = load_library()
    pieces: list[bytes] = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
    def collect(samples: int | None, count: int, events: int | None) -> int:
        if samples and count > 0:
            pieces.append(ctypes.string_at(samples, 2 * count))
        return 0

    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, voices.encode(), _DO_NOT_EXIT)
    if rate <= 0:
        raise UserError(f"espeak-ng does not start with the voices in {voices}: install {PACKAGE} again")
    library.espeak_SetSynthCallback(collect)
    made = []
    for utterance in planned:
        pieces.clear()
        library.espeak_ng_SetRandSeed(ctypes.c_long(0))  # else the time decides on breath and flutter
        text = utterance.sentence.lower().encode()
        failed = library.espeak_SetVoiceByName(utterance.voice.encode())
        failed |= library.espeak_SetParameter(_PITCH, utterance.pitch, 0)
        failed |= library.espeak_SetParameter(_SPEED, utterance.speed, 0)
        failed |= library.espeak_Synth(text, len(text) + 1, 0, _BY_CHARACTER, 0, _UTF8, None, None)
        if failed or not pieces:
            raise UserError(f"espeak-ng cannot say {utterance.sentence!r} in the voice {utterance.voice!r}")
        made.append(np.frombuffer(b"".join(pieces), dtype=np.int16))
    return made, rate
