"""Run folders as the report reads them."""

import json
import shutil
from pathlib import Path

from data2vec.reporting.collect import collect


def test_a_run_from_weights_of_others_needs_no_pre_training(place, synthetic) -> None:
    results: Path = place.root / "results"
    for stage in ("probe", "finetune/classification"):
        folder = place.vision / "released_vision--v2-vision-base" / "seed0" / stage
        folder.mkdir(parents=True)
        row = {"metric": f"{stage[:5]}_top1", "value": 84.0, "unit": "%", "dataset": "imagenet"}
        (folder / "metrics.json").write_text(json.dumps({"rows": [row]}))
    (folder / "provenance.json").write_text(json.dumps({"commit": "abc", "pretrain_seconds": 9.0, "updates": 4}))
    imported = results / "checkpoints" / "v2-vision-base"
    imported.mkdir(parents=True)
    shutil.copy(place.vision / "data2vec2" / "seed0" / "config.yaml", imported)

    found = collect(results)
    rows = found.frame[found.frame["experiment"] == "released_vision"]
    assert list(rows["metric"]) == ["finet_top1", "probe_top1"]
    for column, value in {"method": "data2vec2", "variant": "v2-vision-base", "model": "tiny", "commit": "abc"}.items():
        assert set(rows[column]) == {value}
    assert rows["pretrain_seconds"].isna().all()  # the fine-tuning's are not those of the pre-training
    assert not [issue for issue in found.issues if "released_vision" in issue.what]
