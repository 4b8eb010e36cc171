"""Runs that start from weights of others: imported from a path, then fine-tuned and probed; nothing is pre-trained."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from data2vec.compose import amend, compose, split_overrides
from data2vec.config import dump
from data2vec.errors import UserError
from data2vec.planning import Plan
from data2vec.reporting.experiments import load_experiments
from data2vec.reporting.files import Issue
from data2vec.settings import Settings, check
from data2vec.targets import all_targets, check_target

ROOT = Path(__file__).parents[2]
RELEASED = ("released_vision", "released_speech", "released_text")
RUN = "results/paper/vision/released_vision--v2-vision-base/seed0"
TUNED = f"{RUN}/finetune/classification/metrics.json"
PAPER = ["--config", "scale=paper", "experiments=[]"]


def settings(**config: object) -> Settings:
    return check({"scale": "paper", **config}, ROOT / "workflow" / "schemas" / "config.schema.yaml")


@pytest.fixture
def plan() -> Plan:
    return Plan(ROOT / "config")


def test_a_file_goes_through_import_to_fine_tuning_and_probe(project: Any) -> None:
    (project.path / "my weights.pt").write_text("weights of others")
    words = [*PAPER, "checkpoints={v2-vision-base: my weights.pt}"]
    done = project.snakemake("--cores", "1", TUNED, f"{RUN}/probe/metrics.json", *words)
    assert done.returncode == 0, done.stdout
    commands = project.commands()
    assert sorted(line.split()[0] for line in commands) == ["evaluate", "finetune", "import", "prepare"]
    tuning, probing = (next(line for line in commands if line.startswith(kind)) for kind in ("finetune", "evaluate"))
    assert "init_run=results/checkpoints/v2-vision-base" in tuning and "init=pretrained" in tuning
    assert "experiment=released_vision variant=v2-vision-base" in tuning and "data.name=imagenet" in tuning
    assert "run_dir=results/checkpoints/v2-vision-base" in probing and "probe.features=encoder" in probing
    imported = project.path / "results/checkpoints/v2-vision-base"
    assert json.loads((imported / "provenance.json").read_text()) == {"licence": "CC-BY-NC-4.0"}
    assert "Nothing to be done" in project.snakemake("--cores", "1", TUNED, *words).stdout

    # Other weights under the same name: imported anew, though the folder is taken, and what follows too.
    (project.path / "other.pt").write_text("other weights")
    project.forget_commands()
    done = project.snakemake("--cores", "1", TUNED, *words[:-1], "checkpoints={v2-vision-base: other.pt}")
    assert done.returncode == 0, done.stdout
    assert [line.split()[0] for line in project.commands()] == ["import", "finetune"]
    assert (imported / "checkpoint/model.safetensors").read_text() == "other weights"


@pytest.mark.parametrize(
    "word, said",
    [
        (
            TUNED,
            r"v2-vision-base needs .* base_imagenet\.pt \(licence CC-BY-NC-4\.0\): .*checkpoints='{v2-vision-base: ",
        ),
        ("experiment_released_text", r"needs released weights, at least one of v1-text-base \(nlp_base\.pt \(1\.0\)\)"),
        (f"{RUN}/metrics.json", r"starts from weights of others: ask for its probe/"),
        (TUNED.replace("-base", "-bas"), r"unknown value of released_vision .*, did you mean 'v2-vision-base'"),
    ],
    ids=["file", "experiment", "pre-training", "misspelt"],
)
def test_what_cannot_be_made_is_said(plan: Plan, word: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        check_target(plan, word, settings())
    assert "\n" not in str(error.value)
    with pytest.raises(UserError):
        check_target(plan, TUNED, settings(checkpoints={"v1-vision-base": "."}))
    check_target(plan, TUNED, settings(checkpoints={"v2-vision-base": "."}))


def test_a_file_that_is_not_given_is_asked_for_in_one_line(shared_project: Any) -> None:
    done = shared_project.snakemake("-n", TUNED, *PAPER)
    assert done.returncode == 2 and len(done.stdout.splitlines()) == 3
    assert done.stdout.splitlines()[-1].startswith("data2vec: v2-vision-base needs the file that its authors offer as")


def test_only_weights_that_are_given_are_asked_for(plan: Plan, tmp_path: Path) -> None:
    given = settings(experiments="all", checkpoints={"v1-speech-base": str(tmp_path)})
    files = [file for file in all_targets(plan, given) if "/released_" in file]
    parts = {file.partition("/seed0/")[::2] for file in files}
    labels = ("10min", "1h", "10h", "100h", "960h")
    folder = "results/paper/speech/released_speech--v1-speech-base"
    assert parts == {(folder, f"finetune/librispeech-{label}/metrics.json") for label in labels}
    assert not any("/released_" in file for file in all_targets(plan, settings(experiments="all")))
    with pytest.raises(UserError, match="experiment 'released_speech' needs released weights"):
        all_targets(plan, settings(experiments=["released_speech"]))


@pytest.mark.parametrize(
    "config, said",
    [
        ({"v2-visoin-base": "."}, "unknown checkpoint 'v2-visoin-base', did you mean 'v2-vision-base'"),
        ({"v2-vision-base": "no/such.pt"}, "checkpoints.v2-vision-base = 'no/such.pt': no such file"),
    ],
)
def test_a_wrong_name_or_path_is_named(plan: Plan, config: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        all_targets(plan, settings(checkpoints=config))


def test_data_of_a_pre_training_elsewhere_is_not_prepared(plan: Plan) -> None:
    released = "released_text--v2-text-base"
    assert plan.task_data("paper", "text", released, "cola") == ["cola"]
    assert plan.task_data("paper", "text", "data2vec2", "cola") == ["books-wikipedia", "cola"]
    assert plan.probe_data("paper", "text", released) == ["sst2"]
    assert plan.task_data("paper", "vision", "released_vision--v1-vision-base", "classification") == ["imagenet"]


@pytest.mark.parametrize("name", RELEASED)
def test_fine_tuning_of_released_weights_has_a_valid_configuration(plan: Plan, name: str, tmp_path: Path) -> None:
    experiment = plan.experiments[name]
    (modality,) = experiment.modalities
    point = next(iter(experiment.points("paper")))
    saved = tmp_path / f"{point}.yaml"
    saved.write_text(dump(compose({"method": "data2vec", "modality": modality})))
    start = plan.start_words("paper", modality, f"{name}--{point}", settings(budget=0.5))
    task = next(iter(plan.modality("paper", modality).tasks))
    words = plan.finetune_words("paper", modality, task)
    tuned, whole = (amend(saved, split_overrides([*start, *words, *more])) for more in ([], ["budget=1"]))
    assert (tuned.scale, tuned.experiment, tuned.variant) == ("paper", name, point)
    assert tuned.finetune.updates == round(whole.finetune.updates / 2)


def test_what_the_authors_report_stands_under_the_table() -> None:
    issues: list[Issue] = []
    found = load_experiments(ROOT / "config" / "experiments", issues)
    assert not issues and "v2-vision-base: published 84.5 %, paper 2.0" in found["released_vision"].note


def broken(**changes: Any) -> str:
    content: dict[str, Any] = yaml.safe_load((ROOT / "config/experiments/released_text.yaml").read_text())
    content |= {"name": "broken", **changes}
    return yaml.safe_dump({key: value for key, value in content.items() if value is not None})


@pytest.mark.parametrize(
    "text, said",
    [
        (broken(checkpoints=None), "belong together"),
        (broken(axis="model"), "belong together"),
        (broken(values=["v3-text-base"]), "unknown checkpoint in broken.yaml 'v3-text-base', did you mean"),
        (
            broken(checkpoints={"v1-text-base": {"file": "a.pt"}}),
            "must be a plain name and give file, licence, published",
        ),
        (broken(checkpoints={"a/b": {"file": "", "licence": "", "published": ""}}), "must be a plain name"),
        (broken(metric="loss"), "metric = loss comes from pre-training"),
    ],
    ids=["none", "axis", "value", "keys", "name", "metric"],
)
def test_a_broken_list_of_checkpoints_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "scale").mkdir()
    (tmp_path / "scale" / "paper.yaml").touch()
    (tmp_path / "experiments" / "broken.yaml").write_text(text)
    with pytest.raises(UserError, match=re.escape(said)) as error:
        _ = Plan(tmp_path).experiments
    assert "broken" in str(error.value)
