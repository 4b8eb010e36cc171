"""What became of every tensor of a checkpoint, and what was concluded or assumed about its configuration."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Report:
    """An import, key by key."""

    mapped: dict[str, str] = field(default_factory=dict)
    """Name in the file -> name here."""
    unused: dict[str, str] = field(default_factory=dict)
    """Name in the file -> why it is left out."""
    missing: dict[str, str] = field(default_factory=dict)
    """Name here -> why the file need not have it, and what stands in its place."""
    differences: list[str] = field(default_factory=list)
    """Where tensors and stored configuration disagree; the tensors are right."""
    assumed: list[str] = field(default_factory=list)
    """What neither tensors nor stored configuration tell."""

    def as_dict(self) -> dict[str, Any]:
        """For import.json."""
        return asdict(self)

    def text(self, every: bool = False) -> str:
        """The report for a reader: counts and reasons; with `every`, all mapped names too."""
        lines = [f"{len(self.mapped)} tensors mapped, {len(self.unused)} unused, {len(self.missing)} missing"]
        if every:
            lines += [f"  mapped: {theirs} -> {ours}" for theirs, ours in self.mapped.items()]
        lines += _grouped("unused", self.unused)
        lines += _grouped("missing", self.missing)
        lines += [f"  the file contradicts itself: {line}" for line in self.differences]
        lines += [f"  assumed: {line}" for line in self.assumed]
        return "\n".join(lines) + "\n"


def _grouped(title: str, entries: dict[str, str]) -> list[str]:
    """One line per reason, with the names that it holds for."""
    names: dict[str, list[str]] = {}
    for name, reason in entries.items():
        names.setdefault(reason, []).append(name)
    return [
        f"  {title}: {', '.join(found[:3])}{f' and {len(found) - 3} more' if len(found) > 3 else ''}: {reason}"
        for reason, found in names.items()
    ]
