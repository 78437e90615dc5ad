"""Prices of GPU types: the dual of every allocation without sharing has as many unknowns as there are types.

Relax the T capacity rows with prices ``p >= 0``. What is left falls apart into one small problem for each job (an
*oracle* solves them all), and its value is convex in ``p``. A cutting-plane method in T dimensions (Kelley 1960,
stabilised as in Ben-Ameur and Neto 2007) minimises it; the multipliers of its linear program are weights with which the
answers of the oracle combine to an allocation that keeps the capacities (Dantzig and Wolfe 1960). Both sides are
therefore proven: any ``p`` gives a bound, the combination is feasible.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any, Protocol

import highspy
import numpy as np
from numpy.typing import NDArray

from apportion.solvers.backends.simplex import must, quiet_lp, solved

Floats = NDArray[np.float64]

TOLERANCE = 1e-7
_MOST_CUTS = 2000
_INWARD = 0.35
_EXACT = 1e-10
_PROGRESS = 0.999
_PATIENCE = 25
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Reply:
    """What all jobs choose at some prices: the bound that this proves, the value and the load (T,) of the choice."""

    bound: float
    value: float
    load: Floats


class Oracle(Protocol):
    """Answers prices (T,) with the best choice of all jobs; values are maximised."""

    def __call__(self, price: Floats) -> Reply | None:
        """Return the reply; None when some job cannot get what it must have at any price."""
        ...


@dataclass(frozen=True, eq=False)
class Anchor:
    """An allocation that is known to be allowed: the first thing to mix. ``load`` is (T,), within the capacities."""

    value: float
    load: Floats
    x: Floats


@dataclass(frozen=True, eq=False)
class Priced:
    """The best prices, the bound that they prove, and the replies to combine: prices (K, T), values and weights (K,).

    ``value`` is that of the combination, ``anchored`` the weight of the anchor in it.
    """

    price: Floats
    bound: float
    value: float
    points: Floats
    values: Floats
    weights: Floats
    anchored: float
    num_cuts: int


class _Master:
    """Maximise the value of a mixture of replies within the capacities; its row duals are the next prices."""

    def __init__(self, capacity: Floats, anchor: Anchor, scale: float) -> None:
        self.capacity = np.maximum(capacity, 1e-9)
        self.scale = scale
        self.rows = len(capacity)
        self.lp: Any = quiet_lp()
        for name in ("primal_feasibility_tolerance", "dual_feasibility_tolerance"):
            must(self.lp.setOptionValue(name, _EXACT))
        indices, values = np.zeros(0, np.int32), np.zeros(0)
        for _ in capacity:
            must(self.lp.addRow(-highspy.kHighsInf, 1.0, 0, indices, values))
        must(self.lp.addRow(1.0, 1.0, 0, indices, values))
        self.add(anchor.value, np.minimum(anchor.load, capacity))

    def add(self, value: float, load: Floats) -> None:
        """One more reply to mix."""
        used = np.flatnonzero(load)
        indices = np.append(used, self.rows).astype(np.int32)
        entries = np.append(load[used] / self.capacity[used], 1.0)
        must(self.lp.addCol(-value / self.scale, 0.0, highspy.kHighsInf, len(indices), indices, entries))

    def solve(self) -> _Mixture | None:
        """The best mixture; None when HiGHS finds none."""
        if not solved(self.lp, inf):
            return None
        found = self.lp.getSolution()
        prices = np.maximum(0.0, -np.asarray(found.row_dual)[: self.rows])
        value = -self.lp.getInfo().objective_function_value * self.scale
        return _Mixture(value, prices * self.scale / self.capacity, np.asarray(found.col_value))


@dataclass(frozen=True, eq=False)
class _Mixture:
    """Value, prices (T,) and weights of all columns, the anchor first."""

    value: float
    price: Floats
    weights: Floats


def best_prices(
    oracle: Oracle,
    capacity: Floats,
    start: Floats,
    anchor: Anchor,
    *,
    tolerance: float = TOLERANCE,
    scale: float = 0.0,
) -> Priced | None:
    """Minimise the bound of ``oracle`` over prices.

    Parameters
    ----------
    oracle
        The choice of all jobs at given prices.
    capacity
        GPUs of each type, (T,).
    start
        Prices to begin with, (T,).
    anchor
        An allocation to begin with; often the empty one.
    tolerance
        Gap at which to stop, relative to the bound or to ``scale``, whichever is larger.
    scale
        A size below which differences do not matter, for values that may be near 0.

    Returns
    -------
    Priced or None
        None when some job cannot get what it must have at any price.
    """
    search = _Search(oracle, capacity, anchor, tolerance, scale)
    if not search.ask(start):
        return None
    while (mixture := search.mixed()) is not None and search.ask(search.next_price(mixture)):
        pass
    return search.result()


class _Search:
    """The state of one minimisation."""

    def __init__(self, oracle: Oracle, capacity: Floats, anchor: Anchor, tolerance: float, scale: float) -> None:
        self.oracle, self.capacity, self.anchor = oracle, capacity, anchor
        self.tolerance, self.scale = tolerance, max(scale, _TINY)
        self.master: _Master | None = None
        self.mixture: _Mixture | None = None
        self.points: list[Floats] = []
        self.values: list[float] = []
        self.best, self.bound, self.stuck = np.zeros(len(capacity)), inf, False
        self.gap, self.since = inf, 0

    def ask(self, price: Floats) -> bool:
        """Put a price to the oracle; False when it has no answer."""
        reply = self.oracle(price)
        if reply is None:
            return False
        self.stuck = reply.bound >= self.bound
        if not self.stuck:
            self.best, self.bound = price, reply.bound
        if self.master is None:
            self.master = _Master(self.capacity, self.anchor, max(abs(reply.bound), self.scale))
        self.points.append(price)
        self.values.append(reply.value)
        self.master.add(reply.value, reply.load)
        return True

    def mixed(self) -> _Mixture | None:
        """Mix the replies; None when the mixture is as good as the bound, or nothing more can be done."""
        found = self.master.solve() if self.master is not None else None
        if found is None:
            return None
        self.mixture = found
        gap = self.bound - found.value
        self.since = 0 if gap < self.gap * _PROGRESS else self.since + 1
        self.gap = min(self.gap, gap)
        closed = gap <= self.tolerance * max(self.scale, abs(self.bound))
        return None if closed or self.since > _PATIENCE or len(self.points) >= _MOST_CUTS else found

    def next_price(self, mixture: _Mixture) -> Floats:
        """Between the best prices and those of the mixture; after a step that gained nothing, the latter."""
        inward = 0.0 if self.stuck else _INWARD
        return inward * self.best + (1.0 - inward) * mixture.price

    def result(self) -> Priced:
        """What is proven and what to mix."""
        if self.mixture is None:
            return Priced(self.best, self.bound, self.anchor.value, *self._replies(np.ones(1)), len(self.points))
        return Priced(self.best, self.bound, self.mixture.value, *self._replies(self.mixture.weights), len(self.points))

    def _replies(self, weights: Floats) -> tuple[Floats, Floats, Floats, float]:
        mixed = np.zeros(len(self.points))
        mixed[: len(weights) - 1] = np.maximum(0.0, weights[1:])
        table = np.array(self.points).reshape(-1, len(self.capacity))
        return table, np.array(self.values), mixed, max(0.0, float(weights[0]))
