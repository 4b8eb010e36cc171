"""Composition of recipes and the schema behind them."""

import re
from pathlib import Path

import pytest
import torch
import yaml

from data2vec.compose import CONFIG_DIR, amend, compose
from data2vec.config import dump, known_keys, load
from data2vec.errors import UserError

REFERENCE = {
    # trainable parameters of the original (algorithms.md 7.9)
    ("data2vec2", "vision", "base"): 88_233_216,
    ("data2vec2", "vision", "large"): 309_067_776,
    ("data2vec2", "vision", "huge"): 637_075_712,
}


@pytest.mark.parametrize(("method", "modality", "model"), REFERENCE)
def test_published_sizes_have_the_original_number_of_parameters(method: str, modality: str, model: str) -> None:
    from data2vec.modalities import vision

    config = compose({"method": method, "modality": modality, "model": model, "data": "imagenet"})
    with torch.device("meta"):
        encoder, decoder = vision.build_encoder(config), vision.build_decoder(config)
    count = sum(p.numel() for part in (encoder, decoder) for p in part.parameters())
    assert count == REFERENCE[method, modality, model]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (
            {"method": "data2vec2", "model": "base"},
            {"optim.lr": 1e-3, "mask.ratio": 0.8, "model.depth": 10, "target.top_k": 10, "mask.clones": 16},
        ),
        (
            {"method": "data2vec2", "model": "large"},
            {"optim.lr": 4e-4, "mask.ratio": 0.75, "model.depth": 24, "target.top_k": 18, "decoder.kernel": 5},
        ),
        (
            {"method": "data2vec", "model": "base"},
            {"optim.lr": 2e-3, "loss.beta": 2.0, "target.top_k": 6, "teacher.end": 0.9998, "train.batch_size": 2048},
        ),
    ],
)
def test_recipes_are_the_published_ones(choice: dict[str, str], expected: dict[str, float]) -> None:
    config = compose(choice | {"modality": "vision", "data": "imagenet"})
    for key, value in expected.items():
        section, name = key.split(".")
        assert getattr(getattr(config, section), name) == value, key


def test_a_number_of_views_decides_the_batch_that_micro_batches_divide() -> None:
    words = {"data": "cifar10", "model": "mini", "mask.clones": "4", "train.micro_batch": "64"}
    config = compose({**words, "train.views": "512"})
    assert config.train.batch_size == 128
    with pytest.raises(UserError, match=r"a divisor of train\.batch_size = 96"):
        compose({**words, "train.views": "384"})


def test_budget_scales_every_number_of_updates_once(tmp_path: Path) -> None:
    config = compose({"budget": "0.1"})
    assert (config.train.updates, config.optim.warmup_updates) == (37530, 5004)
    assert (config.teacher.anneal_updates, config.finetune.updates) == (10000, 25020)
    (tmp_path / "config.yaml").write_text(dump(config))
    assert load(tmp_path / "config.yaml") == config  # reading does not scale again
    changed = amend(tmp_path / "config.yaml", {"finetune.updates": "500"})
    assert (changed.finetune.updates, changed.train.updates) == (50, 37530)
    other = amend(tmp_path / "config.yaml", {"budget": "0.2", "finetune.updates": "500"})
    assert (other.finetune.updates, other.train.updates) == (100, 75060)  # another budget is that of all numbers


def test_released_preset_sets_the_quirks() -> None:
    config = compose({"variant": "released"})
    assert config.loss.cls_rows is None and config.optim.weight_decay_on == "all"
    assert compose({}).loss.cls_rows == 256


def test_every_key_is_described() -> None:
    from data2vec.config import describe_keys

    undescribed = [line for line in describe_keys() if line.rstrip().endswith("None")]
    assert not undescribed and len(known_keys()) > 80


def test_every_recipe_file_composes() -> None:
    """All pairs of recipe and size that exist."""
    sizes = {p.stem for p in (CONFIG_DIR / "model").glob("*.yaml")}
    for recipe in sorted((CONFIG_DIR / "recipe").glob("*.yaml")):
        method, modality, rest = re.split("_(vision|speech|text)", recipe.stem)
        for size in sorted(sizes):
            config = compose({"method": method, "modality": modality, "model": size, "recipe": recipe.stem})
            assert config.model.name == size, (recipe, rest)


def test_recipe_keys_are_spelt_right() -> None:
    known = set(known_keys())
    for path in CONFIG_DIR.glob("*/*.yaml"):
        for section, values in (yaml.safe_load(path.read_text()) or {}).items():
            if section == "defaults":
                continue
            assert section in known, f"{path}: {section}"
            for key in values if isinstance(values, dict) else ():
                assert f"{section}.{key}" in known, f"{path}: {section}.{key}"


def test_a_broken_config_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("a: [")
    with pytest.raises(UserError, match="not readable as YAML"):
        load(tmp_path / "config.yaml")
