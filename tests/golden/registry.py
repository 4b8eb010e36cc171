"""Which function runs which kind of golden case; filled by the modules in `kinds/`."""

from collections.abc import Callable

from .compare import Case

Runner = Callable[[Case], None]

RUNNERS: dict[str, Runner] = {}

_SPEECH_AND_TEXT = "issue 3 (speech and text, equal to the original)"

# Kinds, or kind/modality, whose code is not built yet, and where it will be.
NOT_BUILT: dict[str, str] = {
    "ablation_v2/text": _SPEECH_AND_TEXT,
}


def not_built(case: Case) -> str | None:
    """Where the code for a case will be built, or None if it should run."""
    return NOT_BUILT.get(case.kind) or NOT_BUILT.get(f"{case.kind}/{case.description.get('modality')}")
