"""Which runs a configuration stands for, where they go, and with which overrides they start."""

import copy
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from data2vec.compose import GROUPS, amend, compose, split_overrides
from data2vec.config import RunConfig, dump, validate
from data2vec.errors import UserError
from data2vec.planning import Plan, label, override_text
from data2vec.scales import FINETUNE_CONTROLS, PROBE_CONTROLS
from data2vec.settings import Settings, check
from data2vec.targets import all_targets, experiment_targets, rival_targets, targets_by_experiment

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"


def settings(**config: object) -> Settings:
    return check(config, SCHEMA)


@pytest.fixture
def plan() -> Plan:
    return Plan(ROOT / "config")


def test_main_runs_come_with_three_controls(plan: Plan) -> None:
    files = all_targets(plan, settings(experiments=[], seeds=2, modalities=["vision"]))
    root = "results/embedded/vision"
    expected = {
        f"{root}/{name}/seed{k}/{file}metrics.json"
        for k in range(2)
        for name, file in [
            *(
                (method, file)
                for method in ("data2vec", "data2vec2")
                for file in ("", "probe/", "finetune/classification/")
            ),
            *(("mae", file) for file in ("", "probe/")),
            ("random", "probe/"),
            ("pixels", "probe/"),
            ("scratch", "finetune/classification/"),
        ]
    }
    assert set(files) == expected and len(files) == len(expected)


def test_rivals_are_known_by_name_and_run_only_when_asked_for(plan: Plan) -> None:
    files = rival_targets(plan, settings(modalities=["vision"]))
    assert {Path(f).parts[3] for f in files} == {"simmim", "maskfeat", "byol", "dino"}
    assert not set(files) & set(all_targets(plan, settings()))
    assert "method=dino" in plan.pretrain_words(plan.run("embedded", "vision", "dino"), 0, settings())
    paper = rival_targets(plan, settings(scale="paper", modalities=["speech"]))
    assert "results/paper/speech/hubert/seed0/finetune/librispeech-10h/metrics.json" in paper


@pytest.mark.parametrize("scale", ["embedded", "mini", "paper"])
def test_every_rival_has_a_valid_configuration(plan: Plan, scale: str) -> None:
    from data2vec.training.schedules import LearningRate, stage_lengths

    everything = settings(scale=scale)
    for modality, kept in plan.scale(scale).modalities.items():
        for name in kept.known_methods:
            c = compose(split_overrides(plan.pretrain_words(plan.run(scale, modality, name), 0, everything)))
            stages = stage_lengths(c.optim.phases, c.train.updates)
            LearningRate(c.optim.schedule, c.optim.lr, c.train.updates, c.optim.warmup_updates, stages=stages)


def test_the_default_adds_the_experiments_of_the_scale(plan: Plan) -> None:
    def experiments(**config: object) -> set[str]:
        return {m.group(1) for f in all_targets(plan, settings(**config)) if (m := re.search(r"/(\w+)--", f))}

    assert experiments() == {"k_layers", "target_feature", "target_context", "label_amount"}
    assert experiments(scale="mini") == set()
    assert experiments(experiments="mask_ratio") == {"mask_ratio"}
    assert "model_size" in experiments(scale="paper", experiments="all")
    assert "model_size" not in experiments(experiments="all")


def test_an_ablation_point_is_the_main_run_with_one_key_changed(plan: Plan) -> None:
    main = plan.pretrain_words(plan.run("embedded", "vision", "data2vec"), 3, settings(budget=0.5))
    point = plan.pretrain_words(plan.run("embedded", "vision", "k_layers--2"), 3, settings(budget=0.5))
    changed = set(point) ^ set(main)
    assert changed == {
        "experiment=main",
        "experiment=k_layers",
        "variant=data2vec",
        "variant=2",
        "target.top_k=2",
        "train.snapshots=3",  # of main runs only
    }
    assert {"modality=vision", "method=data2vec", "model=tiny", "data=digits", "seed=3", "budget=0.5"} <= set(main)


def test_a_point_that_is_the_main_run_is_not_trained_twice(plan: Plan) -> None:
    assert plan.shared_points("embedded", "vision", "k_layers") == {"4": "data2vec"}
    assert plan.shared_points("embedded", "vision", "target_feature") == {}  # images predict the end of the block
    files = experiment_targets(plan, plan.experiments["k_layers"], settings(modalities=["vision"]))
    runs = {Path(file).parts[3] for file in files}
    assert runs == {"k_layers--1", "k_layers--2", "data2vec"}
    assert plan.run("embedded", "vision", "k_layers--4").name == "k_layers--4"  # by name it can still be had


def test_an_axis_can_set_several_keys_or_a_group(plan: Plan) -> None:
    decay = plan.run("embedded", "vision", "teacher_decay--frozen").overrides
    assert decay["teacher.start"] == decay["teacher.end"] == 1.0
    words = plan.pretrain_words(plan.run("paper", "vision", "model_size--large"), 0, settings())
    assert "model=large" in words and "model=base" not in words


def test_blocks_of_another_modality_are_those_of_its_main_run_with_the_same_seed(plan: Plan) -> None:
    run = plan.run("embedded", "vision", "transfer--speech")
    folder = "results/embedded/speech/data2vec2/seed3"
    assert plan.trunk_run(run, 3) == folder
    assert f"model.init_trunk={folder}" in plan.pretrain_words(run, 3, settings())
    assert plan.trunk_run(plan.run("embedded", "vision", "transfer--none"), 3) is None


@pytest.mark.parametrize(
    "name, words",
    [
        ("datavec2", "did you mean 'data2vec2'?"),
        ("k_layer--2", "did you mean 'k_layers'?"),
        ("k_layers--9", "unknown value of k_layers at scale embedded '9'"),
        ("random", "unknown run"),
    ],
)
def test_a_misspelt_run_is_named(plan: Plan, name: str, words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)):
        plan.run("embedded", "vision", name)


def test_controls_start_from_the_reference_run(plan: Plan) -> None:
    assert plan.start("probe", "embedded", "vision", "pixels") == ("data2vec2", "pixels")
    assert plan.start("finetune", "embedded", "vision", "scratch") == ("data2vec2", "scratch")
    assert plan.start("probe", "embedded", "vision", "k_layers--1") == ("k_layers--1", "")
    with pytest.raises(UserError):
        plan.start("finetune", "embedded", "vision", "pixels")


def test_an_experiment_runs_in_each_of_its_modalities(plan: Plan) -> None:
    files = experiment_targets(plan, plan.experiments["k_layers"], settings())
    assert {Path(f).parts[2] for f in files} == {"vision", "speech", "text"}
    only = experiment_targets(plan, plan.experiments["k_layers"], settings(modalities=["text"]))
    assert {Path(f).parts[2] for f in only} == {"text"}


def test_an_axis_of_finetuning_shares_the_pre_training_of_the_main_runs(plan: Plan) -> None:
    files = experiment_targets(plan, plan.experiments["label_amount"], settings())
    root = "results/embedded/speech"
    assert set(files) == {
        f"{root}/{method}/seed0/finetune/label_amount--{seconds}/metrics.json"
        for method in ("data2vec", "data2vec2", "scratch")
        for seconds in (60,)
    }
    words = plan.finetune_words("embedded", "speech", "label_amount--60")
    assert {"task=espeak-words", "finetune.train_seconds=60", "experiment=label_amount", "variant=60"} <= set(words)
    with pytest.raises(UserError, match="does not vary a fine-tuning"):
        plan.finetune_words("embedded", "speech", "k_layers--2")


def test_only_the_stage_that_measures_the_metric_is_run(plan: Plan) -> None:
    by_experiment = targets_by_experiment(plan, settings(scale="paper"))
    assert {f.split("/", 4)[4] for f in by_experiment["k_layers"]} == {
        "seed0/metrics.json",
        "seed0/probe/metrics.json",
    }
    assert {f.split("/", 4)[4] for f in by_experiment["model_size"]} == {
        "seed0/metrics.json",
        "seed0/finetune/classification/metrics.json",
    }


@pytest.mark.parametrize(
    "text", ["modalities: {}", "resources:\nmodalities: {}", "resources: {pretrain: 3}\nmodalities: {}"]
)
def test_a_broken_scale_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "scale").mkdir()
    (tmp_path / "scale" / "broken.yaml").write_text(text)
    with pytest.raises(UserError, match="resources must be a mapping"):
        Plan(tmp_path).scale("broken")


def test_an_experiment_may_fix_its_seeds(plan: Plan) -> None:
    experiment = replace(plan.experiments["k_layers"], seeds=3)
    assert len(experiment_targets(plan, experiment, settings())) == 3 * 3 * 2 * 3  # modalities, values, stages, seeds


@pytest.mark.parametrize(
    "value, text",
    [
        (1e-5, "1.0e-05"),
        (0.001, "0.001"),
        (300, "300"),
        (None, "null"),
        (True, "true"),
        ([0.8, 1.0], "[0.8,1.0]"),
    ],
)
def test_values_read_alike_everywhere(value: object, text: str) -> None:
    assert override_text("k", value) == f"k={text}"
    assert yaml.safe_load(text) == value


@pytest.mark.parametrize("value, text", [(0.9998, "0.9998"), ("ffn", "ffn"), ([1, 2], "1-2"), ("a/b", "a-b")])
def test_labels_fit_into_a_folder_name(value: object, text: str) -> None:
    assert label(value) == text


BROKEN = {
    "name": ("name: other\n", "must be the file's name"),
    "missing": ("name: broken\ntitle: t\n", "the key 'base' is missing"),
    "unknown key": ("name: broken\nvalue: [1]\n", "did you mean 'values'?"),
    "metric": (
        "name: broken\ntitle: t\nbase: {}\naxis: a\nvalues: [1]\nmetric: linear_top\n",
        "did you mean 'linear_top1'?",
    ),
    "values": (
        "name: broken\ntitle: t\nbase: {}\naxis: a\nvalues: 3\nmetric: loss\n",
        "values must be a list",
    ),
    "points": (
        "name: broken\ntitle: t\nbase: {}\naxis: a\npoints: {soft: {a: 1}}\nvalues: [sotf]\nmetric: loss\n",
        "did you mean 'soft'?",
    ),
    "base": ("name: broken\ntitle: t\nbase: 3\naxis: a\nvalues: [1]\nmetric: loss\n", "base must give"),
    "double": ("name: broken\ntitle: t\nbase: {}\naxis: a\nvalues: [1, 1]\nmetric: loss\n", "must differ"),
}


@pytest.mark.parametrize("text, words", BROKEN.values(), ids=BROKEN)
def test_a_broken_experiment_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "experiments").mkdir()
    head = "title: t\nbase: {}\naxis: a\nvalues: [1]\nmetric: loss\n" if text.startswith("name: other") else ""
    (tmp_path / "experiments" / "broken.yaml").write_text(text + head)
    with pytest.raises(UserError, match=re.escape(words)) as error:
        _ = Plan(tmp_path).experiments
    assert "broken" in str(error.value)


def changed(values: dict[str, Any], words: dict[str, str]) -> RunConfig:
    """A composed configuration with the dotted keys and labels among `words` set anew."""
    values = copy.deepcopy(values)
    for key, text in words.items():
        section, _, name = key.rpartition(".")
        if key not in GROUPS:
            (values[section] if section else values)[name] = yaml.safe_load(text)
    return validate(values)


@pytest.mark.parametrize("scale", ["embedded", "mini", "cpu", "paper"])
def test_every_planned_run_has_a_valid_configuration(plan: Plan, scale: str, tmp_path: Path) -> None:
    everything = settings(scale=scale, experiments="all")
    for modality in plan.scale(scale).modalities:
        controls = {*PROBE_CONTROLS[modality], *FINETUNE_CONTROLS[modality]}
        files = [f for f in all_targets(plan, everything) if f.startswith(f"results/{scale}/{modality}/")]
        mains: dict[str, dict[str, Any]] = {}
        for name in sorted({Path(f).parts[3] for f in files} - controls, key=lambda name: "--" in name):
            run = plan.run(scale, modality, name)
            words = split_overrides(plan.pretrain_words(run, 0, everything))
            if run.method in mains and not set(run.overrides) & set(GROUPS):
                config = changed(mains[run.method], words)  # Hydra takes a third of a second each time
            else:
                config = compose(words)
                mains.setdefault(run.method, config.model_dump(mode="json"))
            assert (config.scale, config.experiment, config.variant) == (scale, run.experiment, run.variant), words
        saved = tmp_path / f"{modality}.yaml"
        saved.write_text(dump(config))
        probe = plan.modality(scale, modality).probe
        amend(saved, split_overrides([override_text(k, v) for k, v in probe.items()]))
        for task in {m.group(1) for f in files if (m := re.search("/finetune/([^/]+)/", f))}:
            tuned = amend(saved, split_overrides(plan.finetune_words(scale, modality, task)))
            assert tuned.task.name == plan.task(scale, modality, task)[0]
