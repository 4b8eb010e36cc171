"""data2vec 1.0 and 2.0 for images, speech and text.

`data2vec.load(path)` is a pre-trained encoder: `features = encoder(inputs, padding)`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from data2vec.interop.pretrained import PretrainedEncoder

__version__ = "0.1.0"


def load(path: str | Path, weights: str = "student") -> PretrainedEncoder:
    """The encoder of a checkpoint of any kind, in evaluation mode; `data2vec.interop.load.load` says more."""
    from data2vec.interop.load import load as run  # torch is imported when a model is asked for

    return run(path, weights)
