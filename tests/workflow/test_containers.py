"""Containers install the one list of packages, on the Python that environment.yml names."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = ("containers/Dockerfile", "containers/data2vec.def")


@pytest.mark.parametrize("file", FILES)
def test_a_container_installs_the_pinned_list(file: str) -> None:
    text = (ROOT / file).read_text()
    copied = re.findall(r"^(?:COPY|   ) *requirements\.txt (\S+)$", text, re.MULTILINE)
    installed = re.findall(r"pip install --no-cache-dir -r (\S+)$", text, re.MULTILINE)
    assert len(copied) == 1 and copied == installed
    assert len(re.findall("pip install", text)) == 1


@pytest.mark.parametrize("file", FILES)
def test_a_container_has_the_python_of_the_environment(file: str) -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (version,) = [line.split("=")[1] for line in environment["dependencies"] if str(line).startswith("python=")]
    (image,) = re.findall(r"^(?:FROM|From:) (\S+)$", (ROOT / file).read_text(), re.MULTILINE)
    assert image == f"python:{version}-slim"


def test_the_page_names_both_and_the_flags_for_gpus() -> None:
    page = (ROOT / "docs" / "containers.md").read_text()
    assert all(file in page for file in FILES)
    assert "--gpus all" in page and "--nv" in page
