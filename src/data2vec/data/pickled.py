"""Reading CIFAR's pickled batches without letting a pickle run code.

torchvision's reader unpickles whatever passes an MD5 test. Here only the few constructors that a NumPy array
needs are allowed, so a batch of any origin is safe to read, checksum or not.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from data2vec.errors import UserError


def _dtype(spec: Any, align: Any = False, copy: Any = False) -> np.dtype[Any]:
    return np.dtype(spec, bool(align), bool(copy))  # old pickles say 0 and 1, which NumPy 2.4 warns about


def _constructors() -> dict[tuple[str, str], Callable[..., Any]]:
    allowed: dict[tuple[str, str], Callable[..., Any]] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): _dtype,
        ("_codecs", "encode"): lambda text, encoding: text.encode("latin-1"),  # how Python 3 pickles bytes
    }
    # Where NumPy keeps the two helpers has changed; ask it how it pickles an array today.
    reconstruct = np.zeros(1).__reduce__()[0]
    for module in ("numpy.core", "numpy._core"):
        allowed[f"{module}.multiarray", "_reconstruct"] = reconstruct  # type: ignore[assignment]
    return allowed


_ALLOWED = _constructors()


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed") from None


def read_batch(name: str, content: bytes) -> dict[bytes, Any]:
    """The dictionary in one pickled batch; `name` is for complaints.

    Raises:
        UserError: it is damaged, holds anything but plain values and arrays, or is no dictionary.
    """
    try:
        batch = _ArraysOnly(io.BytesIO(content), encoding="bytes").load()
    except (
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        TypeError,
        AttributeError,
        IndexError,
        KeyError,
    ) as error:
        raise UserError(f"{name} is not a CIFAR-10 batch ({error}): fetch the archive again") from error
    if not isinstance(batch, dict):
        raise UserError(f"{name} is not a CIFAR-10 batch: it holds a {type(batch).__name__}, not a dictionary")
    return batch
