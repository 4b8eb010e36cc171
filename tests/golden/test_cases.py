"""Every golden case equals the original implementation within the case's tolerance."""

from collections.abc import Callable
from pathlib import Path

import pytest

from . import kinds  # noqa: F401 - registers the runners
from .compare import Case
from .registry import NOT_BUILT, RUNNERS, not_built


def test_case(case_folder: Path, record_property: Callable[[str, object], None]) -> None:
    """The case's runner finds all quantities within tolerance."""
    case = Case(case_folder)
    if reason := not_built(case):
        pytest.skip(f"kind {case.kind}: {reason}")
    if case.kind not in RUNNERS:
        pytest.fail(f"no runner for kind {case.kind}", pytrace=False)
    try:
        RUNNERS[case.kind](case)
    except Exception as error:
        failed = [str(deviation) for deviation in case.deviations if not deviation.share <= 1]
        error.add_note("out of tolerance before this: " + ("; ".join(failed[:10]) or "nothing"))
        raise
    worst = case.worst
    record_property("golden", f"{case_folder.name:44s} {worst.name:58s} {worst.difference:9.2e} {worst.share:9.2e}")
    case.finish()


def test_no_kind_is_both_built_and_not_built() -> None:
    """A kind leaves the list of what is not built when its runner arrives."""
    assert not set(RUNNERS) & set(NOT_BUILT)
