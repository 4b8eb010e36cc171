"""The workflow's configuration (`config/config.yaml`), checked against `workflow/schemas/config.schema.yaml`.

Snakemake's own validation prints the whole schema when a key is misspelt; here every mistake is one line that
names the key, the value and what is allowed. Light on purpose: standard library and PyYAML, because Snakemake
may live in an environment that has nothing else.
"""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from data2vec.errors import UserError

YamlLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster, where PyYAML came with it
TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "string": ((str,), "text"),
    "integer": ((int,), "a whole number"),
    "number": ((int, float), "a number"),
    "boolean": ((bool,), "true or false"),
    "array": ((list,), "a list"),
    "object": ((dict,), "a mapping (name: value)"),
    "null": ((type(None),), "null"),
}


@dataclass(frozen=True)
class Settings:
    """What to run. Every field is a key of `config/config.yaml`, defaults filled in."""

    scale: str
    modalities: str | list[str]
    experiments: str | list[str]
    seeds: int
    budget: float
    data_mirror: str | None
    data_dir: str
    data_paths: dict[str, str]
    checkpoints: dict[str, str]
    offline: bool


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises UserError that names the file."""
    try:
        text = path.read_text(encoding="utf-8")
        try:
            content = yaml.load(text, YamlLoader)
        except yaml.YAMLError:
            content = yaml.safe_load(text)  # the Python loader explains mistakes better
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise UserError(f"{path}{line}: not valid YAML ({getattr(error, 'problem', error)})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: must hold keys and values (key: value), not {type(content).__name__}")
    return content


def known(name: object, allowed: list[str], what: str) -> str:
    """`name` if it is allowed. Raises UserError with the nearest match and the list of what is allowed."""
    if isinstance(name, str) and name in allowed:
        return name
    near = difflib.get_close_matches(str(name), allowed, n=1, cutoff=0.5)
    hint = f", did you mean '{near[0]}'?" if near else "."
    raise UserError(f"unknown {what} '{name}'{hint} Allowed: {', '.join(allowed) or 'none'}")


def check(config: dict[str, Any], schema_file: Path) -> Settings:
    """Settings from a configuration. Raises UserError for an unknown key or a value that is not allowed."""
    properties: dict[str, dict[str, Any]] = read_yaml(schema_file)["properties"]
    for key in config:
        known(key, list(properties), "configuration key")
    values: dict[str, Any] = {key: _plain(config.get(key, rule["default"]), rule) for key, rule in properties.items()}
    for key, rule in properties.items():
        _check_value(key, values[key], rule)
    mirror = values["data_mirror"]
    if mirror is not None and not Path(mirror).is_dir():
        raise UserError(f"data_mirror = '{mirror}' is not a folder. Give an existing folder, or leave the key out.")
    for name, path in values["checkpoints"].items():
        if not Path(path).expanduser().exists():
            raise UserError(f"checkpoints.{name} = '{path}': no such file or folder")
    return Settings(**values)


def _kinds(rule: dict[str, Any]) -> list[str]:
    return rule["type"] if isinstance(rule["type"], list) else [rule["type"]]


def _plain(value: object, rule: dict[str, Any]) -> object:
    """`true` and `null` reach us as text from Snakemake's command line; read them as YAML where allowed."""
    meant = {"true": True, "false": False, "null": None}.get(value, value) if isinstance(value, str) else value
    return meant if any(type(meant) in TYPES[name][0] for name in _kinds(rule)) else value


def _check_value(key: str, value: object, rule: dict[str, Any]) -> None:
    """Type and range of one value; a list's items and a mapping's values too."""
    names = _kinds(rule)
    allowed = tuple(kind for name in names for kind in TYPES[name][0])
    is_stray_bool = isinstance(value, bool) and bool not in allowed  # a bool is an int to Python, not to a user
    words = " or ".join(TYPES[name][1] for name in names)
    low, above = rule.get("minimum"), rule.get("exclusiveMinimum")
    words += f" of at least {low}" if low is not None else f" above {above}" if above is not None else ""
    is_number = isinstance(value, int | float) and not is_stray_bool
    too_low = is_number and ((low is not None and value < low) or (above is not None and not value > above))
    if not isinstance(value, allowed) or is_stray_bool or too_low or value == float("inf"):
        raise UserError(f"{key} = {value!r} is not allowed: it must be {words}")
    if isinstance(value, list):
        for item in value:
            _check_value(f"an entry of {key}", item, rule["items"])
    if isinstance(value, dict):
        for name, item in value.items():
            _check_value(f"{key}.{name}", item, rule["additionalProperties"])
