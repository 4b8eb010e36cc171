"""A change of code or configuration that a job uses is seen; a comment or an unrelated module is not."""

import subprocess
import sys
from pathlib import Path

import pytest

from data2vec import fingerprint
from data2vec.errors import UserError
from data2vec.fingerprint import code_fingerprint, config_fingerprint, import_closure

ROOT = Path(__file__).parents[2]

PACKAGE = {
    "toy/__init__.py": '"""A toy package."""\n',
    "toy/train.py": (
        '"""Entry."""\nimport math\n\nfrom . import optim\nfrom toy.nn import layers as l\n\n\n'
        'def run():\n    """Train."""\n    import toy.late\n    # a comment\n    return l.width * math.pi\n'
    ),
    "toy/optim.py": "RATE = 1e-3\n",
    "toy/late.py": "from .nn.extra import *\n",
    "toy/nn/__init__.py": "",
    "toy/nn/layers.py": "width = 3\n",
    "toy/nn/extra.py": "LAZY = 'toy.plugin:build'\n",
    "toy/plugin.py": "def build():\n    return None\n",
    "toy/unrelated.py": "x = 1\n",
    "toy/templates/page.html": "<p>page</p>\n",
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name, text in PACKAGE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def current(source: Path, memory: Path | None = None) -> str:
    for function in (fingerprint._imports, fingerprint._module_file, fingerprint._facts, fingerprint.yaml_content):
        function.cache_clear()
    fingerprint._FACTS.clear()
    fingerprint._USED.clear()
    return code_fingerprint("toy.train", source, memory)


def test_the_closure_follows_every_kind_of_import(source: Path) -> None:
    assert import_closure("toy.train", source) == {
        "toy", "toy.train", "toy.optim", "toy.late", "toy.nn", "toy.nn.layers", "toy.nn.extra", "toy.plugin",
    }  # fmt: skip


@pytest.mark.parametrize(
    "file, old, new",
    [
        ("toy/train.py", "# a comment", "# another\n    # comment"),
        ("toy/train.py", "def run", "\n\n\ndef run"),
        ("toy/train.py", '"""Train."""', '"""Train well."""'),
        ("toy/nn/layers.py", "width = 3", "width  =  3  # in pixels"),
        ("toy/unrelated.py", "x = 1", "x = 2"),
    ],
)
def test_what_does_not_run_does_not_count(source: Path, file: str, old: str, new: str) -> None:
    before = current(source)
    (source / file).write_text((source / file).read_text().replace(old, new))
    assert current(source) == before


@pytest.mark.parametrize(
    "file, old, new",
    [
        ("toy/train.py", "math.pi", "math.e"),
        ("toy/__init__.py", '"""A toy package."""', "y = 1"),
        ("toy/optim.py", "1e-3", "1e-4"),
        ("toy/late.py", ".extra", ".layers"),
        ("toy/plugin.py", "None", "0"),
        ("toy/nn/layers.py", "3", "3.0"),
        ("toy/templates/page.html", "page", "leaf"),
    ],
)
def test_a_change_of_code_counts(source: Path, file: str, old: str, new: str) -> None:
    before = current(source)
    (source / file).write_text((source / file).read_text().replace(old, new))
    assert current(source) != before


def test_an_absent_or_broken_module_is_named(source: Path) -> None:
    with pytest.raises(UserError, match=r"no module 'toy\.absent'"):
        code_fingerprint("toy.absent", source)
    (source / "toy/optim.py").write_text("def broken(:\n")
    with pytest.raises(UserError, match=r"optim\.py, line 1: not valid Python"):
        current(source)


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    files = {
        "config.yaml": "defaults: [method: a, recipe: '${method}_x', optional size: '${method}_x', _self_]\n",
        "method/a.yaml": "# @package _global_\n# a comment\nlr: 1\n",
        "method/b.yaml": "defaults: [a]\nlr: 2\n",
        "recipe/a_x.yaml": "k: 1\n",
        "recipe/b_x.yaml": "k: 2\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    "file, text, changes_a, changes_b",
    [
        ("method/a.yaml", "# @package _global_\n# other words\nlr:   1\n", False, False),
        ("method/a.yaml", "# @package optim\nlr: 1\n", True, True),  # the one comment with a meaning
        ("method/b.yaml", "defaults: [a]\nlr: 3\n", False, True),
        ("recipe/b_x.yaml", "k: 3\n", False, True),
        ("size/a_x.yaml", "d: 1\n", True, False),
        ("unrelated/z.yaml", "z: 1\n", False, False),
    ],
)
def test_a_run_depends_on_the_files_it_composes(
    groups: Path, file: str, text: str, changes_a: bool, changes_b: bool
) -> None:
    before = {method: config_fingerprint(groups, {"method": method}) for method in "ab"}
    (groups / file).parent.mkdir(exist_ok=True)
    (groups / file).write_text(text)
    fingerprint.yaml_content.cache_clear()
    after = {method: config_fingerprint(groups, {"method": method}) for method in "ab"}
    assert (before["a"] != after["a"], before["b"] != after["b"]) == (changes_a, changes_b)


def test_the_workflows_modules_import_nothing_heavy() -> None:
    code = (
        "import sys; from data2vec import errors, fingerprint, job, machine, planning, settings; "
        "heavy = {'torch', 'numpy', 'pydantic', 'hydra', 'snakemake', 'pandas'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(ROOT / "src")})


def test_a_memory_changes_nothing_but_the_time(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory, plain = tmp_path / "box" / "memory.json", current(source)
    assert current(source, memory) == plain
    with monkeypatch.context() as context:
        context.setattr(fingerprint, "_parse", lambda path: pytest.fail(f"parsed {path} again"))
        assert current(source, memory) == plain
    size = memory.stat().st_size
    (source / "toy/optim.py").write_text("RATE = 2e-3\n")
    changed = current(source, memory)
    assert changed == current(source) != plain
    assert memory.stat().st_size == size  # what it knew about the earlier text is gone


@pytest.mark.parametrize("content", ["", "[1, 2]", '{"a": 3}'])
def test_a_damaged_memory_is_written_anew(source: Path, tmp_path: Path, content: str) -> None:
    memory, plain = tmp_path / "memory.json", current(source)
    memory.write_text(content)
    assert current(source, memory) == plain
    assert memory.read_text().startswith('{"')
