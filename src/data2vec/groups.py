"""The files of `config/run/` put together without Hydra: what a plan of hundreds of runs needs, in milliseconds.

`compose.py` is what configures a run; this reads the same groups for estimates (`costs.py`). A test holds the two
equal for every job of every scale. Standard library and PyYAML only.
"""

import math
import re
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from data2vec.errors import UserError
from data2vec.settings import YamlLoader, read_yaml

Values = dict[str, Any]
PRESET_OF_VARIANT = {"released": "released"}  # as in compose.py
# Defaults of the schema that estimates and comparisons read and recipes may leave out; tests/test_groups.py holds them
# to the schema.
DEFAULTS: Values = {
    "method": "data2vec2",
    "vision": {"image_size": 224, "patch_size": 16, "channels": 3},
    "speech": {
        "conv_layers": [(512, 10, 5), *[(512, 3, 2)] * 4, *[(512, 2, 2)] * 2],
        "feature_grad_mult": 1.0,
        "pos_conv_width": 95,
        "pos_conv_depth": 5,
        "pos_conv_groups": 16,
        "max_seconds": 20.0,
        "batch_seconds": 500.0,
        "micro_seconds": None,
    },
    "text": {"tokens_per_sample": 512},
    "data": {"name": "imagenet", "vocab_size": 50_265},
    "model": {
        "dim": 768,
        "heads": 12,
        "depth": 12,
        "prenet_depth": 0,
        "mlp_ratio": 4.0,
        "extra_tokens": 0,
        "head_layers": 1,
        "layer_drop": 0.0,
        "init_trunk": None,
    },
    "mask": {"sampler": "inverse_block", "ratio": 0.8, "length": 3, "clones": 16, "visible_only": True},
    "teacher": {"scope": "encoder", "context": 100.0},
    "decoder": {"kind": "conv", "dim": 768, "layers": 6, "kernel": 3, "groups": 16, "projection_layers": 1},
    "loss": {"reconstruction": 0.0},
    "pixels": {"hog_bins": 9, "hog_cells": 2},
    "views": {"hidden_dim": 4096, "output_dim": 256, "prototypes": 65_536, "local": 0, "local_patches": 6},
    "contrast": {"dim": 256},
    "quantiser": {"groups": 2, "entries": 320, "dim": 256},
    "hubert": {"clusters": 100, "units_from": None},
    "train": {"updates": 375_300, "batch_size": 256, "views": None, "micro_batch": None, "workers": 2},
    "task": {"kind": "images", "data": None},
    "probe": {"data": None, "features": "encoder", "train_limit": 10_000},
    "finetune": {
        "updates": 125_100,
        "batch_size": 512,
        "batch_seconds": 1600.0,
        "micro_seconds": None,
        "freeze_updates": 0,
        "layer_drop": 0.0,
        "init": "pretrained",
    },
}


UPDATE_KEYS = (
    "train.updates",
    "optim.warmup_updates",
    "teacher.anneal_updates",
    "views.temperature_updates",
    "quantiser.anneal_updates",
    "finetune.updates",
    "finetune.warmup_updates",
    "finetune.freeze_updates",
    "finetune.eval_every",
)


def composed(config_dir: Path, overrides: Mapping[str, Any]) -> Values:
    """Values of a run: its groups in Hydra's order, then single keys (`model.dim`). Updates are not yet scaled."""
    groups = _groups(config_dir)
    choices = {name: str(overrides.get(name, default)) for name, default in groups.items()}
    if "preset" not in overrides:
        choices["preset"] = PRESET_OF_VARIANT.get(str(overrides.get("variant")), choices["preset"])
    values: Values = {}
    for group in groups:
        name = re.sub(r"\$\{(\w+)\}", lambda match: choices[match.group(1)], choices[group])
        merge(values, _file(config_dir / group / f"{name}.yaml"))
    for key, value in overrides.items():
        if key not in groups:
            set_key(values, key, value)
    return values


def task_values(config_dir: Path, task: str, method: str) -> Values:
    """What a task's file says, and after it that of the method."""
    values: Values = {}
    for name in (task, f"{method}/{task}"):
        merge(values, _file(config_dir / "task" / f"{name}.yaml"))
    return values


def scale_updates(values: dict[str, Any], budget: float, keys: tuple[str, ...] = UPDATE_KEYS) -> None:
    """Multiply the named numbers of updates by `budget`, in place; at least one update remains of some."""
    if not (isinstance(budget, int | float) and not isinstance(budget, bool) and 0 < budget < math.inf):
        raise UserError(f"budget = {budget!r} is not allowed: it must be a number above 0")
    for key in keys:
        section, name = key.split(".")
        value = values.get(section, {}).get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            values[section][name] = max(1, round(value * budget))


def merge(values: Values, more: Values) -> None:
    """Put `more` on top, section by section, in place."""
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(values.get(key), dict):
            merge(values[key], value)
        else:
            values[key] = deepcopy(value)


def set_key(values: Values, key: str, value: Any) -> None:
    """Set `section.name`, in place."""
    section, _, name = key.rpartition(".")
    (values.setdefault(section, {}) if section else values)[name] = value


def flat(values: Values) -> dict[str, Any]:
    """Sections as dotted keys; what stands outside of a section keeps its name."""
    return {
        f"{section}.{key}" if key else section: value
        for section, part in values.items()
        for key, value in (part if isinstance(part, dict) else {"": part}).items()
    }


def complete(values: Values) -> Values:
    """The values on top of the schema's defaults, as far as they stand above."""
    whole = deepcopy(DEFAULTS)
    merge(whole, values)
    if whole["train"]["views"] is not None:  # as the schema derives it (config.py)
        whole["train"]["batch_size"] = max(1, whole["train"]["views"] // whole["mask"]["clones"])
    return whole


def as_config(values: Values) -> Any:
    """The values with attributes like a `RunConfig`'s, as far as `flops.py` and `costs.py` read it."""
    whole = complete(values)
    return SimpleNamespace(**{k: SimpleNamespace(**v) if isinstance(v, dict) else v for k, v in whole.items()})


@cache
def _groups(config_dir: Path) -> dict[str, str]:
    """The groups in their order, with what each is by default; one may name others as `${group}`."""
    entries = [entry for entry in read_yaml(config_dir / "config.yaml")["defaults"] if isinstance(entry, dict)]
    return {key.split()[-1]: str(value) for entry in entries for key, value in entry.items()}


@cache
def _file(path: Path) -> Values:
    """One option and those that its `defaults` name; {} if there is no such file (an optional group)."""
    values: Values = {}
    if path.is_file():
        content: Values = yaml.load(path.read_text(encoding="utf-8"), YamlLoader) or {}
        for name in content.pop("defaults", ["_self_"]):
            merge(values, content if name == "_self_" else _file(path.parent / f"{name}.yaml"))
    return values
