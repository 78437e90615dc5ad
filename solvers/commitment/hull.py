"""The best Lagrangian bound of unit commitment, and the mix of schedules that attains it.

First a subgradient ascent with Polyak's step towards a target that falls when it is not reached; each step costs one
pricing of the fleet. Then the Dantzig-Wolfe master over the schedules met so far, whose prices are kept in a box around
the best ones (Marsten, Hogan and Blankenship, "The boxstep method for large-scale optimization", 1975): its value over
the box says how much better the bound can get, and its mix of schedules which states are certain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import highspy
import numpy as np
from numpy.typing import NDArray

from apportion.solvers.backends.simplex import must, quiet_lp
from apportion.solvers.commitment.prices import Answer, Prices, UnitPricing
from apportion.solvers.events import Monitor

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ASCENT_STEPS = 60
START_SCALES = (0.5, 0.8, 1.0, 1.2, 1.5)
"""Multiples of the merit-order prices tried first."""

START_RESERVE_SHARES = (0.0, 0.1)
OPTIMISM = 0.03
"""How far above the best bound the first target of the ascent lies, as a fraction of it."""

PATIENCE = 4
"""Steps without a better bound after which the target comes nearer."""

MOMENTUM = 0.3
KEPT_SCHEDULES = 5
"""Schedules of each unit, of least reduced cost, that the master begins with."""

BOX = 0.2
"""First half-width of the box around the prices, as a fraction of them."""

MOST_ROUNDS = 200
_USED = 1e-7


@dataclass(frozen=True, eq=False)
class Hull:
    """The best prices found.

    ``answer`` is how the units answer to them, and its ``bound`` what they prove. ``share`` is how much of each
    unit-hour is on in the master's mix of schedules, shape (units, periods). ``most`` is what no prices can prove more
    than, infinite where the search was cut short. ``infeasible`` says that the bound exceeds what running everything
    all the time would cost: there is no commitment.
    """

    answer: Answer
    share: Floats
    most: float
    infeasible: bool = False

    @property
    def bound(self) -> float:
        """What is proven."""
        return self.answer.bound


def best_prices(pricing: UnitPricing, monitor: Monitor, tolerance: float = 5e-5) -> Hull:
    """Search for the prices that prove most.

    Parameters
    ----------
    pricing
        The units.
    monitor
        Hears of each better bound; its clock and its cancel flag end the search.
    tolerance
        How far the bound may stay below the best one, as a fraction of it.

    Examples
    --------
    >>> from apportion.instances.core import Sense
    >>> from apportion.instances.generate.commitment import generate_commitment
    >>> pricing = UnitPricing(generate_commitment(seed=1, units=5, periods=12))
    >>> found = best_prices(pricing, Monitor(Sense.MINIMISE))
    >>> found.bound <= found.most
    True
    """
    search = _Search(pricing, monitor)
    search.ascend()
    return search.converge(tolerance)


class _Search:
    """Prices as one vector: energy of all hours, then reserve of the hours that need some."""

    def __init__(self, pricing: UnitPricing, monitor: Monitor) -> None:
        self.pricing = pricing
        self.monitor = monitor
        instance = pricing.instance
        self.periods = instance.num_periods
        self.needed = np.flatnonzero(instance.reserve_mw > 0.0)
        self.required = np.concatenate((instance.demand_mw, instance.reserve_mw[self.needed]))
        self.answers: list[Answer] = []
        self.ceiling = _most_cost(pricing)
        self.leader = self._first()
        for scale in START_SCALES:
            for share in START_RESERVE_SHARES:
                energy = scale * merit_order_prices(pricing)
                self.ask(np.concatenate((energy, share * energy[self.needed])))

    def _first(self) -> Answer:
        """At no price at all."""
        none = np.zeros(self.periods)
        answer = self.pricing.answer(Prices(none, none))
        self.monitor.bound(answer.bound, "prices")
        return answer

    def ask(self, vector: Floats) -> Answer:
        """Price the fleet, and keep the answer when it is the best."""
        reserve = np.zeros(self.periods)
        reserve[self.needed] = np.maximum(vector[self.periods :], 0.0)
        answer = self.pricing.answer(Prices(vector[: self.periods].copy(), reserve))
        if answer.bound > self.leader.bound:
            self.leader = answer
            self.monitor.bound(answer.bound, "prices")
        return answer

    def vector(self, answer: Answer) -> Floats:
        """The prices of an answer."""
        return np.concatenate((answer.prices.energy, answer.prices.reserve[self.needed]))

    def supply(self, answer: Answer) -> Floats:
        """What each unit gives to each row, shape (units, rows)."""
        energy = answer.power + self.pricing.fleet.power_min[:, None] * answer.committed
        return np.concatenate((energy, answer.reserve[:, self.needed]), axis=1)

    def shortage(self, answer: Answer) -> Floats:
        """How far the units stay below what is required: the subgradient."""
        missing: Floats = self.required - self.supply(answer).sum(axis=0)
        missing[: self.periods] -= answer.renewable
        return missing

    @property
    def is_over(self) -> bool:
        """Whether to stop: told to, or the bound exceeds every cost."""
        return self.monitor.should_stop or self.leader.bound > self.ceiling

    def ascend(self) -> None:
        """Subgradient steps from the best prices on."""
        at = self.vector(self.leader)
        target = self.leader.bound + OPTIMISM * abs(self.leader.bound)
        direction: Floats | None = None
        missed = 0
        for _ in range(ASCENT_STEPS):
            if self.is_over:
                return
            before = self.leader.bound
            answer = self.ask(at)
            self.answers.append(answer)
            missed = 0 if answer.bound > before + 1e-6 * abs(before) else missed + 1
            if missed >= PATIENCE:
                at, direction, missed = self.vector(self.leader), None, 0
                target = self.leader.bound + (target - self.leader.bound) / 2.0
                answer = self.leader
            slope = self.shortage(answer)
            direction = slope if direction is None else MOMENTUM * direction + slope
            length = float(direction @ direction)
            if length <= 0.0:
                return
            at = at + max(target - answer.bound, 0.0) / length * direction
            at[self.periods :] = np.maximum(at[self.periods :], 0.0)

    def converge(self, tolerance: float) -> Hull:
        """The master and the pricing in turns until the bound is within ``tolerance`` of the best."""
        master = _Master(self)
        scale = np.abs(self.vector(self.leader)[: self.periods])
        width = BOX * np.maximum(np.concatenate((scale, np.full(len(self.needed), scale.mean()))), 0.05 * scale.mean())
        share, most = self.leader.committed.astype(np.float64), np.inf
        for _ in range(MOST_ROUNDS):
            if self.is_over:
                break
            mixed = master.solve(self.vector(self.leader), width)
            if mixed is None:
                break
            share = mixed.share
            before = self.leader.bound
            answer = self.ask(mixed.prices)
            fresh = master.add([answer], mixed)
            room = mixed.value - before
            close = tolerance * abs(mixed.value)
            if not mixed.at_the_edge:
                most = min(most, mixed.value)
            if mixed.value - self.leader.bound <= close:
                if not mixed.at_the_edge:
                    break
                width = 3.0 * width
            elif answer.bound > before:
                width = 1.5 * width if answer.bound - before > room / 2.0 else width
            elif fresh:
                width = 0.6 * width
        return Hull(self.leader, share, most, self.leader.bound > self.ceiling)


@dataclass(frozen=True, eq=False)
class _Mixed:
    """A solution of the master: its value, prices, what each unit's best schedule is worth, and the mix.

    ``at_the_edge`` says that it uses the box, so that its value is no limit for prices outside.
    """

    value: float
    prices: Floats
    unit_prices: Floats
    share: Floats
    at_the_edge: bool


class _Master:
    """The mix of known schedules that meets demand and reserve at least cost, at prices within a box."""

    def __init__(self, search: _Search) -> None:
        self._search = search
        pricing = search.pricing
        self._rows = len(search.required)
        self._units = pricing.fleet.num_units
        self._periods = search.periods
        self._known: set[tuple[int, bytes]] = set()
        self._unit: list[int] = []
        self._states: list[NDArray[np.bool_]] = []
        self._lp = quiet_lp()
        count = self._rows + self._units
        most = search.required.copy()
        most[self._periods :] = np.inf
        ones = np.ones(self._units)
        lower, upper = np.concatenate((search.required, ones)), np.concatenate((most, ones))
        none = np.zeros(0, np.int32)
        must(self._lp.addRows(count, lower, upper, 0, np.zeros(count, np.int32), none, np.zeros(0)))
        hours = np.arange(self._periods)
        self._add_single(hours, 1.0, pricing.least_renewable, pricing.most_renewable)
        rows = np.arange(self._rows)
        self._add_single(rows, 1.0, np.zeros(self._rows), np.full(self._rows, np.inf))
        self._add_single(rows, -1.0, np.zeros(self._rows), np.full(self._rows, np.inf))
        self._fixed = self._periods + 2 * self._rows
        self._edges = np.arange(self._periods, self._fixed, dtype=np.int32)
        self.add([search.leader], None)
        self._add_cheapest(search.answers)

    def _add_single(self, rows: Ints, value: float, lower: Floats, upper: Floats) -> None:
        count = len(rows)
        starts = np.arange(count, dtype=np.int32)
        values = np.full(count, value)
        must(self._lp.addCols(count, np.zeros(count), lower, upper, count, starts, rows.astype(np.int32), values))

    def _add_cheapest(self, answers: Sequence[Answer]) -> None:
        """Of the schedules in ``answers``, those of each unit that are cheapest at the best prices."""
        if not answers:
            return
        leader, search = self._search.leader, self._search
        prices = search.vector(leader)
        reduced = np.array([answer.cost - search.supply(answer) @ prices for answer in answers])
        rank = np.argsort(np.argsort(reduced, axis=0, kind="stable"), axis=0, kind="stable")
        for k, answer in enumerate(answers):
            self._add(answer, np.flatnonzero((rank[k] < KEPT_SCHEDULES) & np.isfinite(reduced[k])))

    def add(self, answers: Sequence[Answer], mixed: _Mixed | None) -> int:
        """Add the schedules that are new and can improve ``mixed``; return how many."""
        made = 0
        for answer in answers:
            worth = np.full(self._units, -np.inf)
            if mixed is not None:
                worth = answer.cost - self._search.supply(answer) @ mixed.prices - mixed.unit_prices
            made += self._add(answer, np.flatnonzero(worth < -_USED * np.maximum(1.0, answer.cost)))
        return made

    def _add(self, answer: Answer, units: Ints) -> int:
        supply = self._search.supply(answer)
        fresh = []
        for g in units.tolist():
            key = (g, supply[g].tobytes())
            if key not in self._known:
                self._known.add(key)
                fresh.append(g)
        if not fresh:
            return 0
        at, rows = np.nonzero(supply[fresh])
        chosen = np.array(fresh, dtype=np.int64)
        order = np.argsort(np.concatenate((at, np.arange(len(fresh)))), kind="stable")
        index = np.concatenate((rows, self._rows + chosen))[order]
        value = np.concatenate((supply[fresh][at, rows], np.ones(len(fresh))))[order]
        sizes = np.bincount(at, minlength=len(fresh)) + 1
        starts = np.concatenate(([0], np.cumsum(sizes)[:-1])).astype(np.int32)
        count = len(fresh)
        cost = answer.cost[chosen]
        upper = np.full(count, np.inf)
        must(self._lp.addCols(count, cost, np.zeros(count), upper, len(index), starts, index.astype(np.int32), value))
        self._unit += fresh
        self._states += [answer.committed[g] for g in fresh]
        return count

    def solve(self, centre: Floats, width: Floats) -> _Mixed | None:
        """The best mix at prices within ``width`` of ``centre``; None when HiGHS stops without one."""
        least = centre - width
        least[self._periods :] = np.maximum(least[self._periods :], 0.0)
        must(self._lp.changeColsCost(len(self._edges), self._edges, np.concatenate((centre + width, -least))))
        must(self._lp.run())
        if self._lp.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None
        solution = self._lp.getSolution()
        values, duals = np.array(solution.col_value), np.array(solution.row_dual)
        edges = values[self._edges]
        # more reserve than required is free, not an edge of the box
        edges[self._rows + self._periods :] *= least[self._periods :] > 0.0
        mix = values[self._fixed :]
        share = np.zeros((self._units, self._periods))
        used = np.flatnonzero(mix > _USED)
        np.add.at(share, np.array(self._unit)[used], mix[used, None] * np.array(self._states)[used])
        return _Mixed(
            float(self._lp.getInfo().objective_function_value),
            duals[: self._rows],
            duals[self._rows :],
            share,
            bool(edges.sum() > _USED * np.abs(self._search.required).sum()),
        )


def _most_cost(pricing: UnitPricing) -> float:
    """More than any commitment costs: every unit at full output and started anew in every hour."""
    units = pricing.instance.thermal
    hourly = sum(max(unit.production[-1].cost, unit.production[0].cost) + unit.startup[-1].cost for unit in units)
    return 1.0 + (1.0 + 1e-6) * pricing.instance.num_periods * max(hourly, 0.0)


def merit_order_prices(pricing: UnitPricing) -> Floats:
    """What the last unit costs per MW at full output when the cheapest come first, shape (periods,)."""
    instance, fleet = pricing.instance, pricing.fleet
    needed = instance.demand_mw + instance.reserve_mw - pricing.most_renewable
    if not fleet.num_units:
        return np.zeros(len(needed))
    most = fleet.power_min + fleet.span
    full = np.array([unit.production[-1].cost for unit in instance.thermal]) / np.maximum(most, 1e-9)
    order = np.argsort(full, kind="stable")
    last = np.searchsorted(np.cumsum(most[order]), needed)
    prices: Floats = full[order[np.minimum(last, len(order) - 1)]]
    return prices
