"""Cutting stock and bin packing by branch and price over patterns (Gilmore and Gomory 1961)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from apportion.instances.core import Sense
from apportion.instances.errors import Fault, PlanError
from apportion.instances.validation import FaultList
from apportion.solvers.columns.formulation import Column, Ints
from apportion.solvers.columns.patterns import Parts, root_node
from apportion.solvers.columns.tree import ColumnAnswer, TreeSettings, branch_and_price
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.result import Answer

_MOST_LENGTH = 2**40


@dataclass(frozen=True)
class CuttingPlan:
    """Patterns with the number of times each is cut; a pattern lists the indices of the lengths in it."""

    problem: ClassVar[str] = "cutting-stock"
    patterns: tuple[tuple[int, tuple[int, ...]], ...]

    @property
    def num_rolls(self) -> int:
        """Rolls cut, or bins filled."""
        return sum(times for times, _ in self.patterns)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {"patterns": [{"times": times, "lengths": list(inside)} for times, inside in self.patterns]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`."""
        try:
            return cls(tuple((int(p["times"]), tuple(int(i) for i in p["lengths"])) for p in data["patterns"]))
        except (KeyError, TypeError, ValueError) as error:
            raise PlanError("plan", [Fault("patterns", f"must list times and lengths ({error})")]) from None


def solve_cutting_stock(
    lengths: ArrayLike,
    demands: ArrayLike,
    capacity: int,
    options: SolveOptions | None = None,
    monitor: Monitor | None = None,
    *,
    settings: TreeSettings | None = None,
) -> Answer[CuttingPlan]:
    """Cut ``demands[i]`` pieces of ``lengths[i]`` from as few rolls of length ``capacity`` as possible.

    Bin packing is the case of items in place of pieces. ``Answer.bounds`` are true whenever the solve stops, and
    ``Answer.native`` is the :class:`~apportion.solvers.columns.tree.ColumnAnswer`.

    Raises
    ------
    InstanceError
        When a length is not in 1..capacity, or a demand is negative; all faults at once.
    CapabilityError
        When lengths by capacity are too many cells for the pattern table.

    Examples
    --------
    >>> answer = solve_cutting_stock([45, 36, 31, 14], [97, 610, 395, 211], 100)
    >>> str(answer.status), answer.bounds
    ('optimal', Bounds(primal=453.0, dual=453.0))
    """
    size, demand, room = _validated(lengths, demands, capacity)
    options = options or SolveOptions()
    monitor = monitor or Monitor(Sense.MINIMISE, None, options.time_limit_s)
    kept = np.flatnonzero(demand)
    kinds, where = np.unique(size[kept], return_inverse=True)
    total = np.bincount(where, weights=demand[kept], minlength=len(kinds)).astype(np.int64)
    if not len(kept):
        monitor.incumbent(0.0, "H")
        monitor.bound(0.0)
        return _answer(ColumnAnswer.trivial(), CuttingPlan(()))
    node = root_node(kinds, total, room)
    start = first_fit_decreasing(node.parts)
    singles = [node.parts.column(np.array([j]), np.array([1])) for j in range(node.parts.count)]
    native = branch_and_price(node.formulation(), singles + start, options, monitor, settings=settings, start=start)
    owners = [[int(kept[k]) for k in np.flatnonzero(where == kind)] for kind in range(len(kinds))]
    return _answer(native, None if native.chosen is None else _plan(native.chosen, owners, demand))


def first_fit_decreasing(parts: Parts) -> list[Column]:
    """The patterns of first fit decreasing, one per roll."""
    room: list[int] = []
    inside: list[Counter[int]] = []
    for j in np.argsort(-parts.size, kind="stable").tolist():
        size = int(parts.size[j])
        roll = 0
        for _ in range(int(parts.demand[j])):
            while roll < len(room) and room[roll] < size:
                roll += 1
            if roll == len(room):
                room.append(parts.capacity)
                inside.append(Counter())
            room[roll] -= size
            inside[roll][j] += 1
    columns = []
    for counts in inside:
        rows = np.array(sorted(counts), np.int64)
        columns.append(parts.column(rows, np.array([counts[r] for r in rows.tolist()], np.int64)))
    return columns


def _validated(lengths: ArrayLike, demands: ArrayLike, capacity: int) -> tuple[Ints, Ints, int]:
    faults = FaultList("cutting stock")
    size, demand = np.asarray(lengths, np.float64), np.asarray(demands, np.float64)
    faults.require(size.ndim == 1 and size.shape == demand.shape, "demands", "must be one per length", demand.shape)
    whole = float(capacity) == int(capacity) if np.isfinite(capacity) else False
    faults.require(whole and 1 <= capacity <= _MOST_LENGTH, "capacity", "must be a positive whole number", capacity)
    faults.raise_if_any()
    for i, (length, count) in enumerate(zip(size.tolist(), demand.tolist(), strict=True)):
        fits = length == np.floor(length) and 1 <= length <= capacity
        faults.require(fits, f"lengths[{i}]", f"must be a whole number in 1..{capacity}", length)
        good = count == np.floor(count) and 0 <= count <= _MOST_LENGTH
        faults.require(good, f"demands[{i}]", "must be a whole number, at least 0", count)
    faults.raise_if_any()
    return size.astype(np.int64), demand.astype(np.int64), int(capacity)


def _plan(chosen: Sequence[Column], owners: Sequence[Sequence[int]], demand: Ints) -> CuttingPlan:
    """Name the pieces by the caller's indices and leave out what exceeds demand."""
    left = demand.copy()
    patterns: Counter[tuple[int, ...]] = Counter()
    for column in chosen:
        inside = []
        for kind in column.content:
            owner = next((i for i in owners[kind] if left[i]), None)
            if owner is not None:
                left[owner] -= 1
                inside.append(owner)
        patterns[tuple(sorted(inside))] += 1
    return CuttingPlan(tuple((times, inside) for inside, times in sorted(patterns.items())))


def _answer(native: ColumnAnswer, plan: CuttingPlan | None) -> Answer[CuttingPlan]:
    return Answer(
        status=native.status,
        bounds=native.bounds,
        plan=plan,
        limit=native.limit,
        counts={"nodes": native.nodes, "rounds": native.rounds, "columns": native.columns},
        native_status=f"branch and price: {native.status}",
        extras={"root_bound": native.root_bound},
        native=native,
    )
