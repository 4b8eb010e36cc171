"""Pixels out of image files, with the file's name in every complaint."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from data2vec.errors import UserError


def decode_rgb(content: bytes | Path, name: str) -> NDArray[np.uint8]:
    """RGB pixels (H, W, 3) of an encoded image; grey and palette images are converted.

    Raises:
        UserError: the image is empty, cut short or no image; the message begins with `name`.
    """
    try:
        with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as image:
            # By way of RGBA for transparent palettes, as Pillow asks for with a warning.
            has_palette_alpha = image.mode == "P" and "transparency" in image.info
            return np.asarray((image.convert("RGBA") if has_palette_alpha else image).convert("RGB"))
    except FileNotFoundError as error:
        raise UserError(f"{name} is gone: it was there when the data set was prepared") from error
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        # Pillow's PNG reader raises SyntaxError on a broken header.
        reason = "is empty (0 bytes)" if _is_empty(content) else f"cannot be decoded ({error})"
        raise UserError(f"image {name} {reason}: repair or remove it, then prepare again") from error


def _is_empty(content: bytes | Path) -> bool:
    return not content if isinstance(content, bytes) else content.stat().st_size == 0
