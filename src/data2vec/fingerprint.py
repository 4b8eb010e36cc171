"""What a job's result depends on besides its inputs: the code it runs and the configuration it composes.

Snakemake sees the text of a rule, not the Python behind `python -m data2vec`. These fingerprints go into the
rules' `params:`, so that a change of code or of configuration reruns the jobs that use it and nothing else
does: comments, docstrings, blank lines and modules that are not imported do not count. Standard library and
PyYAML only.
"""

import ast
import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from data2vec.errors import UserError
from data2vec.settings import YamlLoader

LENGTH = 16  # hexadecimal digits; 64 bits are plenty to tell versions of a file apart


def code_fingerprint(entry: str, source_dir: Path, memory: Path | None = None) -> str:
    """Fingerprint of a module and of everything of ours that it imports, directly or not.

    Imports inside functions and dotted module names in strings (lazy loading) count. So do files that are not
    Python and lie in an imported package, for instance templates.

    Args:
        entry: dotted module name, for instance `data2vec.training.pretrain`.
        source_dir: the folder that holds the package.
        memory: JSON file that keeps what was found out about a source text, since parsing all of them takes a second.

    Raises:
        UserError: if the module does not exist or cannot be parsed.
    """
    recalled = _recall(memory) if memory else {}
    _FACTS.update(recalled)
    parts = {}
    for module in sorted(import_closure(entry, source_dir)):
        path = _module_file(module, source_dir)
        assert path is not None  # import_closure only names modules with a file
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        parts[module] = _facts(path, package)[0]
        if path.name == "__init__.py":
            parts |= {str(f.relative_to(source_dir)): _bytes_hash(f) for f in _data_files(path.parent)}
    if memory and not recalled.keys() >= _USED:
        _remember(memory)
    return _digest(repr(sorted(parts.items())))


Facts = tuple[str, list[str]]  # fingerprint of a source text, and dotted names in it that may be modules
_FACTS: dict[str, Facts] = {}
_USED: set[str] = set()  # what stands in the memory beyond these is of earlier versions


def _recall(memory: Path) -> dict[str, Facts]:
    """What is in a memory file; nothing if there is none, or one that cannot be read."""
    with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
        return {key: (str(code), list(names)) for key, (code, names) in json.loads(memory.read_text()).items()}
    return {}


def _remember(memory: Path) -> None:
    """Write the memory; a folder that cannot be written to only costs the time."""
    partial = memory.with_name(f"{memory.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        memory.parent.mkdir(exist_ok=True)
        partial.write_text(json.dumps({key: _FACTS[key] for key in sorted(_USED)}))
        partial.replace(memory)


def import_closure(entry: str, source_dir: Path) -> set[str]:
    """The entry module and all first-party modules that it reaches, packages on the way included."""
    if _module_file(entry, source_dir) is None:
        raise UserError(f"no module '{entry}' under {source_dir}: the rules and the package do not fit together")
    found: set[str] = set()
    waiting = [entry]
    while waiting:
        for module in _with_packages(waiting.pop()):
            if module not in found:
                found.add(module)
                waiting += _imports(module, source_dir)
    return found


@cache
def _imports(module: str, source_dir: Path) -> list[str]:
    """First-party modules that a module names."""
    path = _module_file(module, source_dir)
    assert path is not None
    root = module.partition(".")[0]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    modules = {_existing(name, source_dir) for name in _facts(path, package)[1] if name.partition(".")[0] == root}
    return sorted(modules - {""})


@cache
def _facts(path: Path, package: str) -> Facts:
    """About one file of a package; the same text is parsed once, whenever that was."""
    key = hashlib.sha256(b"\0".join([_own_text(), package.encode(), path.read_bytes()])).hexdigest()
    _USED.add(key)
    if key not in _FACTS:
        tree = _parse(path)
        names = {name for node in ast.walk(tree) for name in _names(node, package)}
        _FACTS[key] = _digest(_canonical(tree)), sorted(names)
    return _FACTS[key]


@cache
def _own_text() -> bytes:
    """This module, on whose code all facts depend."""
    return Path(__file__).read_bytes()


def _names(node: ast.AST, package: str) -> Iterator[str]:
    """Dotted names that may be modules; `from a import b` gives `a.b`, of which `a` may be what exists."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        parents = package.split(".")
        base = parents[: len(parents) - node.level + 1] if node.level else []
        base = [*base, *(node.module or "").split(".")] if node.module else base
        yield from (".".join([*base, alias.name]) for alias in node.names)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        match = re.match(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+(?=:|$)", node.value)
        if match:
            yield match.group()


def _existing(name: str, source_dir: Path) -> str:
    """The longest prefix of a dotted name that is a module, or ""."""
    while name and _module_file(name, source_dir) is None:
        name = name.rpartition(".")[0]
    return name


def _with_packages(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


@cache
def _module_file(module: str, source_dir: Path) -> Path | None:
    base = source_dir.joinpath(*module.split("."))
    candidates = (base / "__init__.py", base.with_name(base.name + ".py"))
    return next((path for path in candidates if path.is_file()), None)


def _data_files(package: Path) -> list[Path]:
    """Files of a package that are not Python: in its folder, and in sub-folders that are no packages."""
    files = []
    for path in sorted(package.iterdir()):
        if path.is_dir() and path.name != "__pycache__" and not (path / "__init__.py").exists():
            files += [f for f in sorted(path.rglob("*")) if f.is_file() and f.suffix not in (".py", ".pyc")]
        elif path.is_file() and path.suffix not in (".py", ".pyc"):
            files.append(path)
    return files


def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8"), str(path))
    except SyntaxError as error:
        raise UserError(f"{path}, line {error.lineno}: not valid Python ({error.msg})") from None


def _canonical(node: object) -> str:
    """A syntax tree as text: no positions, no docstrings, and the same for every version of Python.

    `ast.dump` changed between versions, so empty fields (which newer versions add) are left out here.
    """
    if isinstance(node, ast.AST):
        fields = ((name, value) for name, value in ast.iter_fields(node) if value not in (None, []) or name == "value")
        return f"{type(node).__name__}({','.join(f'{name}={_canonical(value)}' for name, value in fields)})"
    if isinstance(node, list):
        return f"[{','.join(_canonical(item) for item in node if not _is_docstring(item))}]"
    return repr(node)


def _is_docstring(node: object) -> bool:
    """A string that stands alone does nothing, wherever it stands."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def config_fingerprint(config_dir: Path, choices: Mapping[str, str]) -> str:
    """Fingerprint of the Hydra files that a run composes: root, chosen options and their defaults.

    Args:
        config_dir: folder of the groups (`config/run`).
        choices: option by group, for instance `{"modality": "vision", "model": "tiny"}`; they win over
        defaults.
    """
    files = _composed_files(config_dir, dict(choices))
    return _digest(repr({str(f.relative_to(config_dir)): yaml_content(f) for f in sorted(files)}))


@cache
def yaml_content(path: Path) -> str:
    """Parsed content of a YAML file as text; of its comments only Hydra's `# @package` has a meaning."""
    text = path.read_text(encoding="utf-8")
    return repr((re.findall(r"^# *@package +\S+", text, re.MULTILINE), yaml.load(text, YamlLoader)))


def _composed_files(config_dir: Path, choices: dict[str, str]) -> set[Path]:
    found: set[Path] = set()
    waiting = [
        config_dir / "config.yaml",
        *(config_dir / group / f"{name}.yaml" for group, name in choices.items()),
    ]
    while waiting:
        path = waiting.pop()
        if path in found or not path.is_file():  # an `optional` group may have no such option
            continue
        found.add(path)
        content: Any = yaml.load(path.read_text(encoding="utf-8"), YamlLoader)
        for entry in (content or {}).get("defaults", []) if isinstance(content, dict) else []:
            waiting += _default_files(entry, path, config_dir, choices)
    return found


def _default_files(entry: object, path: Path, config_dir: Path, choices: dict[str, str]) -> list[Path]:
    """Files behind one entry of a defaults list; every option of the group if the name cannot be resolved."""
    if isinstance(entry, str):
        return [] if entry == "_self_" else [path.parent / f"{entry.lstrip('/')}.yaml"]
    if not isinstance(entry, dict):
        return []
    files = []
    for key, option in entry.items():
        group = key.split()[-1].partition("@")[0]  # "override /model@x" -> "/model"
        folder = config_dir / group.lstrip("/") if group.startswith("/") else path.parent / group
        name = choices.setdefault(group.lstrip("/"), str(option))
        name = re.sub(r"\$\{(\w+)\}", lambda match: choices.get(match.group(1), match.group()), name)
        files += sorted(folder.glob("*.yaml")) if "${" in name else [folder / f"{name}.yaml"]
    return files


def _bytes_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]
