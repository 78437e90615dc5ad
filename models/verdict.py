"""What the independent check of a plan found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from apportion.instances.core import Sense

TOLERANCE = 1e-6


@dataclass(frozen=True)
class Violation:
    """One broken rule: ``rule`` is its name, ``place`` what it concerns, ``amount`` how far in ``unit``."""

    rule: str
    place: str
    amount: float
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.rule} at {self.place}: off by {self.amount:g} {self.unit}".rstrip()


@dataclass(frozen=True)
class Verdict:
    """The objective recomputed from the data and every violation by name and amount.

    ``measures`` holds further figures in the problem's own words, such as ``{"routes": 26}``.
    """

    objective: float
    sense: Sense
    violations: tuple[Violation, ...] = ()
    measures: Mapping[str, float] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the plan breaks no rule."""
        return not self.violations
