"""Variables, literals, expressions and intervals of a CP-SAT model at given values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


def in_domain(value: int, domain: Sequence[int]) -> bool:
    """Whether ``value`` lies in one of the closed intervals that ``domain`` lists as start, end, start, end."""
    bounds = list(domain)
    return any(low <= value <= high for low, high in zip(bounds[::2], bounds[1::2], strict=True))


@dataclass(frozen=True)
class Span:
    """A present interval: its start, end and size as their expressions say."""

    start: int
    end: int
    size: int


class Values:
    """Evaluates what a model is made of."""

    def __init__(self, proto: Any, values: Sequence[int]) -> None:
        self._values = values
        self._constraints = proto.constraints

    def variable(self, position: int) -> int:
        """The value of a variable; a negative position is the negation of a Boolean or, in old models, of a number."""
        return int(self._values[position] if position >= 0 else -self._values[-position - 1])

    def literal(self, reference: int) -> bool:
        """Whether a literal is true; ``-i - 1`` is the negation of variable ``i``."""
        return bool(self._values[reference]) if reference >= 0 else not self._values[-reference - 1]

    def expression(self, expression: Any) -> int:
        """The value of a linear expression."""
        pairs = zip(expression.vars, expression.coeffs, strict=True)
        return int(expression.offset + sum(weight * self.variable(position) for position, weight in pairs))

    def expressions(self, expressions: Any) -> list[int]:
        """The values of several linear expressions."""
        return [self.expression(expression) for expression in expressions]

    def span(self, position: int) -> Span | None:
        """The interval that constraint ``position`` defines; None when it is absent."""
        constraint = self._constraints[position]
        if not all(self.literal(literal) for literal in constraint.enforcement_literal):
            return None
        interval = constraint.interval
        return Span(self.expression(interval.start), self.expression(interval.end), self.expression(interval.size))

    def spans(self, positions: Sequence[int]) -> list[Span]:
        """The present ones among several intervals."""
        return [span for span in map(self.span, positions) if span is not None]
