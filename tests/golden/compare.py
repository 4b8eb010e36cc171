"""One golden case: its description, its tensors, and the comparison of what we compute with what is stored.

The rule is the fixtures' own: |x - expected| <= atol + rtol * max|expected tensor|, with the same positions
of inf.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

GIVEN = ("in/", "weights/", "teacher/", "example/")  # inputs and illustrations: nothing to compare


@dataclass(frozen=True)
class Deviation:
    """How far one quantity is from its expected value; a `share` of what is allowed above 1 is a failure."""

    name: str
    difference: float
    share: float
    note: str = ""

    def __str__(self) -> str:
        text = f"{self.name}: off by {self.difference:.3g}, {self.share:.3g} of the tolerance {self.note}"
        return text.rstrip()


class Case:
    """A case folder. Runners call `check`, `check_group` or `check_number` for all that is expected."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.description: dict[str, Any] = yaml.safe_load((folder / "case.yaml").read_text())
        self.kind: str = self.description["kind"]
        self.config: dict[str, Any] = self.description.get("config", {})
        stored = folder / "tensors.safetensors"
        self.tensors: dict[str, Tensor] = load_file(stored) if stored.exists() else {}
        self.deviations: list[Deviation] = []
        self._settled: set[str] = set()

    def group(self, prefix: str) -> dict[str, Tensor]:
        """All tensors whose name begins with `prefix` (for instance "weights/"), without the prefix."""
        return {name.removeprefix(prefix): t for name, t in self.tensors.items() if name.startswith(prefix)}

    def allowed(self, name: str, expected: Tensor) -> float:
        """The greatest difference that the case allows for a tensor."""
        tolerance = self.description.get("tolerance", {})
        atol, rtol = float(tolerance.get("atol", 1e-5)), float(tolerance.get("rtol", 1e-5))
        for prefix, raised in (tolerance.get("atol_by_prefix") or {}).items():
            if name.startswith(prefix):
                atol = max(atol, float(raised))
        finite = expected[expected.isfinite()]
        return atol + rtol * (finite.abs().max().item() if finite.numel() else 0.0)

    def check(self, name: str, value: Tensor | float) -> None:
        """Compare `value` with the stored tensor of that name; a difference is reported by `finish`."""
        self._settled.add(name)
        self.compare(name, value, self.tensors[name])

    def compare(self, name: str, value: Tensor | float, expected: Tensor) -> None:
        """Compare `value` with a tensor that stands elsewhere, by the same rule."""
        got, expected = torch.as_tensor(value).detach().cpu().double(), expected.double()
        if got.shape != expected.shape:
            self._add(name, torch.inf, torch.inf, f"(shape {tuple(got.shape)}, expected {tuple(expected.shape)})")
            return
        bounds = (self.description.get("tolerance", {}).get("noise_only") or {}).get("bounds", {})
        if name in bounds:  # mathematically zero: the stored value is rounding noise
            self._add_number(name, got, torch.zeros_like(got), float(bounds[name]))
        else:
            self._add_number(name, got, expected, self.allowed(name, expected))

    def check_group(self, prefix: str, values: Mapping[str, Tensor | float]) -> None:
        """Compare all stored tensors under `prefix` with `values`, which may hold further names."""
        for name in self.group(prefix):
            if name in values:
                self.check(prefix + name, values[name])
            else:
                self._settled.add(prefix + name)
                self._add(prefix + name, torch.inf, torch.inf, "(not computed)")

    def check_number(self, name: str, value: float, expected: float, allowed: float) -> None:
        """Compare a number that stands in a table instead of a tensor."""
        self._add_number(name, torch.tensor(value).double(), torch.tensor(expected).double(), allowed)

    def ignore(self, prefix: str, reason: str) -> None:
        """Leave stored tensors under `prefix` uncompared; the reason is for the reader of the runner."""
        assert reason
        self._settled.update(name for name in self.tensors if name.startswith(prefix))

    @property
    def worst(self) -> Deviation:
        """The quantity nearest to, or furthest beyond, its tolerance."""
        return max(self.deviations, key=lambda deviation: deviation.share, default=Deviation("nothing", 0.0, 0.0))

    def finish(self) -> None:
        """Fail if anything is out of tolerance, was not compared, or if nothing was compared at all."""
        failed = [deviation for deviation in self.deviations if not deviation.share <= 1]
        missed = [name for name in self.tensors if name not in self._settled and not name.startswith(GIVEN)]
        lines = [f"{len(failed)} of {len(self.deviations)} compared quantities are out of tolerance, in order:"]
        lines += [f"  {deviation}" for deviation in failed[:20]]
        if failed:
            raise AssertionError("\n".join(lines))
        if missed:
            raise AssertionError(f"{len(missed)} stored tensors were not compared: {', '.join(missed[:10])}")
        if not self.deviations:
            raise AssertionError("the runner compared nothing")

    def _add_number(self, name: str, got: Tensor, expected: Tensor, allowed: float) -> None:
        finite = expected.isfinite()
        if not torch.equal(got[~finite], expected[~finite]) or not got[finite].isfinite().all():
            self._add(name, torch.inf, torch.inf, "(inf or nan at other positions)")
            return
        difference = (got[finite] - expected[finite]).abs().max().item() if finite.any() else 0.0
        self._add(name, difference, difference / allowed if allowed else (torch.inf if difference else 0.0))

    def _add(self, name: str, difference: float, share: float, note: str = "") -> None:
        self.deviations.append(Deviation(name, difference, share, note))
