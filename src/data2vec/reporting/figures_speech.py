"""What was masked in recordings: waveform, hidden frames, variances and error on one time axis, from masked.npz."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import SubFigure

from data2vec.reporting.drawing import BLUE, INK, VERMILLION, Figure, new_canvas, placeholder, tidy
from data2vec.reporting.files import Issue
from data2vec.reporting.masked_arrays import Arrays, first_of_each_method, load_arrays, mean_error
from data2vec.reporting.names import method_label
from data2vec.reporting.runs import Run

ARRAYS = ("waveform", "is_masked", "target_var", "pred_var", "error", "rate")
PICTURES_MAX = 2  # 2.0 and 1.0
SHADE = "#c9d3e6"


def load_masked(path: Path, issues: list[Issue]) -> Arrays | None:
    """The arrays of a recording's masked.npz; None and an issue if they are absent, broken or do not fit."""
    return load_arrays(path, ARRAYS, _fits, issues)


def _fits(arrays: Arrays) -> bool:
    frames = arrays["is_masked"].shape
    per_frame = [arrays[name].shape for name in ("target_var", "pred_var", "error")]
    waveform = arrays["waveform"]
    return (
        len(frames) == 2
        and min(frames) > 0
        and waveform.ndim == 2
        and len(waveform) == frames[0]
        and waveform.shape[1] >= frames[1]
        and all(shape == frames for shape in per_frame)
        and arrays["rate"].size == 1
        and float(arrays["rate"]) > 0
    )


def masked(runs: list[Run], issues: list[Issue]) -> Figure:
    """Per method one recording: what was hidden, how target and prediction vary, how wrong the prediction is."""
    name, title = "masked_speech", "What was masked"
    shown = first_of_each_method(runs, load_masked, issues)[:PICTURES_MAX]
    if not shown:
        return placeholder(name, title, "No picture of the masks: no masked.npz was found.")
    canvas = new_canvas(3.9 * len(shown))
    blocks = canvas.subfigures(len(shown), 1, squeeze=False)[:, 0]
    for block, (run, arrays) in zip(blocks, shown, strict=True):
        _draw(block, method_label(run.method), arrays)
    data = pd.concat([_frames(run, arrays) for run, arrays in shown], ignore_index=True)
    caption = (
        "One training recording a method, on one time axis. Top: the waveform as the model sees it; shaded: the frames "
        "that were hidden from the student. Middle: variance over the features of the teacher's target and of the "
        "student's prediction; predictions that all look alike have a variance near zero. Bottom: mean squared error "
        "of the prediction, at hidden frames only."
    )
    said = "; ".join(
        f"{method_label(run.method)}: {arrays['is_masked'][0].mean():.0%} of the frames hidden, "
        f"mean error {mean_error(arrays['error'][0]):.3g}"
        for run, arrays in shown
    )
    return Figure(name, title, caption, f"Waveforms with hidden frames shaded. {said}.", canvas, data)


def _draw(block: SubFigure, label: str, arrays: Arrays) -> None:
    waveform, is_masked = arrays["waveform"][0], arrays["is_masked"][0]
    edges = _edges(arrays)
    middle = (edges[:-1] + edges[1:]) / 2
    block.suptitle(f"{label}: {is_masked.mean():.0%} hidden", fontsize=10, fontweight="bold", x=0.02, ha="left")
    grid = block.subplots(3, 1, sharex=True, gridspec_kw={"height_ratios": [1.1, 1.2, 1.0]})
    for axes in grid:
        for start, stop in _spans(is_masked):
            axes.axvspan(edges[start], edges[stop], color=SHADE, linewidth=0, zorder=0)
        axes.margins(x=0)
        tidy(axes, "y")
    step = max(1, len(waveform) // 6000)  # more points than the page can show only make the file large
    seconds = np.arange(0, len(waveform), step) / float(arrays["rate"])
    grid[0].plot(seconds, waveform[::step], color=INK, linewidth=0.5)
    grid[0].set_ylabel("waveform")
    grid[0].set_yticks([])
    grid[1].plot(middle, arrays["target_var"][0], color=BLUE, linewidth=1.3, label="target")
    grid[1].plot(middle, arrays["pred_var"][0], color=VERMILLION, linestyle="--", linewidth=1.3, label="prediction")
    grid[1].set_ylabel("variance")
    grid[1].set_ylim(0, 1.45 * float(grid[1].get_ylim()[1]))  # room for the legend
    grid[1].legend(ncols=2, loc="upper right", fontsize=8, frameon=True, framealpha=0.85, edgecolor="none")
    grid[2].bar(middle, np.nan_to_num(arrays["error"][0]), width=np.diff(edges), color=INK, linewidth=0)
    grid[2].set_ylabel("error")
    grid[2].set_xlabel("time (s)")
    block.align_ylabels(grid)


def _edges(arrays: Arrays) -> np.ndarray:
    """Where the frames begin and end, in seconds (T + 1)."""
    length = arrays["waveform"].shape[1] / float(arrays["rate"])
    return np.linspace(0.0, length, arrays["is_masked"].shape[1] + 1)


def _spans(is_masked: np.ndarray) -> list[tuple[int, int]]:
    """Runs of hidden frames as (first, one past the last)."""
    steps = np.diff(np.concatenate([[0], is_masked.astype(int), [0]]))
    return list(zip(np.flatnonzero(steps == 1).tolist(), np.flatnonzero(steps == -1).tolist(), strict=True))


def _frames(run: Run, arrays: Arrays) -> pd.DataFrame:
    """Source data: one row per frame of the recording shown."""
    columns = {name: arrays[name][0] for name in ("is_masked", "target_var", "pred_var", "error")}
    start = _edges(arrays)[:-1]
    return pd.DataFrame(
        {"method": run.method, "seed": run.seed, "frame": np.arange(len(start)), "second": start, **columns}
    )
