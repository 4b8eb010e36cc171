"""From command-line words to a checked configuration: Hydra's groups in `config/run/`, then the schema."""

from pathlib import Path
from typing import Any

import yaml

from data2vec.config import RunConfig, known_keys, load, nearest, validate
from data2vec.errors import UserError
from data2vec.groups import UPDATE_KEYS, scale_updates
from data2vec.sections import DataConfig

CONFIG_DIR = Path(__file__).resolve().parents[2] / "config" / "run"
GROUPS = ("modality", "method", "model", "data", "recipe", "preset")


def split_overrides(words: list[str]) -> dict[str, str]:
    """`key=value` words as a dictionary; a word without `=` is a mistake."""
    pairs = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise UserError(f"'{word}' is not of the form key=value")
        pairs[key.lstrip("+")] = value
    return pairs


def compose(overrides: dict[str, str], config_dir: Path = CONFIG_DIR) -> RunConfig:
    """Compose groups and overrides, scale updates by `budget`, and check."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    words = []
    if overrides.get("variant") == "released":  # every quirk of the released code at once (docs/method.md)
        words.append("preset=released")
    for key, value in overrides.items():
        if key in GROUPS:
            _check_group(key, value, config_dir)
            words.append(f"{key}={value}")
        elif key not in known_keys():
            raise UserError(f"unknown configuration key '{key}'{nearest(key, [*known_keys(), *GROUPS])}")
        else:
            words.append(f"++{key}={value}")
    try:
        with initialize_config_dir(str(config_dir), version_base=None):
            values: Any = OmegaConf.to_container(hydra_compose("config", words), resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        word = str(getattr(error, "override", "configuration")).removeprefix("++")
        raise UserError(f"{word}: {str(error).splitlines()[0]}") from None
    scale_updates(values, values.get("budget", 1.0))
    return validate(values)


def data_choice(overrides: dict[str, str], config_dir: Path = CONFIG_DIR) -> DataConfig:
    """The data section of `data=<name>` with its `data.*` overrides: what preparation needs of a configuration."""
    file = config_dir / "data" / f"{overrides['data']}.yaml"
    values = yaml.safe_load(file.read_text()).get("data", {}) if file.is_file() else {}
    for key, text in overrides.items():
        if key.startswith("data."):
            values[key.removeprefix("data.")] = text if key in ("data.path", "data.bpe_dir") else yaml.safe_load(text)
    return validate({"data": values | {"name": overrides["data"]}}).data


def _check_group(group: str, name: str, config_dir: Path) -> None:
    options = sorted(p.stem for p in (config_dir / group).glob("*.yaml"))
    if name not in options:
        raise UserError(f"unknown {group} '{name}'{nearest(name, options)} Allowed: {', '.join(options)}")


def amend(path: Path, overrides: dict[str, str], config_dir: Path = CONFIG_DIR) -> RunConfig:
    """A saved run's configuration with a task's keys (`task=NAME`), then further keys changed.

    Changed numbers of updates are scaled by the run's budget; where that itself is changed, so are all others.
    """
    values = load(path).model_dump(mode="json")
    saved_budget = values["budget"]
    changed = _task_keys(overrides["task"], values["method"], config_dir) if "task" in overrides else {}
    for key, text in overrides.items():
        if key == "task":
            continue
        if key not in known_keys():
            raise UserError(f"unknown configuration key '{key}'{nearest(key, [*known_keys(), 'task'])}")
        changed[key] = yaml.safe_load(text)
    for key, value in changed.items():
        section, _, name = key.rpartition(".")
        (values[section] if section else values)[name] = value
    scale_updates(values, values["budget"], tuple(key for key in UPDATE_KEYS if key in changed))
    if values["budget"] != saved_budget:
        kept = tuple(key for key in UPDATE_KEYS if key not in changed)
        scale_updates(values, values["budget"] / saved_budget, kept)
    return validate(values)


def _task_keys(name: str, method: str, config_dir: Path) -> dict[str, Any]:
    """What `config/run/task/<name>.yaml` says, and after it `task/<method>/<name>.yaml` if there is one.

    Dotted keys; the files' `defaults` lists are followed.
    """
    _check_group("task", name, config_dir)
    keys = _sections(f"task/{name}", config_dir)
    if (config_dir / "task" / method / f"{name}.yaml").is_file():
        keys |= _sections(f"task/{method}/{name}", config_dir)
    return keys


def _sections(file: str, config_dir: Path) -> dict[str, Any]:
    """One file of `config/run/` and its `defaults`, as dotted keys."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(str(config_dir), version_base=None):
        sections: Any = OmegaConf.to_container(hydra_compose(file), resolve=True)
    keys = {f"{section}.{key}": value for section, part in sections.items() for key, value in part.items()}
    for key in keys:
        if key not in known_keys():
            raise UserError(f"config/run/{file}.yaml: unknown key '{key}'{nearest(key, known_keys())}")
    return keys
