"""What was masked in images, what the student saw of them, and how wrong it was, from masked.npz."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import SubFigure

from data2vec.reporting.drawing import Figure, new_canvas, placeholder
from data2vec.reporting.files import Issue
from data2vec.reporting.masked_arrays import Arrays, first_of_each_method, load_arrays, mean_error
from data2vec.reporting.names import method_label
from data2vec.reporting.runs import Run

ARRAYS = ("images", "is_masked", "error", "reconstruction")
IMAGES_MAX = 6
HIDDEN = np.array([0.72, 0.76, 0.84])  # flat blue-grey: stands apart from photographs and from ink


def load_masked(path: Path, issues: list[Issue]) -> Arrays | None:
    """The arrays of an image's masked.npz; None and an issue if they are absent, broken or do not fit."""
    return load_arrays(path, ARRAYS, _fits, issues)


def _fits(arrays: Arrays) -> bool:
    count, height, width = arrays["images"].shape[:3]
    grid = arrays["is_masked"].shape
    return (
        len(grid) == 3
        and grid[0] == count
        and count > 0
        and grid == arrays["error"].shape
        and arrays["reconstruction"].shape == arrays["images"].shape
        and height % grid[1] == 0
        and width % grid[2] == 0
    )


def masked(runs: list[Run], issues: list[Issue]) -> Figure:
    """Per method: original, what the student saw, nearest training patches, and the error at each patch."""
    title = "What was masked"
    shown = first_of_each_method(runs, load_masked, issues)
    if not shown:
        return placeholder("masked_vision", title, "No picture of the masks: no masked.npz was found.")
    canvas = new_canvas(4.3 * len(shown))
    blocks = canvas.subfigures(len(shown), 1, squeeze=False)[:, 0]
    for block, (run, arrays) in zip(blocks, shown, strict=True):
        _draw_masked(block, method_label(run.method), arrays)
    data = pd.concat([_patches(run, arrays) for run, arrays in shown], ignore_index=True)
    caption = (
        "One image a column. Rows: the image; what the student saw; the hidden patches replaced by the "
        "training patches whose teacher targets lie nearest to the student's predictions; the regression "
        "error at each hidden patch. data2vec predicts representations, not pixels: the third row is a "
        "search among real patches, not a decoded image."
    )
    said = "; ".join(
        f"{method_label(run.method)}: {arrays['is_masked'].mean():.0%} of the patches hidden, "
        f"mean error {mean_error(arrays['error']):.3g}"
        for run, arrays in shown
    )
    return Figure("masked_vision", title, caption, f"Grid of images. {said}.", canvas, data)


def _draw_masked(block: SubFigure, label: str, arrays: dict[str, np.ndarray]) -> None:
    count = min(IMAGES_MAX, len(arrays["images"]))
    images = arrays["images"][:count] / 255.0
    is_hidden = _to_pixels(arrays["is_masked"][:count], images.shape)
    seen = np.where(is_hidden[..., None], HIDDEN, images)
    error = arrays["error"][:count]
    limit = float(np.nanmax(error)) if np.isfinite(error).any() else 1.0  # an all-NaN maximum warns
    rows = [
        ("original", images),
        ("seen by\nthe student", seen),
        ("nearest\npatches", arrays["reconstruction"][:count] / 255.0),
    ]
    block.suptitle(
        f"{label}: {arrays['is_masked'][:count].mean():.0%} hidden",
        fontsize=10,
        fontweight="bold",
        x=0.02,
        ha="left",
    )
    grid = block.subplots(4, count, squeeze=False)
    for row, (words, pictures) in enumerate(rows):
        for axes, picture in zip(grid[row], pictures, strict=True):
            axes.imshow(picture, interpolation="nearest", vmin=0, vmax=1)
        grid[row, 0].set_ylabel(words, rotation=0, ha="right", va="center")
    for axes, picture in zip(grid[3], error, strict=True):
        axes.set_facecolor("#f0f1f3")
        heat = axes.imshow(picture, cmap="cividis", vmin=0, vmax=limit, interpolation="nearest")
    grid[3, 0].set_ylabel("error at\nhidden\npatches", rotation=0, ha="right", va="center")
    for axes in grid.flat:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.grid(False)
        for spine in axes.spines.values():
            spine.set_visible(True)
            spine.set_edgecolor("#c3c8cf")
    bar = block.colorbar(heat, ax=list(grid[3]), orientation="horizontal", shrink=0.55, aspect=40, pad=0.04)
    bar.ax.tick_params(length=2)
    bar.outline.set_visible(False)
    bar.set_label("regression error (light grey: visible, no error is computed)")


def _to_pixels(is_masked: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(N, h, w) patch grid -> (N, H, W) pixels."""
    down, across = shape[1] // is_masked.shape[1], shape[2] // is_masked.shape[2]
    return is_masked.repeat(down, axis=1).repeat(across, axis=2)


def _patches(run: Run, arrays: dict[str, np.ndarray]) -> pd.DataFrame:
    """Source data: one row per patch of each image shown."""
    is_masked = arrays["is_masked"][:IMAGES_MAX]
    image, row, column = np.indices(is_masked.shape).reshape(3, -1)
    return pd.DataFrame(
        {
            "method": run.method,
            "seed": run.seed,
            "image": image,
            "patch_row": row,
            "patch_column": column,
            "is_masked": is_masked.reshape(-1),
            "error": arrays["error"][:IMAGES_MAX].reshape(-1),
        }
    )
