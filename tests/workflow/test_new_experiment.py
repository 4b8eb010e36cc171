"""An ablation is one new file under config/experiments/: runs, rows, figure and section follow without any code."""

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
import yaml

from data2vec.planning import Plan
from data2vec.reporting.report import build_report
from data2vec.settings import check
from data2vec.targets import targets_by_experiment

ROOT = Path(__file__).parents[2]
SCORES = {"0.6": 88.0, "0.7": 90.0, "0.8": 91.0}


@pytest.fixture(scope="module")
def synthetic() -> ModuleType:
    """The made-up runs of tests/reporting."""
    folder = str(ROOT / "tests" / "reporting")
    sys.path.insert(0, folder)
    try:
        import synthetic

        return synthetic
    finally:
        sys.path.remove(folder)


def example_of_the_readme() -> dict[str, Any]:
    """The file that config/README.md shows, with one way to give the values and without what it calls optional."""
    text = re.search(r"```yaml\n(.*?)```", (ROOT / "config" / "README.md").read_text(), re.DOTALL).group(1)
    optional = re.findall(r"^(\w+):.*# optional", text, re.MULTILINE)
    content = {key: value for key, value in yaml.safe_load(text).items() if key not in optional}
    return content | {"name": "how_much_is_hidden"}


def test_one_new_file_gives_jobs_rows_figure_and_section(project: Any, synthetic: ModuleType, tmp_path: Path) -> None:
    content = example_of_the_readme()
    assert {"name", "title", "base", "axis", "values", "metric"} == set(content)
    name, folder = content["name"], project.path / "config" / "experiments"
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))

    # 1. The workflow knows it by name, with a job for each value.
    dry = project.snakemake("-n", f"experiment_{name}", "--config", "modalities=[vision]")
    assert dry.returncode == 0, dry.stdout
    assert {int(n) for n in re.findall(r"^(?:pretrain|probe) +(\d+)$", dry.stdout, re.MULTILINE)} == {len(SCORES)}

    # 2. Runs where it wants them (made up), then the report of the real code.
    config = {"modalities": ["vision"], "experiments": [name], "seeds": 3}
    settings = check(config, ROOT / "workflow" / "schemas" / "config.schema.yaml")
    scores = [
        tmp_path / path
        for path in targets_by_experiment(Plan(project.path / "config"), settings)[name]
        if path.endswith("probe/metrics.json")
    ]
    assert len(scores) == 3 * len(SCORES)
    values = {path.parents[2].name.removeprefix(f"{name}--") for path in scores}
    (of_main,) = set(SCORES) - values  # the value that a main run has already
    for path in scores:
        run, seed = path.parents[2].name, int(path.parents[1].name.removeprefix("seed"))
        value = of_main if run == "data2vec2" else run.removeprefix(f"{name}--")
        place = ("main", run) if run == "data2vec2" else (name, value)
        synthetic.write_run(path.parents[1], "data2vec2", *place, seed)
        synthetic.write_json(path, {"rows": [synthetic.row("linear_top1", SCORES[value] + synthetic.jitter(seed))]})
    page = build_report(tmp_path / "results", tmp_path / "reports", ROOT / "config/published", folder).read_text()

    # 3. Its rows, table, figure and section.
    rows = pd.read_csv(tmp_path / "reports" / "results.csv", dtype={"variant": str})
    chosen = rows[(rows["experiment"] == name) & (rows["metric"] == "linear_top1")]
    assert sorted(chosen["variant"]) == sorted([*SCORES] * 3)
    table = pd.read_csv(tmp_path / "reports" / "tables" / f"ablation_{name}.csv", dtype=str)
    assert list(table[content["axis"]]) == list(SCORES) and set(table["n"]) == {"3"}
    assert [float(ours) for ours in table["ours"]] == pytest.approx(
        [score + 0.1 / 3 for score in SCORES.values()], abs=0.06
    )
    drawn = pd.read_csv(tmp_path / "reports" / "figures" / f"ablation_{name}.csv")
    assert list(drawn["mean"]) == pytest.approx([score + 0.1 / 3 for score in SCORES.values()])
    assert f'<h3 id="ablation-{name}">{content["title"]}</h3>' in page
    assert f'<figure id="figure-ablation_{name}">' in page and f"&#39;experiments=[{name}]&#39;" in page
