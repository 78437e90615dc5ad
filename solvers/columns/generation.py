"""Column generation with smoothed prices and a bound that is true at every round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from math import inf

import numpy as np

from apportion.solvers.columns.bounds import lagrangian_bound, round_up
from apportion.solvers.columns.formulation import Column, Duals, Floats, Formulation, Priced
from apportion.solvers.columns.master import MasterSolution, RestrictedMaster
from apportion.solvers.events import Monitor

_PROFIT = 1e-8
_CLOSE = 1e-9
_FEASIBLE = 1e-7
_GROWTH = 100.0
_MOST_ROUNDS = 100_000


class Ended(Enum):
    """Why generation ended."""

    CONVERGED = "converged"
    CUT_OFF = "cut off"
    INFEASIBLE = "infeasible"
    STOPPED = "stopped"


@dataclass(frozen=True, eq=False)
class Generated:
    """What generation leaves behind.

    ``bound`` is proven for every integer solution of the formulation, whyever generation ended (infinite when there is
    none); ``relaxation`` is the optimum over the ``columns`` and ``values`` are its positive part, ``used``.
    ``duals`` are the prices at which ``bound`` was proven, ``made`` counts the columns that pricing added, and
    ``bounds`` are what was proven after each pricing.
    """

    ended: Ended
    bound: float
    relaxation: float
    columns: list[Column]
    used: list[Column]
    values: Floats
    duals: Duals
    rounds: int
    made: int
    bounds: tuple[float, ...]


@dataclass(frozen=True)
class Smoothing:
    """How far prices are drawn to those of the best bound: 0 is plain column generation.

    ``automatic`` moves ``start`` up and down by the sign of the subgradient (Pessoa, Sadykov, Uchoa and Vanderbeck
    2018, Automation and combination of linear-programming based stabilization techniques in column generation).
    """

    start: float = 0.5
    automatic: bool = True
    most: float = 0.95


@dataclass(eq=False)
class _Search:
    """The state of one generation."""

    formulation: Formulation
    master: RestrictedMaster
    smoothing: Smoothing
    bound: float = -inf
    alpha: float = 0.0
    centre: Duals | None = None
    centre_bound: float = -inf
    rounds: int = 0
    kept_penalty: float = 1.0
    made: int = 0

    def __post_init__(self) -> None:
        self.alpha = self.smoothing.start
        self.trail: list[float] = []
        limits = np.concatenate((self.formulation.row_lower, self.formulation.row_upper))
        self.size = max(1.0, float(np.abs(limits[np.isfinite(limits)]).sum()))
        self.proof = Duals(np.zeros(self.formulation.num_rows))

    def price(self, solution: MasterSolution) -> int:
        """Price at smoothed prices, then nearer to the master's own until a column helps; return how many were new."""
        outer, inner = solution.duals, self.centre
        alpha = self.alpha if inner is not None else 0.0
        misses = 0
        while True:
            at = max(0.0, 1.0 - (1.0 - alpha) * (1 + misses)) if alpha > 0.0 else 0.0
            duals = outer if inner is None or not at else _between(inner, outer, at)
            priced = self.formulation.pricing.price(duals)
            bound = lagrangian_bound(self.formulation, duals, priced)
            self._learn(duals, bound)
            if misses == 0 and inner is not None and at > 0.0 and self.smoothing.automatic:
                self._adapt(priced, duals, outer)
            fresh = self.master.add(c for c in priced.columns if self._helps(c, solution))
            if fresh or not at:
                return fresh
            misses += 1

    def _learn(self, duals: Duals, bound: float) -> None:
        if duals.cost_weight and bound > self.bound:
            self.bound, self.proof = bound, duals
        if self.centre is None or bound > self.centre_bound:
            self.centre, self.centre_bound = duals, bound
        self.trail.append(self.bound)

    def _helps(self, column: Column, solution: MasterSolution) -> bool:
        reduced = column.reduced_cost(solution.duals) - float(solution.block_duals[column.block])
        return reduced < -_PROFIT * max(1.0, abs(column.cost) * self.master.cost_weight)

    def _adapt(self, priced: Priced, duals: Duals, outer: Duals) -> None:
        """Less smoothing when the bound rises towards the master's prices, more when it falls."""
        form = self.formulation
        slope = np.where(duals.rows > 0.0, form.row_lower, form.row_upper)
        slope = np.where(np.isfinite(slope), slope, 0.0)
        seen = np.zeros(form.num_blocks, np.bool_)
        for column in priced.columns:
            k = column.block
            if not seen[k]:
                seen[k] = True
                times = form.block_most[k] if priced.least[k] < 0.0 else form.block_least[k]
                if np.isfinite(times):
                    slope[column.rows] -= times * column.values
        rising = float(slope @ (outer.rows - duals.rows)) > 0.0
        self.alpha = (
            max(0.0, self.alpha - 0.1) if rising else min(self.smoothing.most, self.alpha + 0.1 * (1 - self.alpha))
        )

    def restart(self) -> None:
        """Forget the centre: the prices to come are of another kind."""
        self.centre, self.centre_bound = None, -inf


def _between(inner: Duals, outer: Duals, alpha: float) -> Duals:
    return Duals(alpha * inner.rows + (1.0 - alpha) * outer.rows, outer.cost_weight)


def generate(
    formulation: Formulation,
    columns: Sequence[Column],
    monitor: Monitor,
    *,
    cutoff: float = inf,
    smoothing: Smoothing | None = None,
    most_rounds: int = _MOST_ROUNDS,
    on_bound: Callable[[float], object] | None = None,
) -> Generated:
    """Solve the master over all columns by generating those that are needed.

    Parameters
    ----------
    formulation
        The master and its pricing.
    columns
        Columns to begin with; may be empty.
    monitor
        Its clock and cancel flag end generation; the bound reached until then is returned.
    cutoff
        End as soon as no integer solution can be better than this.
    smoothing
        How prices are smoothed.
    most_rounds
        Solves of the master.
    on_bound
        Called with every better bound, rounded up to the step of the formulation.
    """
    search = _Search(formulation, RestrictedMaster(formulation, columns), smoothing or Smoothing())
    solution: MasterSolution | None = None
    ended = Ended.STOPPED
    while search.rounds < most_rounds and not monitor.should_stop:
        search.rounds += 1
        solution = search.master.solve()
        if solution is None:
            break
        before = search.bound
        fresh = search.price(solution)
        search.made += fresh
        if on_bound is not None and search.bound > before:
            on_bound(round_up(search.bound, formulation.step))
        outcome = _outcome(search, solution, fresh, cutoff)
        if outcome is not None:
            ended = outcome
            break
    return _generated(search, solution, ended)


def _outcome(search: _Search, solution: MasterSolution, fresh: int, cutoff: float) -> Ended | None:
    """Whether generation is over. Between the two kinds of prices it goes on, with other weights in the master."""
    step, master = search.formulation.step, search.master
    if round_up(search.bound, step) >= cutoff - _CLOSE * max(1.0, abs(cutoff)):
        return Ended.CUT_OFF
    if not master.cost_weight:
        if search.centre_bound > _FEASIBLE * search.size:
            return Ended.INFEASIBLE
        if solution.missing == 0.0:
            master.weigh(1.0, _GROWTH * search.kept_penalty)
            search.restart()
            return None
        return None if fresh else Ended.STOPPED
    close = solution.objective - search.bound <= _CLOSE * max(1.0, abs(solution.objective))
    rounded = bool(step) and round_up(search.bound, step) >= solution.objective - _CLOSE
    if solution.missing == 0.0:
        return Ended.CONVERGED if not fresh or close or rounded else None
    if not fresh or close:
        search.kept_penalty = master.penalty
        master.weigh(0.0, 1.0)
        search.restart()
    return None


def _generated(search: _Search, solution: MasterSolution | None, ended: Ended) -> Generated:
    columns = search.master.columns
    used: list[Column] = []
    values = np.zeros(0)
    relaxation = inf
    if solution is not None and solution.missing == 0.0 and search.master.cost_weight:
        positive = np.flatnonzero(solution.values > _CLOSE)
        used, values = [columns[j] for j in positive], solution.values[positive]
        relaxation = solution.objective
    bound = inf if ended is Ended.INFEASIBLE else round_up(search.bound, search.formulation.step)
    return Generated(
        ended, bound, relaxation, columns, used, values, search.proof, search.rounds, search.made, tuple(search.trail)
    )
