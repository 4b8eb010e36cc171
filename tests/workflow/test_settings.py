"""Mistakes in the workflow's configuration end in one line that names the key and what is allowed."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from data2vec.errors import UserError
from data2vec.planning import Plan
from data2vec.settings import check, known, read_yaml
from data2vec.targets import all_targets

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"

MISTAKES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "misspelt key": ({"seedz": 3}, ["seedz", "did you mean 'seeds'?", "budget"]),
    "stranger key": ({"colour": "red"}, ["colour", "Allowed: scale"]),
    "text for a number": ({"seeds": "three"}, ["seeds = 'three'", "a whole number of at least 1"]),
    "yes for a number": ({"seeds": True}, ["seeds = True", "a whole number"]),
    "no seeds": ({"seeds": 0}, ["seeds = 0", "at least 1"]),
    "negative budget": ({"budget": -0.5}, ["budget = -0.5", "a number above 0"]),
    "endless budget": ({"budget": float("inf")}, ["budget = inf", "a number above 0"]),
    "number for text": ({"scale": 5}, ["scale = 5", "text"]),
    "number in a list": ({"modalities": [1]}, ["an entry of modalities = 1", "text"]),
    "absent mirror": ({"data_mirror": "no/such/folder"}, ["data_mirror = 'no/such/folder'", "not a folder"]),
    "path without a name": ({"data_paths": "/data"}, ["data_paths = '/data'", "a mapping"]),
    "unknown scale": ({"scale": "embeded"}, ["embeded", "did you mean 'embedded'?", "paper"]),
    "unknown modality": ({"modalities": ["visoin"]}, ["visoin", "did you mean 'vision'?"]),
    "unknown experiment": ({"experiments": ["k_layer"]}, ["k_layer", "did you mean 'k_layers'?"]),
    "experiment of another scale": (
        {"experiments": ["model_size"]},
        ["model_size", "no values at scale embedded", "paper"],
    ),
}


@pytest.mark.parametrize("config, words", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_clear_line(config: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UserError) as error:
        all_targets(Plan(ROOT / "config"), check(config, SCHEMA))
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_config_yaml_shows_every_key_with_its_default() -> None:
    schema, config = read_yaml(SCHEMA), read_yaml(ROOT / "config" / "config.yaml")
    assert config == {key: rule["default"] for key, rule in schema["properties"].items()}
    assert check(config, SCHEMA) == check({}, SCHEMA)
    assert all(rule["description"] for rule in schema["properties"].values())


def test_words_of_the_command_line_are_understood() -> None:
    from_command_line = check({"offline": "true", "data_mirror": "null", "scale": "true"}, SCHEMA)
    assert (from_command_line.offline, from_command_line.data_mirror, from_command_line.scale) == (
        True,
        None,
        "true",
    )


def test_the_schema_is_a_json_schema_that_accepts_the_configuration() -> None:
    schema = read_yaml(SCHEMA)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(read_yaml(ROOT / "config" / "config.yaml"), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"seeds": 0}, schema)


def test_options_of_the_readme_are_those_of_the_schema() -> None:
    readme = (ROOT / "config" / "README.md").read_text()
    for key in read_yaml(SCHEMA)["properties"]:
        assert f"| `{key}` |" in readme


@pytest.mark.parametrize("text, words", [("a: [1", "line 1: not valid YAML"), ("- 1\n- 2\n", "keys and values")])
def test_a_broken_yaml_file_is_named(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=words) as error:
        read_yaml(file)
    assert "broken.yaml" in str(error.value)
    with pytest.raises(UserError, match="cannot be read"):
        read_yaml(tmp_path / "absent.yaml")


def test_known_names_the_nearest() -> None:
    assert known("a", ["a", "b"], "letter") == "a"
    with pytest.raises(UserError, match=r"unknown letter '\[1\]'\. Allowed: a, b"):
        known([1], ["a", "b"], "letter")


@pytest.mark.parametrize("file", sorted((ROOT / "config" / "experiments").glob("*.yaml")), ids=lambda f: f.stem)
def test_an_experiment_is_short_and_opens_with_its_contract(file: Path) -> None:
    lines = file.read_text().splitlines()
    assert 10 <= len(lines) <= 40
    head = "\n".join(line for line in lines[:6] if line.startswith("#"))
    assert f"snakemake experiment_{file.stem}" in head and "Cost:" in head and "Expected:" in head


def test_published_tables_of_experiments_exist() -> None:
    tables = {line.split(",")[0] for line in (ROOT / "config/published/ablations.csv").read_text().splitlines()}
    for file in (ROOT / "config" / "experiments").glob("*.yaml"):
        assert yaml.safe_load(file.read_text()).get("published", "d2v1_loss") in tables
