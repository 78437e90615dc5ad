"""The limits on flows that a solve has met so far, as rows over the columns of the formulation.

A row is exact: a shift factor is left out only where it cannot move a flow by more than a rounding error. Each row on
a line with a penalty has the overload of its line and period as a further column, shared by all cases: the cost is that
of the worst case.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from apportion.instances.program import MixedIntegerProgram, SparseColumns
from apportion.models.security_commitment.formulation import SecureFormulation
from apportion.models.security_commitment.network import FlowRow, Network

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NEGLIGIBLE = 1e-11


@dataclass(frozen=True, eq=False)
class WrittenRow:
    """``-most <= coefficients . columns - overload`` and ``coefficients . columns <= most + overload`` around a shift.

    ``shift`` is the flow of the fixed loads; ``overload`` the position of the overload column, -1 for a hard limit.
    """

    row: FlowRow
    columns: Ints
    coefficients: Floats
    shift: float
    most: float
    overload: int


@dataclass
class FlowRows:
    """A growing list of rows and overload columns on top of a program.

    Columns of overloads come after those of the program, in the order in which they were needed.
    """

    formulation: SecureFormulation
    network: Network
    rows: list[WrittenRow] = field(default_factory=list)
    overloads: list[tuple[int, int]] = field(default_factory=list)
    known: set[FlowRow] = field(default_factory=set)
    _place: dict[tuple[int, int], int] = field(default_factory=dict)

    def add(self, rows: Iterable[FlowRow]) -> list[WrittenRow]:
        """Write rows that are not known yet, and return them."""
        fresh: list[WrittenRow] = []
        for row in rows:
            if row in self.known or row.line not in self.network.place or not np.isfinite(self.network.most(row)):
                continue
            self.known.add(row)
            fresh.append(self._written(row))
        self.rows += fresh
        return fresh

    def _written(self, row: FlowRow) -> WrittenRow:
        injection, instance = self.formulation.injection, self.formulation.instance
        weights = self.centred(row)
        first, position = self._columns
        factors = np.zeros(len(first))
        np.add.at(factors, position, weights[injection.bus] * injection.factor)
        kept = np.flatnonzero(np.abs(factors) > NEGLIGIBLE)
        shift = float(weights @ -instance.load_mw[:, row.period])
        penalty = instance.lines[row.line].overload_penalty
        overload = -1 if penalty is None else self._overload(row.line, row.period)
        return WrittenRow(row, first[kept] + row.period, factors[kept], shift, self.network.most(row), overload)

    def centred(self, row: FlowRow) -> Floats:
        """By how much a MW put in at each bus moves the flow of ``row``, up to a constant, shape (buses,).

        What goes into an island adds up to nothing: a constant more in all weights of one island changes no flow.
        """
        weights = self.network.weights(row)
        return weights - self._centre(weights)

    @cached_property
    def _columns(self) -> tuple[Ints, Ints]:
        first, position = np.unique(self.formulation.injection.first, return_inverse=True)
        return first, position

    def _centre(self, weights: Floats) -> float:
        """The most frequent weight where the network is one island, else 0."""
        if len(self.network.factors) and self.formulation.model.constraints["balance"].shape[0] == 1:
            return float(np.median(weights))
        return 0.0

    def _overload(self, line: int, period: int) -> int:
        key = line, period
        if key not in self._place:
            self._place[key] = len(self.overloads)
            self.overloads.append(key)
        return self._place[key]

    def penalty(self, overload: int) -> float:
        """Cost per MW of an overload column."""
        line, period = self.overloads[overload]
        penalties = self.formulation.instance.lines[line].overload_penalty
        return 0.0 if penalties is None else float(penalties[period])

    def program(self, base: MixedIntegerProgram) -> MixedIntegerProgram:
        """``base`` with all rows and overload columns.

        A row with an overload is two: flow - overload at most the limit, flow + overload at least its negative.
        """
        width = base.num_columns + len(self.overloads)
        entries = [entries_of(row, base.num_columns) for row in self.rows]
        count = sum(len(parts) for parts in entries)
        flat = [part for parts in entries for part in parts]
        number = np.concatenate([np.full(len(part[0]), k) for k, part in enumerate(flat)] or [np.zeros(0, np.int64)])
        column = np.concatenate([part[0] for part in flat] or [np.zeros(0, np.int64)])
        value = np.concatenate([part[1] for part in flat] or [np.zeros(0)])
        added = sparse.coo_array((value, (number, column)), shape=(count, width)).tocsc()
        matrix = base.matrix
        starts = np.concatenate([matrix.starts, np.full(len(self.overloads), matrix.starts[-1])])
        old = sparse.csc_array((matrix.values, matrix.rows, starts), shape=(base.num_rows, width))
        whole = sparse.vstack([old, added], format="csc")
        whole.sort_indices()
        extra = len(self.overloads)
        return replace(
            base,
            matrix=SparseColumns(whole.indptr.astype(np.int32), whole.indices.astype(np.int32), whole.data),
            cost=np.concatenate([base.cost, [self.penalty(k) for k in range(extra)]]),
            lower=np.concatenate([base.lower, np.zeros(extra)]),
            upper=np.concatenate([base.upper, np.full(extra, np.inf)]),
            integer=np.concatenate([base.integer, np.zeros(extra, np.bool_)]),
            row_lower=np.concatenate([base.row_lower, [part[2] for part in flat]]),
            row_upper=np.concatenate([base.row_upper, [part[3] for part in flat]]),
        )


Entry = tuple[Ints, Floats, float, float]


def entries_of(row: WrittenRow, num_columns: int) -> list[Entry]:
    """The rows of a program that a limit needs: columns, coefficients, lower and upper."""
    if row.overload < 0:
        return [(row.columns, row.coefficients, -row.most - row.shift, row.most - row.shift)]
    columns = np.append(row.columns, num_columns + row.overload)
    over = (columns, np.append(row.coefficients, -1.0), -np.inf, row.most - row.shift)
    under = (columns, np.append(row.coefficients, 1.0), -row.most - row.shift, np.inf)
    return [over, under]
