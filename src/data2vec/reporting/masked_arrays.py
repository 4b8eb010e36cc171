"""Reading masked.npz, whatever the modality: arrays that fit together, or an issue."""

import math
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from data2vec.reporting.files import Issue, short_path
from data2vec.reporting.names import method_rank
from data2vec.reporting.runs import Run

Arrays = dict[str, np.ndarray]
METHODS_MAX = 4  # pictures of one figure


def load_arrays(path: Path, names: Sequence[str], fits: Callable[[Arrays], bool], issues: list[Issue]) -> Arrays | None:
    """The named arrays; None if there is no file, None and an issue if they are absent, broken or do not fit."""
    if not path.exists():
        return None
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name]) for name in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        issues.append(Issue("unreadable", f"{short_path(path)}: {error}"))
        return None
    if not fits(arrays):
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        issues.append(Issue("unreadable", f"{short_path(path)}: shapes do not fit together: {shapes}"))
        return None
    return arrays


def first_of_each_method(
    runs: list[Run], load: Callable[[Path, list[Issue]], Arrays | None], issues: list[Issue]
) -> list[tuple[Run, Arrays]]:
    """For each method its first main run with a picture, 2.0 and 1.0 first."""
    shown: dict[str, tuple[Run, Arrays]] = {}
    for run in sorted(runs, key=lambda run: (method_rank(run.method), run.seed)):
        if run.is_control or run.experiment != "main" or run.method in shown or len(shown) == METHODS_MAX:
            continue
        arrays = load(run.path / "masked.npz", issues)
        if arrays is not None:
            shown[run.method] = (run, arrays)
    return list(shown.values())


def mean_error(error: np.ndarray) -> float:
    """Mean over the hidden positions; NaN if there is none."""
    finite = error[np.isfinite(error)]
    return float(finite.mean()) if finite.size else math.nan
