"""What a problem brings to column generation: linking rows, blocks, a pricing, and optionally a way to branch.

The master program is::

    minimise    sum of cost_p x_p
    subject to  lower_i <= sum of a_ip x_p <= upper_i          linking rows
                least_k <= sum of x_p over p in block k <= most_k    how often a block is used
                x_p in {0, 1, 2, ...}

over all columns ``p`` that the pricing can make: the Dantzig-Wolfe (1960) form of a problem whose blocks are easy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from apportion.instances.errors import ModelError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Column:
    """One column of the master: its cost, its nonzeros in the linking rows (rows ascending), and its block.

    ``content`` is whatever the problem needs to read a plan out of it.
    """

    cost: float
    rows: Ints
    values: Floats
    block: int = 0
    content: Any = None

    @property
    def key(self) -> tuple[int, bytes, bytes]:
        """Equal for columns that are the same to the master."""
        return self.block, self.rows.tobytes(), self.values.tobytes()

    def reduced_cost(self, duals: Duals) -> float:
        """Its cost less what its rows are worth; the dual of its block is not in it."""
        return duals.cost_weight * self.cost - float(self.values @ duals.rows[self.rows])


@dataclass(frozen=True, eq=False)
class Duals:
    """The prices of the linking rows.

    ``cost_weight`` multiplies the cost of every column: 1, or 0 while the master looks for feasibility alone.
    """

    rows: Floats
    cost_weight: float = 1.0


@dataclass(frozen=True, eq=False)
class Priced:
    """What a pricing returns.

    ``least`` has one entry per block: no column of that block has a smaller reduced cost (see
    :meth:`Column.reduced_cost`). A pricing that stops early gives a smaller number, and every bound stays true.
    The first column listed of each block should be the best found.
    """

    columns: Sequence[Column]
    least: Floats


class Pricing(Protocol):
    """Makes columns."""

    def price(self, duals: Duals) -> Priced:
        """The columns of least reduced cost at ``duals``, and a bound on it by block."""
        ...


class Branch(NamedTuple):
    """A child of a node: its formulation and the columns known to be part of it."""

    formulation: Formulation
    columns: list[Column]


class Branching(Protocol):
    """Splits a node whose relaxation is fractional."""

    def branch(self, columns: Sequence[Column], values: Floats, pool: Sequence[Column]) -> list[Branch]:
        """Children that together hold every integer solution of the node, and none the fractional one.

        ``columns`` have the ``values`` (all positive) in the relaxation; ``pool`` holds more columns that the children
        may begin with. Child 0 is explored first.
        """
        ...


class Fixing(Protocol):
    """Fixes columns for a dive."""

    def fix(self, columns: Sequence[Column], counts: Ints, pool: Sequence[Column]) -> Branch | None:
        """What is left when ``columns`` are used ``counts`` times; None when that cannot be.

        The rows keep their numbers, and every column of what is left is one of the node.
        """
        ...


class Repair(Protocol):
    """A heuristic in the problem's own terms."""

    def improve(self, columns: Sequence[Column], values: Floats, duals: Duals) -> list[Column] | None:
        """An integer solution near the relaxation, one column per use; None when none is found."""
        ...


class Tightening(Protocol):
    """Removes what no solution better than the incumbent can use."""

    def tighten(self, duals: Duals, columns: Sequence[Column], cutoff: float) -> Branch | None:
        """The same node without what the bound at ``duals`` excludes below ``cutoff``; None when nothing is."""
        ...


@dataclass(frozen=True, eq=False)
class Formulation:
    """A node of the tree, or the whole problem.

    Parameters
    ----------
    row_lower, row_upper
        Limits of the linking rows, shape (m,); infinite where open.
    block_least, block_most
        How often each block is used, shape (k,); ``block_most`` may be infinite.
    least_cost
        No column of the block costs less, shape (k,).
    pricing
        Makes columns.
    penalty
        Cost of missing a row by one to begin with; it grows when it must.
    step
        Every integer solution costs a multiple of this; 0 when nothing is known. Bounds are rounded up to it.
    """

    row_lower: Floats
    row_upper: Floats
    block_least: Floats
    block_most: Floats
    least_cost: Floats
    pricing: Pricing
    branching: Branching | None = None
    fixing: Fixing | None = None
    repair: Repair | None = None
    tightening: Tightening | None = None
    penalty: float = 1.0
    step: float = 0.0

    def __post_init__(self) -> None:
        """Refuse limits that do not fit together."""
        if self.row_lower.shape != self.row_upper.shape:
            message = f"row_lower {self.row_lower.shape} and row_upper {self.row_upper.shape} differ in shape"
            raise ModelError(f"column formulation: {message}")
        shapes = {self.block_least.shape, self.block_most.shape, self.least_cost.shape}
        if len(shapes) != 1:
            raise ModelError("column formulation: block_least, block_most and least_cost differ in shape")
        if (np.isnan(self.row_lower) | np.isnan(self.row_upper)).any() or not np.isfinite(self.least_cost).all():
            raise ModelError("column formulation: a limit or least_cost is not a number")

    @property
    def num_rows(self) -> int:
        """Linking rows."""
        return len(self.row_lower)

    @property
    def num_blocks(self) -> int:
        """Blocks."""
        return len(self.block_least)
