"""Runners, one module per family of golden cases.

A module registers its runners by a mapping `KINDS = {kind: function of a Case}`; it is found by being here.
"""

import importlib
import pkgutil

from ..registry import RUNNERS

for _info in pkgutil.iter_modules(__path__):
    _module = importlib.import_module(f"{__name__}.{_info.name}")
    for _kind, _runner in getattr(_module, "KINDS", {}).items():
        if _kind in RUNNERS:
            raise ValueError(f"two runners for kind {_kind}: the second is in {_info.name}")
        RUNNERS[_kind] = _runner
