"""Experiment files beside their published curves."""

import math

import pandas as pd
import pytest

from data2vec.reporting.collect import collect
from data2vec.reporting.comparison import direction
from data2vec.reporting.experiments import Experiment, load_experiments
from data2vec.reporting.gaps import find_gaps
from data2vec.reporting.published import load_published
from data2vec.reporting.published_curves import published_curve


def experiment(published, modality="vision", metric="linear_top1"):
    return Experiment("e", "E", (modality,), "axis", {}, metric, published=published)


@pytest.mark.parametrize(
    ("table", "modality", "series", "count"),
    [
        ("d2v1_topK_fig2", "vision", ["published"], 12),
        ("d2v1_context_fig3", "vision", ["published"], 7),
        ("d2v2_multimask", "vision", [f"batch size {2**k}" for k in range(6, 11)], 23),
    ],
)
def test_a_numeric_axis_is_read_from_the_setting(synthetic, table, modality, series, count):
    curve = published_curve(table, modality, load_published(synthetic.PUBLISHED, []))
    assert curve.is_numeric
    assert list(dict.fromkeys(curve.points["series"])) == series
    assert len(curve.points) == count


@pytest.mark.parametrize(
    ("table", "modality", "first"),
    [
        ("d2v1_loss", "speech", "L2"),
        ("d2v1_target_feature", "speech", "self-attention output"),
        ("d2v2_mask_strategy", "vision", "block masking, B=3"),
        ("d2v1_speech_mask", "speech", "mask prob 0.65, mask length 10 (baseline)"),
    ],
)
def test_named_values_stay_names(synthetic, table, modality, first):
    curve = published_curve(table, modality, load_published(synthetic.PUBLISHED, []))
    assert not curve.is_numeric
    assert curve.points["label"].iloc[0] == first


def test_every_published_ablation_can_be_drawn(synthetic):
    published = load_published(synthetic.PUBLISHED, [])
    rows = published[published["file"] == "ablations"]
    for table, modality in rows[["table", "modality"]].drop_duplicates().itertuples(index=False):
        curve = published_curve(table, modality, published)
        assert curve is not None, table
        assert curve.points["value"].notna().all()


def ours(means, std=0.1, n=3, metric_labels=("1", "6")):
    return pd.DataFrame({
        "label": metric_labels, "x": [float(label) for label in metric_labels],
        "mean": means, "std": std, "n": n,
    })  # fmt: skip


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (ours([89.0, 92.0]), "same direction"),
        (ours([92.0, 89.0]), "opposite direction"),
        (ours([92.0, 92.1]), "inconclusive at this scale"),
        (ours([89.0, 92.0], std=math.nan, n=1), "one run, no verdict"),
        (ours([89.0, 92.0], metric_labels=("40", "50")), "no two shared values"),
    ],
)
def test_direction_is_judged_only_beyond_the_spread(synthetic, frame, words):
    topk = experiment("d2v1_topK_fig2")
    curve = published_curve("d2v1_topK_fig2", "vision", load_published(synthetic.PUBLISHED, []))
    assert direction(topk, frame, curve) == words


def test_fewer_errors_and_more_accuracy_are_the_same_direction(synthetic):
    topk = experiment("d2v1_topK_fig2", "speech", "linear_top1")
    curve = published_curve(
        "d2v1_topK_fig2", "speech", load_published(synthetic.PUBLISHED, [])
    )  # word error rate falls with K
    assert direction(topk, ours([89.0, 92.0]), curve) == "same direction"


def test_values_come_in_the_order_of_the_axis(place, synthetic):
    for value in ("10", "3"):
        folder = place.vision / f"top_k--{value}" / "seed0"
        synthetic.write_run(folder, "data2vec2", "top_k", value, 0)
        rows = [synthetic.row("linear_top1", 90.0)]
        synthetic.write_json(folder / "probe" / "metrics.json", {"rows": rows})
    place.build()
    frame = pd.read_csv(place.reports / "tables" / "ablation_top_k.csv", dtype=str)
    assert list(frame["target.top_k"]) == ["1", "2", "3", "4", "6", "10"]


def test_values_may_differ_by_scale_and_axes_may_be_several(tmp_path, synthetic):
    synthetic.write_experiment(tmp_path / "a.yaml", name="a", values={"embedded": [0.9, 1.0, None], "paper": [True]})
    synthetic.write_experiment(tmp_path / "b.yaml", name="b", axis=["teacher.start", "teacher.end"])
    found = load_experiments(tmp_path, [])
    assert found["a"].points("embedded") == ["0.9", "1.0", "None"]
    assert found["a"].points("paper") == ["True"]
    assert found["a"].points("mini") == []
    assert found["b"].axis == "teacher.start = teacher.end"
    assert found["b"].points("mini") == ["1", "2", "4", "6"]


def test_an_experiment_without_values_at_this_scale_is_no_gap(place, synthetic):
    synthetic.write_experiment(place.root / "experiments" / "big.yaml", name="big", values={"paper": ["huge"]})
    experiments = load_experiments(place.root / "experiments", [])
    frame = collect(place.root / "results").frame
    assert not [issue for issue in find_gaps(frame, load_published(place.published, []), experiments)
                if "big" in issue.what]  # fmt: skip


def test_another_modality_stands_in_where_the_paper_has_no_table_for_ours(synthetic):
    curve = published_curve("d2v1_target_feature", "vision", load_published(synthetic.PUBLISHED, []))
    assert (curve.modality, curve.metric) == ("speech", "wer")


def test_every_experiment_of_the_project_can_be_read(synthetic):
    issues = []
    found = load_experiments(synthetic.PROJECT / "config" / "experiments", issues)
    published = load_published(synthetic.PUBLISHED, issues)
    assert issues == []
    for one in found.values():
        assert all(published_curve(one.published, m, published) for m in one.modalities if one.published), one.name
