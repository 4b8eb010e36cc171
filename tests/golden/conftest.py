"""`pytest tests/golden --golden-dir DIR` runs every case folder in DIR; one line per case at the end."""

from pathlib import Path

import pytest

DEFAULT = Path(__file__).parent / "cases"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the folder of cases."""
    parser.addoption("--golden-dir", default=None, help="folder of golden cases (default: those kept in the project)")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per case folder."""
    if "case_folder" not in metafunc.fixturenames:
        return
    # Started from another folder, pytest reads this file too late to add the option.
    folder = Path(metafunc.config.getoption("--golden-dir", default=None) or DEFAULT)
    cases = sorted(path.parent for path in folder.glob("*/case.yaml"))
    if not cases:
        raise pytest.UsageError(f"no golden cases in {folder} (a case is a folder with a case.yaml)")
    metafunc.parametrize("case_folder", cases, ids=[case.name for case in cases])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How near each case came to its tolerance."""
    reports = [r for key in ("passed", "failed") for r in terminalreporter.stats.get(key, []) if r.when == "call"]
    lines = sorted(dict(report.user_properties).get("golden", "") for report in reports)
    if any(lines):
        terminalreporter.section("golden cases: worst quantity, difference, share of its tolerance")
        for line in filter(None, lines):
            terminalreporter.line(line)
