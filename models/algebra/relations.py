"""What a comparison of expressions makes: a constraint that waits for its name."""

from __future__ import annotations

from dataclasses import dataclass

from apportion.instances.errors import ModelError
from apportion.models.algebra.expressions import LinearExpression


@dataclass(frozen=True, eq=False)
class Relation:
    """``lower <= difference <= upper`` where ``difference`` is the left side minus the right side."""

    difference: LinearExpression
    lower: float
    upper: float

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the constraint block that it will become."""
        return self.difference.shape

    def __bool__(self) -> bool:
        hint = "add_constraints(name, expression, lower=..., upper=...) for two bounds"
        raise ModelError(f"{self.difference.described()}: a constraint has no truth value\nMaybe {hint}")
