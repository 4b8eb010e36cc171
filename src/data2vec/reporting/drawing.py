"""How every figure looks, and how it is saved: the same bytes each time.

A `Figure` carries its caption, its text for those who cannot see it, and its source data; `save` writes
`<name>.png`, `<name>.svg` and `<name>.csv`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas

from data2vec.reporting.files import atomic_path, to_csv_text, write_text

# Okabe and Ito, "Color Universal Design" (2008); each method has a marker of its own as well.
BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
PURPLE, SKY, BLACK = "#CC79A7", "#56B4E9", "#000000"
# A second row of hues for the rivals, which rarely all stand in one figure; their markers differ from all others.
PLUM, OLIVE, BROWN, SLATE = "#882255", "#999933", "#7A4A1E", "#44546A"
LOOK = {
    "data2vec2": (BLUE, "o"),
    "data2vec": (VERMILLION, "s"),
    "mae": (PLUM, "P"),
    "wav2vec2": (OLIVE, "X"),
    "hubert": (BROWN, "h"),
    "masked_lm": (SLATE, "p"),
    "simmim": ("#117733", "<"),
    "maskfeat": ("#AA4499", ">"),
    "byol": ("#332288", "*"),
    "dino": ("#661100", "d"),
    "random weights": (ORANGE, "^"),
    "raw pixels": (GREEN, "D"),
    "mel filterbank": ("#00A087", "8"),
    "TF-IDF": ("#2C8C6B", "H"),
    "from scratch": (PURPLE, "v"),
}
SPARE = ((SKY, "P"), (BLACK, "X"), (GREEN, "<"), (ORANGE, ">"), (PURPLE, "h"))
DPI = 160  # of the PNG: sharp at the width of the page, and a page of three modalities can still be mailed
WIDTH = 6.0  # inches: text stays readable when a phone shows the whole width
GREY, INK = "#5b6470", "#22262b"
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same everywhere
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.5,
    "legend.fontsize": 9,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a929c",
    "xtick.color": "#40464e",
    "ytick.color": "#40464e",
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e6ea",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "errorbar.capsize": 3,
    "lines.markersize": 7,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "data2vec",
    "svg.fonttype": "path",
}


@dataclass(frozen=True)
class Figure:
    """A drawn figure with what a page needs around it."""

    name: str  # file name without suffix
    title: str
    caption: str
    alt: str
    canvas: Canvas = field(repr=False)
    data: pd.DataFrame = field(repr=False)


@contextmanager
def style() -> Iterator[None]:
    """The look of every figure; drawing and saving both happen inside it."""
    look: dict[Any, Any] = {**matplotlib.rcParamsDefault, **STYLE, "backend": "agg"}
    with matplotlib.rc_context(look):
        yield


def new_canvas(height: float, width: float = WIDTH) -> Canvas:
    """An empty figure of `width` x `height` inches that needs no display and no global state."""
    canvas = Canvas(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(canvas)
    return canvas


def save(figure: Figure, folder: Path) -> list[Path]:
    """Write the figure as PNG and SVG, and its source data as CSV; nothing in them depends on the day."""
    paths = [folder / f"{figure.name}.{suffix}" for suffix in ("png", "svg", "csv")]
    with atomic_path(paths[0]) as temporary:
        figure.canvas.savefig(temporary, dpi=DPI, metadata={"Software": None})
    figure.canvas.set_layout_engine("none")  # laid out once: the SVG has the PNG's arrangement
    with atomic_path(paths[1]) as temporary:
        figure.canvas.savefig(temporary, metadata={"Date": None, "Creator": None})
    write_text(paths[2], to_csv_text(figure.data))
    return paths


def renamed(figure: Figure, name: str) -> Figure:
    """The same figure under another file name."""
    return replace(figure, name=name)


def placeholder(name: str, title: str, why: str) -> Figure:
    """A figure that says why there is nothing to draw: the workflow's declared file still exists."""
    canvas = new_canvas(1.2)
    canvas.text(0.5, 0.5, why, ha="center", va="center", color=GREY)
    return Figure(name, title, why, why, canvas, pd.DataFrame({"note": [why]}))


def look(method: str) -> tuple[str, str]:
    """(colour, marker) of a method; a method without its own gets one of the spare ones, always the same."""
    return LOOK.get(method) or SPARE[sum(map(ord, method)) % len(SPARE)]


def tidy(axes: Axes, grid: str = "both") -> None:
    """Grid lines along one axis only, and no tick marks."""
    axes.tick_params(length=0)
    if grid != "both":
        axes.grid(False, axis="y" if grid == "x" else "x")
