"""Why a solve stopped and what it proves."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf, isfinite

from apportion.instances.core import Sense

_SMALLEST_PRIMAL = 1e-10


class Status(StrEnum):
    """What is known at the end. ``FEASIBLE`` and ``NO_SOLUTION`` come with the :class:`Limit` that stopped them."""

    OPTIMAL = "optimal"
    FEASIBLE = "feasible"
    NO_SOLUTION = "no solution"
    INFEASIBLE = "infeasible"
    UNBOUNDED = "unbounded"
    INFEASIBLE_OR_UNBOUNDED = "infeasible or unbounded"
    ERROR = "error"

    @property
    def has_plan(self) -> bool:
        """Whether a plan comes with this status."""
        return self in (Status.OPTIMAL, Status.FEASIBLE)


class Limit(StrEnum):
    """Which limit ended a solve early."""

    TIME = "time"
    NODES = "nodes"
    ITERATIONS = "iterations"
    SOLUTIONS = "solutions"
    MEMORY = "memory"
    OBJECTIVE = "objective"
    INTERRUPTED = "interrupted"
    METHOD = "method"
    """The method ended by its own rule (a heuristic, say) without a proof of optimality."""
    OTHER = "other"


@dataclass(frozen=True)
class Bounds:
    """Two claims about the optimum that are always true: it is no worse than ``primal``, no better than ``dual``.

    When nothing is known they are infinite on the side that makes them true.

    >>> bounds = Bounds(primal=105.0, dual=100.0)
    >>> round(bounds.gap, 4)
    0.0476
    >>> Bounds.unknown(Sense.MINIMISE)
    Bounds(primal=inf, dual=-inf)
    """

    primal: float
    dual: float

    @classmethod
    def unknown(cls, sense: Sense) -> Bounds:
        """Nothing is known."""
        return cls(sense.sign * inf, -sense.sign * inf)

    @property
    def gap(self) -> float:
        """``|primal - dual| / max(1e-10, |primal|)``; infinite when either is unknown."""
        if not (isfinite(self.primal) and isfinite(self.dual)):
            return inf
        return abs(self.primal - self.dual) / max(_SMALLEST_PRIMAL, abs(self.primal))

    def contradict(self, sense: Sense, tolerance: float = 1e-6) -> bool:
        """Whether the two claims cannot both be true (the dual bound lies beyond the primal one)."""
        return sense.sign * (self.dual - self.primal) > tolerance * max(1.0, abs(self.primal))
