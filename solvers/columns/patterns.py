"""Cutting patterns over parts: the pricing, and Ryan-Foster branching on pairs of single items.

Items of one length are interchangeable and share a row as long as no branching speaks of one of them. Branching on the
types ``a`` and ``b`` takes one item out of each: *together* joins the two into one part of both lengths, *apart* makes
them parts of their own that no pattern may hold together. Both together hold every solution, as Ryan and Foster (1981)
show for single items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from apportion.instances.errors import CapabilityError
from apportion.solvers.columns import kernels
from apportion.solvers.columns.formulation import Branch, Column, Duals, Floats, Formulation, Ints, Priced

_MOST_CELLS = 30_000_000
_SEARCH_NODES = 2_000_000
_MOST_PATTERNS = 8
_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Parts:
    """What is to be cut: parts of a ``size`` in a number ``demand``, made of original ``items`` (types, sorted).

    ``conflict[a, b]`` forbids two parts in one pattern; such parts have a demand of one.
    """

    size: Ints
    demand: Ints
    items: tuple[tuple[int, ...], ...]
    conflict: NDArray[np.bool_]
    capacity: int

    @property
    def count(self) -> int:
        """Parts."""
        return len(self.size)

    def column(self, rows: Ints, counts: Ints) -> Column:
        """The pattern that holds ``counts`` of the parts ``rows`` (ascending); its content lists the original types."""
        content = tuple(
            sorted(i for r, q in zip(rows.tolist(), counts.tolist(), strict=True) for i in self.items[r] * q)
        )
        return Column(1.0, rows, counts.astype(np.float64), 0, content)

    def allows(self, column: Column) -> bool:
        """Whether a column over these parts is a pattern."""
        rows, counts = column.rows, column.values.astype(np.int64)
        return bool(
            (counts <= self.demand[rows]).all()
            and int(self.size[rows] @ counts) <= self.capacity
            and not self.conflict[np.ix_(rows, rows)].any()
        )


@dataclass(eq=False)
class PatternPricing:
    """The most valuable pattern: a bounded knapsack by dynamic programming, with a search where parts conflict."""

    parts: Parts
    table: Floats

    def __post_init__(self) -> None:
        """Longest parts first: the table prunes best, and conflicts come early."""
        self._order = np.argsort(-self.parts.size, kind="stable")
        order = self._order
        self._size = self.parts.size[order]
        self._most = np.minimum(self.parts.demand[order], self.parts.capacity // self._size)
        self._conflict = np.ascontiguousarray(self.parts.conflict[np.ix_(order, order)])
        self._clashes = bool(self._conflict.any())
        self._work = np.zeros((4, len(order) + 1), np.int64)
        self._counts = np.zeros(len(order), np.int64)

    def price(self, duals: Duals) -> Priced:
        """The best pattern, a few others that start at different lengths, and the bound."""
        profit = duals.rows[self._order]
        table = self.table[: len(profit) + 1]
        kernels.fill_bounded(profit, self._size, self._most, table)
        weight = duals.cost_weight
        if self._clashes:
            value, bound = kernels.pack_with_conflicts(
                profit, self._size, self._most, self._conflict, table, 0.0, _SEARCH_NODES, self._work, self._counts
            )
            columns = [self._column()] if value > 0.0 else []
        else:
            bound = float(table[0, -1])
            columns = self._several(profit, table, weight)
        return Priced(columns, np.array([weight - bound]))

    def _several(self, profit: Floats, table: Floats, weight: float) -> list[Column]:
        """The best patterns whose longest part is each of the parts, in order of value."""
        best = table[:, -1]
        starts = np.flatnonzero(best[:-1] > best[1:] + _TOLERANCE)
        if not len(starts):
            starts = np.array([0]) if best[0] > 0.0 else starts
        columns: list[Column] = []
        for first in starts[:_MOST_PATTERNS]:
            if columns and best[first] <= weight:
                break
            kernels.pack_bounded(profit, self._size, self._most, int(first), table, self._counts)
            if self._counts.any():
                columns.append(self._column())
        return columns

    def _column(self) -> Column:
        taken = np.flatnonzero(self._counts)
        rows = self._order[taken]
        order = np.argsort(rows)
        return self.parts.column(rows[order], self._counts[taken][order])


@dataclass(eq=False)
class PatternNode:
    """The branching and the fixing of a node over its parts."""

    parts: Parts
    table: Floats = field(repr=False)

    def formulation(self) -> Formulation:
        """The master over all patterns of the parts."""
        parts = self.parts
        if parts.count + 1 > len(self.table):
            self.table = np.zeros((2 * parts.count + 2, parts.capacity + 1))
        return Formulation(
            row_lower=parts.demand.astype(np.float64),
            row_upper=np.full(parts.count, np.inf),
            block_least=np.zeros(1),
            block_most=np.array([float(max(1, int(parts.demand.sum())))]),
            least_cost=np.ones(1),
            pricing=PatternPricing(parts, self.table),
            branching=self,
            fixing=self,
            penalty=1.0,
            step=1.0,
        )

    # -- fixing ------------------------------------------------------------------------------------------------------

    def fix(self, columns: Sequence[Column], counts: Ints, pool: Sequence[Column]) -> Branch | None:
        """Cut these patterns; what is left is the same problem with less demand."""
        rest = self.parts.demand.copy()
        for column, count in zip(columns, counts.tolist(), strict=True):
            rest[column.rows] -= count * column.values.astype(np.int64)
        rest = np.maximum(rest, 0)
        smaller = replace(self.parts, demand=rest)
        number = np.arange(smaller.count)
        return Branch(PatternNode(smaller, self.table).formulation(), _shrunk(smaller, number, pool))

    # -- branching ---------------------------------------------------------------------------------------------------

    def branch(self, columns: Sequence[Column], values: Floats, pool: Sequence[Column]) -> list[Branch]:
        """Together first, then apart, for the pair that is most surely together and yet not for sure."""
        exact, weights = _trimmed(self.parts, columns, values)
        pair = self._pair(exact, weights)
        if pair is None:
            return []
        return [self._together(*pair, pool), self._apart(*pair, pool)]

    def _pair(self, columns: Sequence[Column], values: Floats) -> tuple[int, int] | None:
        parts = self.parts
        both = np.zeros((parts.count, parts.count))
        for column, value in zip(columns, values.tolist(), strict=True):
            counts = column.values
            both[np.ix_(column.rows, column.rows)] += value * (np.outer(counts, counts) - np.diag(counts))
        demand = parts.demand.astype(np.float64)
        most = np.outer(demand, demand) - np.diag(demand)
        open_ = (both > _TOLERANCE) & (both < most - _TOLERANCE)
        if not open_.any():
            return None
        number = np.where(np.eye(parts.count, dtype=np.bool_), both / 2, both)
        score = np.minimum(number, 1.0) + 1e-3 * (parts.size[:, None] + parts.size[None]) / parts.capacity
        score[~open_] = -1.0
        a, b = divmod(int(np.argmax(score)), parts.count)
        return min(a, b), max(a, b)

    def _together(self, a: int, b: int, columns: Sequence[Column]) -> Branch:
        parts = self.parts
        demand = parts.demand.copy()
        demand[a] -= 1
        demand[b] -= 1
        joined = tuple(sorted(parts.items[a] + parts.items[b]))
        child, number = _regrouped(parts, demand, [(int(parts.size[a] + parts.size[b]), joined, (a, b))])
        new = child.count - 1
        found = _shrunk(child, number, columns)
        for column in columns:
            counts = np.zeros(parts.count, np.int64)
            counts[column.rows] = column.values.astype(np.int64)
            counts[a] -= 1
            counts[b] -= 1
            if counts[a] >= 0 and counts[b] >= 0:
                found += _translated(child, number, counts, (new,))
        return Branch(PatternNode(child, self.table).formulation(), found)

    def _apart(self, a: int, b: int, columns: Sequence[Column]) -> Branch:
        parts = self.parts
        demand = parts.demand.copy()
        demand[a] -= 1
        demand[b] -= 1
        single = [(int(parts.size[j]), parts.items[j], (j,)) for j in (a, b)]
        child, number = _regrouped(parts, demand, single)
        first, second = child.count - 2, child.count - 1
        child.conflict[first, second] = child.conflict[second, first] = True
        found = _shrunk(child, number, columns)
        for column in columns:
            for old, new in ((a, first), (b, second)):
                counts = np.zeros(parts.count, np.int64)
                counts[column.rows] = column.values.astype(np.int64)
                counts[old] -= 1
                if counts[old] >= 0:
                    found += _translated(child, number, counts, (new,))
        return Branch(PatternNode(child, self.table).formulation(), found)


def _regrouped(
    parts: Parts, demand: Ints, new: Sequence[tuple[int, tuple[int, ...], tuple[int, ...]]]
) -> tuple[Parts, Ints]:
    """Parts with the demand that is left and new parts of demand one, which inherit the conflicts of their parents."""
    kept = np.flatnonzero(demand)
    number = np.full(parts.count, -1)
    number[kept] = np.arange(len(kept))
    total = len(kept) + len(new)
    conflict = np.zeros((total, total), np.bool_)
    conflict[: len(kept), : len(kept)] = parts.conflict[np.ix_(kept, kept)]
    for k, (_, _, parents) in enumerate(new, len(kept)):
        inherited = np.any(parts.conflict[list(parents)], axis=0)
        conflict[k, : len(kept)] = conflict[: len(kept), k] = inherited[kept]
        for other, (_, _, others) in enumerate(new, len(kept)):
            if other != k and np.any(parts.conflict[np.ix_(parents, others)]):
                conflict[k, other] = conflict[other, k] = True
    child = Parts(
        np.append(parts.size[kept], [size for size, _, _ in new]).astype(np.int64),
        np.append(demand[kept], np.ones(len(new), np.int64)),
        tuple(parts.items[j] for j in kept.tolist()) + tuple(items for _, items, _ in new),
        conflict,
        parts.capacity,
    )
    return child, number


def _translated(child: Parts, number: Ints, counts: Ints, extra: tuple[int, ...]) -> list[Column]:
    """The column over the child's parts with the old counts (as far as demand goes) and new parts, when allowed."""
    dense = np.zeros(child.count, np.int64)
    old = np.flatnonzero(counts)
    old = old[number[old] >= 0]
    dense[number[old]] = counts[old]
    for new in extra:
        dense[new] = 1
    dense = np.minimum(dense, child.demand)
    rows = np.flatnonzero(dense)
    if not len(rows):
        return []
    column = child.column(rows, dense[rows])
    return [column] if child.allows(column) else []


def _shrunk(child: Parts, number: Ints, pool: Sequence[Column]) -> list[Column]:
    found = []
    for column in pool:
        counts = np.zeros(len(number), np.int64)
        counts[column.rows] = column.values.astype(np.int64)
        found += _translated(child, number, counts, ())
    return found


def _trimmed(parts: Parts, columns: Sequence[Column], values: Floats) -> tuple[list[Column], Floats]:
    """The same relaxation without overproduction: parts of patterns are left out where demand is exceeded."""
    excess = -parts.demand.astype(np.float64)
    for column, value in zip(columns, values.tolist(), strict=True):
        excess[column.rows] += value * column.values
    todo = list(zip(columns, values.tolist(), strict=True))
    done: list[tuple[Column, float]] = []
    while todo:
        column, value = todo.pop()
        over = [r for r in column.rows.tolist() if excess[r] > _TOLERANCE]
        if not over:
            done.append((column, value))
            continue
        row = over[0]
        share = min(value, float(excess[row]))
        excess[row] -= share
        counts = column.values.astype(np.int64) - (column.rows == row)
        left = counts > 0
        if left.any():
            todo.append((parts.column(column.rows[left], counts[left]), share))
        if value - share > _TOLERANCE:
            todo.append((column, value - share))
    return [c for c, _ in done], np.array([v for _, v in done])


def root_node(lengths: Ints, demands: Ints, capacity: int) -> PatternNode:
    """The node of the whole problem; lengths are scaled by their common divisor."""
    divisor = int(np.gcd.reduce(lengths)) or 1
    size, room = lengths // divisor, capacity // divisor
    count = len(lengths)
    rows = 2 * count + 2
    if rows * (room + 1) > _MOST_CELLS:
        message = f"a pattern table of {count} lengths by {room} units of capacity is too large"
        raise CapabilityError(f"{message}\nMaybe a coarser unit of length (the common divisor is {divisor})")
    conflict = np.zeros((count, count), np.bool_)
    parts = Parts(size, demands.copy(), tuple((j,) for j in range(count)), conflict, room)
    return PatternNode(parts, np.zeros((rows, room + 1)))
