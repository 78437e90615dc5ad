"""What a branching rule sees and what it answers, the same in the host of this package and in SCIP."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from apportion.instances.errors import OptionError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NO_LIMIT = 0
_SMALLEST_GAIN = 1e-6
_MOST_GAIN = 1e20


@dataclass(frozen=True)
class Probe:
    """The linear programs of the two children of a candidate.

    ``down`` and ``up`` are their objectives as minimised; infinite when the child holds nothing better than the
    incumbent. ``exact`` is False when an iteration limit cut one of them short: then they are estimates, no bounds.
    """

    down: float
    up: float
    exact: bool = True


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The linear program of a node in full, for those who record it.

    ``values``, ``reduced_costs``, ``lower``, ``upper`` have shape (n,), ``row_duals`` (m,) or (0,) where a solver does
    not give them. Columns and rows are those of the program that is branched on, after presolve.
    """

    values: Floats
    reduced_costs: Floats
    lower: Floats
    upper: Floats
    row_duals: Floats


@dataclass(frozen=True, eq=False)
class Node:
    """A node that waits for a decision: its fractional integer columns, ``k`` of them, and what is known about them.

    All objectives are minimised and leave the offset out.

    Parameters
    ----------
    number, depth
        Nodes before this one; branchings above it.
    objective, bound, cutoff
        Of the node's linear program; the best bound of the whole tree; what a child must stay below, or infinity.
    candidates
        Shape (k,): columns of the program as the user wrote it; -1 for one that presolve made.
    values, costs, reduced_costs, lower, upper
        Shape (k,) each: in the linear program of the node.
    pseudo_costs, counts
        Shape (k, 2): the mean gain per unit of rounding down and up, and of how many branchings and probes. Where
        there were none yet, the mean is over all columns.
    mean_iterations
        Simplex iterations per node so far.
    probe
        ``probe(position, iterations)`` solves the linear programs of both children of a candidate, by at most
        ``iterations`` simplex iterations each (0: no limit).
    snapshot
        The linear program in full.
    """

    number: int
    depth: int
    objective: float
    bound: float
    cutoff: float
    candidates: Ints
    values: Floats
    costs: Floats
    reduced_costs: Floats
    lower: Floats
    upper: Floats
    pseudo_costs: Floats
    counts: Ints
    mean_iterations: float = field(repr=False)
    probe: Callable[[int, int], Probe] = field(repr=False)
    snapshot: Callable[[], Snapshot] = field(repr=False)

    @property
    def fractions(self) -> Floats:
        """How far each value lies above the next whole number, shape (k,)."""
        return self.values - np.floor(self.values)

    def gains(self, probe: Probe) -> tuple[float, float]:
        """By how much the children of a probe rise above the node, at most to the cutoff."""
        most = min(_MOST_GAIN, max(0.0, self.cutoff - self.objective))
        down = min(most, max(0.0, probe.down - self.objective))
        return down, min(most, max(0.0, probe.up - self.objective))

    def estimates(self) -> tuple[Floats, Floats]:
        """The gains that pseudo-costs promise for rounding down and up, shape (k,) each."""
        fractions = self.fractions
        return self.pseudo_costs[:, 0] * fractions, self.pseudo_costs[:, 1] * (1.0 - fractions)


@runtime_checkable
class BranchingRule(Protocol):
    """Decides on which candidate to branch."""

    def choose(self, node: Node) -> int:
        """The position in ``node.candidates`` of the column to branch on, 0 to k - 1."""
        ...


def score(down: float, up: float) -> float:
    """The product of two gains, each at least 1e-6 (Achterberg 2007, section 5.1).

    >>> score(2.0, 3.0)
    6.0
    """
    return max(down, _SMALLEST_GAIN) * max(up, _SMALLEST_GAIN)


def scores(down: Floats, up: Floats) -> Floats:
    """:func:`score` of arrays of gains."""
    return np.maximum(down, _SMALLEST_GAIN) * np.maximum(up, _SMALLEST_GAIN)


def ask(rule: BranchingRule, node: Node) -> int:
    """The choice of ``rule``, checked.

    Raises
    ------
    OptionError
        When the rule answers anything but a position of a candidate.
    """
    answer: object = rule.choose(node)
    many = len(node.candidates)
    try:
        position = -1 if isinstance(answer, bool) else operator.index(answer)  # type: ignore[arg-type]
    except TypeError:
        position = -1
    if not 0 <= position < many:
        name = type(rule).__name__
        raise OptionError(
            f"branching rule {name} chose {answer!r} at node {node.number}\nMaybe a position from 0 to {many - 1}"
        )
    return position
