"""What a foreign checkpoint says about its model: shapes of its tensors first, its stored configuration second."""

import ast
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from data2vec.errors import UserError
from data2vec.interop.names import Rule
from data2vec.interop.report import Report

Sections = dict[str, dict[str, Any]]
"""Sections of a configuration, as far as a file tells."""

Value = TypeVar("Value")

HEAD_WIDTH = 64
"""Channels of an attention head in every published model; used where the file does not tell."""


@dataclass(frozen=True)
class Layout:
    """Which model a file holds."""

    form: str
    """In words, for the provenance."""
    method: str
    modality: str
    sections: Sections
    rules: list[Rule]
    """Its names, and ours."""


class Facts:
    """Shapes by name, a stored configuration, and a report of where they disagree."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], stored: Mapping[str, Any], report: Report) -> None:
        self.shapes, self.stored, self.report = shapes, stored, report

    def find(self, name: str, axes: int) -> tuple[int, ...] | None:
        """Shape of a tensor with so many axes, None if it is not there."""
        shape = self.shapes.get(name)
        if shape is not None and (len(shape) != axes or 0 in shape):
            raise UserError(f"tensor {name} has the shape {shape}; it should have {axes} axes and not be empty")
        return shape

    def shape(self, name: str, axes: int) -> tuple[int, ...]:
        """Shape of a tensor that must be there, with so many axes."""
        shape = self.find(name, axes)
        if shape is None:
            raise UserError(f"there is no tensor {name}, so it is no complete model")
        return shape

    def has(self, pattern: str) -> bool:
        """Whether the whole name of any tensor fits the pattern."""
        return any(re.fullmatch(pattern, name) for name in self.shapes)

    def numbers(self, pattern: str) -> set[int]:
        """What the one group of a pattern finds at the beginning of names."""
        return {int(match[1]) for name in self.shapes if (match := re.match(pattern, name))}

    def count(self, pattern: str) -> int:
        """How many numbered things there are, by the number in the pattern's one group, from 0 without gaps."""
        numbers = self.numbers(pattern)
        if len(numbers) != 1 + max(numbers, default=-1):
            raise UserError(f"of the numbered tensors {pattern} some are not there, so it is no complete model")
        return len(numbers)

    def told(self, *keys: str) -> Any:
        """The stored value of the first of these dotted keys that has one, or None."""
        for key in keys:
            value: Any = self.stored
            for part in key.split("."):
                value = value.get(part) if isinstance(value, Mapping) else None
            if value is not None:
                return value
        return None

    def number(self, *keys: str) -> float | None:
        """The stored value of these keys where it is a number."""
        value = self.told(*keys)
        return value if isinstance(value, int | float) and math.isfinite(value) else None

    def assume(self, default: Any, what: str, *keys: str) -> Any:
        """The stored value, or `default`, which is then reported as assumed."""
        value = self.told(*keys)
        if value is None:
            self.report.assumed.append(f"{what} = {default}: neither tensors nor stored configuration tell")
            return default
        return value

    def measured(self, value: Value, *keys: str) -> Value:
        """A value that follows from the tensors; a different stored one is reported."""
        stored = self.told(*keys)
        if stored is not None and stored != value:
            self.report.differences.append(f"{keys[0]} is stored as {stored}, its tensors say {value}")
        return value

    def heads(self, dim: int, *keys: str, found: int | None = None) -> int:
        """Attention heads: counted by `found` where a tensor tells, else as stored, else by the usual width."""
        if found is not None:
            return self.measured(found, *keys)
        heads = self.assume(max(1, dim // HEAD_WIDTH), "attention heads", *keys)
        if type(heads) is not int or heads < 1 or dim % heads:
            raise UserError(f"the stored configuration says {keys[0]} = {heads}, which does not divide the width {dim}")
        return heads


def ratio(hidden: int, dim: int) -> float:
    """A `model.mlp_ratio` that gives just this hidden width, without loss by rounding."""
    exact = hidden / dim
    return exact if int(dim * exact) == hidden else (hidden + 0.25) / dim


def convolutions(text: str) -> list[tuple[int, int, int]]:
    """(channels, kernel, stride) of each layer, from the original's notation: tuples in brackets, `+`, `* n`.

    Nothing is evaluated. Raises UserError if it is anything else.
    """

    def value(node: ast.expr) -> list[Any]:
        match node:
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return value(left) + value(right)
            case ast.BinOp(left=left, op=ast.Mult(), right=ast.Constant(value=int(times))) if 0 < times < 100:
                return value(left) * times
            case ast.List():
                return list(ast.literal_eval(node))
        raise ValueError

    try:
        layers = value(ast.parse(text[:10_000], mode="eval").body)
        if len(layers) > 100 or not all(len(layer) == 3 and all(type(n) is int for n in layer) for layer in layers):
            raise ValueError
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        raise UserError(f"the stored list of convolutions is not understood: {text[:100]!r}") from None
    return [(channels, kernel, stride) for channels, kernel, stride in layers]
