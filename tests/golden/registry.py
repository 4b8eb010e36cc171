"""Which function runs which kind of golden case; filled by the modules in `kinds/`."""

from collections.abc import Callable

from .compare import Case

Runner = Callable[[Case], None]

RUNNERS: dict[str, Runner] = {}

_SPEECH_AND_TEXT = "issue 3 (speech and text, equal to the original)"
_CHECKPOINTS = "issue 8 (checkpoints in and out)"
_RIVALS = "issue 9 (the rivals)"

# Kinds, or kind/modality, whose code is not built yet, and where it will be.
NOT_BUILT: dict[str, str] = {
    "ablation_v2/text": _SPEECH_AND_TEXT,
    "fairseq_checkpoint": _CHECKPOINTS,
    "beit_checkpoint": _CHECKPOINTS,
    "hf": _CHECKPOINTS,
    "mae": _RIVALS,
    "mlm_hf": _RIVALS,
}


def not_built(case: Case) -> str | None:
    """Where the code for a case will be built, or None if it should run."""
    return NOT_BUILT.get(case.kind) or NOT_BUILT.get(f"{case.kind}/{case.description.get('modality')}")
