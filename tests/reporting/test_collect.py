"""Run folders -> results.csv."""

import json

import pandas as pd
import pytest

from data2vec.reporting.collect import COLUMNS, collect, load_results, save_results


def test_results_csv_has_the_agreed_columns(built):
    header = (built.reports / "results.csv").read_text().splitlines()[0]
    assert header == (
        "scale,modality,dataset,method,model,experiment,variant,seed,metric,value,unit,"
        "updates,samples,pretrain_seconds,peak_memory_bytes,commit"
    )
    assert tuple(header.split(",")) == COLUMNS


def test_each_measurement_is_one_row(built):
    frame = built.frame()
    # 2 methods x 3 seeds x (4 monitors + 2 ranks + 1 cost + 3 scores); 2 probed controls x 3 seeds x 2 scores;
    # scratch x 3 seeds; 4 values x 3 seeds x (4 monitors + 2 ranks + 1 score)
    assert len(frame) == 2 * 3 * 10 + 2 * 3 * 2 + 3 + 4 * 3 * 7
    main = frame.query("experiment == 'main' and method == 'data2vec2'")
    row = main.query("seed == 1 and metric == 'linear_top1'")
    assert row.iloc[0].to_dict() == {
        "scale": "embedded", "modality": "vision", "dataset": "digits", "method": "data2vec2",
        "model": "tiny", "experiment": "main", "variant": "data2vec2", "seed": 1,
        "metric": "linear_top1", "value": 93.0, "unit": "%", "updates": 300, "samples": 38400,
        "pretrain_seconds": 22.0, "peak_memory_bytes": 400 * 2**20,
        "commit": "0123456789abcdef0123456789abcdef01234567",
    }  # fmt: skip


def test_controls_have_names_in_words_and_cost_nothing(built):
    frame = built.frame()
    controls = frame[frame["method"].isin(["random weights", "raw pixels", "from scratch"])]
    assert set(controls["method"]) == {"random weights", "raw pixels", "from scratch"}
    assert (controls["updates"] == 0).all()
    assert set(controls["model"]) == {"tiny"}  # a probed control has no config.yaml: its siblings' model


def test_writing_twice_gives_the_same_bytes(place, tmp_path):
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    save_results(collect(place.root / "results").frame, first)
    save_results(collect(place.root / "results").frame, second)
    assert first.read_bytes() == second.read_bytes()
    save_results(load_results(first), second)  # and reading does not change it
    pd.testing.assert_frame_equal(load_results(first), load_results(second))


@pytest.mark.parametrize("value", ["None", "0.50", "nan", "null", "1e-3", "true"])
def test_a_variant_stays_the_text_it_was(place, synthetic, tmp_path, value):
    folder = place.vision / f"odd--{value}" / "seed0"
    synthetic.write_run(folder, "data2vec2", "odd", value, 0)
    save_results(collect(place.root / "results").frame, tmp_path / "r.csv")
    frame = load_results(tmp_path / "r.csv")
    assert set(frame.loc[frame["experiment"] == "odd", "variant"]) == {value}


def test_a_config_with_groups_as_names_or_mappings_is_read_alike(place, synthetic):
    folder = place.vision / "data2vec2" / "seed0"
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("method: data2vec2", "method:\n  name: data2vec2"))
    assert "data2vec2" in set(collect(place.root / "results").frame["method"])


def test_one_scale_can_be_chosen(place, synthetic):
    synthetic.write_run(place.root / "results/mini/vision/data2vec2/seed0", "data2vec2", "main", "data2vec2", 0)
    assert set(collect(place.root / "results", "embedded").frame["scale"]) == {"embedded"}


def test_a_copied_seed_counts_once_and_is_said(place, synthetic):
    copy = place.vision / "data2vec2" / "seed9"
    synthetic.write_run(copy, "data2vec2", "main", "data2vec2", 0)  # its config.yaml says seed 0
    synthetic.write_json(copy / "probe/metrics.json", {"rows": [synthetic.row("linear_top1", 1.0)]})
    found = collect(place.root / "results")
    probe = found.frame.query("method == 'data2vec2' and metric == 'linear_top1' and experiment == 'main'")
    assert sorted(probe["seed"]) == [0, 1, 2]
    assert 1.0 not in set(probe["value"])  # the folder whose name agrees with its config wins
    doubled = [issue.what for issue in found.issues if issue.kind == "doubled"]
    assert any("linear_top1 (kept 92.6, left out 1)" in what for what in doubled)


@pytest.mark.parametrize("content", ["{", "[1, 2]", '{"rows": 3}', '{"rows": [7]}', "\x00\x01"])
def test_a_broken_metrics_file_is_named_and_the_rest_is_read(place, content):
    (place.vision / "data2vec" / "seed1" / "probe" / "metrics.json").write_text(content)
    found = collect(place.root / "results")
    assert any(issue.kind == "unreadable" and "data2vec/seed1/probe" in issue.what for issue in found.issues)
    assert len(found.frame) == 2 * 3 * 10 + 2 * 3 * 2 + 3 + 4 * 3 * 7 - 2


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "high", True])
def test_what_is_not_a_number_is_kept_as_empty_and_said(place, synthetic, value):
    path = place.vision / "data2vec" / "seed1" / "probe" / "metrics.json"
    path.write_text(json.dumps({"rows": [synthetic.row("linear_top1", value)]}))
    found = collect(place.root / "results")
    assert any(issue.kind == "not a number" for issue in found.issues)
    assert found.frame["value"].isna().sum() == 1
