"""Figures: there, not empty, the same bytes each time, and with their data beside them."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data2vec.reporting import drawing
from data2vec.reporting.figures_masked import load_masked, masked
from data2vec.reporting.runs import find_runs

NAMES = ("headline_vision", "masked_vision", "curves_vision", "cost_vision", "ablation_top_k", "curves_top_k")


@pytest.mark.parametrize("name", NAMES)
def test_each_figure_is_drawn_in_both_formats_with_its_data(built, name):
    path = built.reports / "figures" / name
    with Image.open(path.with_suffix(".png")) as image:
        pixels = np.asarray(image.convert("L"))
    assert min(pixels.shape) > 300
    assert 0.01 < (pixels < 250).mean() < 0.9  # neither blank nor black
    assert "<svg" in path.with_suffix(".svg").read_text()
    assert len(pd.read_csv(path.with_suffix(".csv"))) >= 4


def test_drawing_twice_gives_the_same_bytes(built, again):
    for name in NAMES:
        for suffix in ("png", "svg", "csv"):
            first, second = (at.reports / "figures" / f"{name}.{suffix}" for at in (built, again))
            assert first.read_bytes() == second.read_bytes(), f"{name}.{suffix}"


def test_methods_differ_in_marker_as_well_as_colour():
    colours, markers = zip(*drawing.LOOK.values(), strict=True)
    assert len(set(colours)) == len(set(markers)) == len(drawing.LOOK)


def test_the_source_of_the_headline_figure_has_mean_spread_and_n(built):
    data = pd.read_csv(built.reports / "figures" / "headline_vision.csv")
    row = data.query("metric == 'linear_top1' and method == 'data2vec2'").iloc[0]
    assert row["mean"] == pytest.approx(92.6 + 0.1 / 3)
    assert row["std"] == pytest.approx(np.std([0.0, 0.4, -0.3], ddof=1))
    assert row["n"] == 3


def test_repeated_steps_and_copied_runs_are_drawn_once(battered):
    data = pd.read_csv(battered.reports / "figures" / "curves_vision.csv")
    assert not data.duplicated(["method", "seed", "update"]).any()


@pytest.mark.parametrize("damage", ["truncated", "shapes", "absent array", "not a zip"])
def test_a_damaged_masked_file_is_said_and_left_out(place, damage):
    path = place.vision / "data2vec2" / "seed0" / "masked.npz"
    with np.load(path) as file:
        arrays = dict(file)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:500])
    elif damage == "shapes":
        np.savez(path, **{**arrays, "error": arrays["error"][:, :2]})
    elif damage == "absent array":
        np.savez(path, **{name: arrays[name] for name in arrays if name != "error"})
    else:
        path.write_text("hello")
    issues = []
    assert load_masked(path, issues) is None
    assert len(issues) == 1
    assert issues[0].kind == "unreadable"


def test_error_without_a_number_still_draws(place, tmp_path):
    for path in place.vision.glob("data2vec*/seed*/masked.npz"):
        with np.load(path) as file:
            arrays = dict(file)
        np.savez(path, **{**arrays, "error": np.full_like(arrays["error"], np.nan)})
    issues = []
    with drawing.style():
        drawing.save(masked(find_runs(place.root / "results", None, issues), issues), tmp_path)
    assert issues == []
    assert (tmp_path / "masked_vision.png").stat().st_size > 10_000
