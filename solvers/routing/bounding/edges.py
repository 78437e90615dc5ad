"""The edge relaxation of capacitated routing with rounded capacity cuts, solved by cuts and columns on HiGHS.

Every client has degree two, the depot at least twice the vehicles that the demand needs, and no set S of clients holds
more than ``|S| - ceil(q(S) / Q)`` edges. A matrix that is not symmetric is replaced by the smaller of both directions
and windows only take edges away, so the bound holds for those instances as well. The bound is never read off the LP: it
is computed from its duals over all edges, so it is true whatever edges and cuts the LP has, and whatever its precision.

References
----------
Laporte, G., Nobert, Y., Desrochers, M. (1985). Optimal routing under capacity and distance restrictions. Operations
Research 33(5), 1050-1073.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import highspy
import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from apportion.instances.program import Floats
from apportion.instances.routing import VehicleRouting
from apportion.solvers.backends.simplex import must, quiet_lp, solved
from apportion.solvers.routing.bounding import kernels
from apportion.solvers.routing.bounding.kernels import Ints

_NEIGHBOURS = 8
_LEAST_VIOLATION = 0.02
_MOST_CUTS = 150
_MOST_EDGES = 20_000
_MOST_IDLE = 8
_LEAST_DROPPED = 20
_MOST_LOADS = 6.0
_INFINITE = highspy.kHighsInf


def edge_costs(instance: VehicleRouting) -> Floats:
    """The cheapest way to use each pair of locations side by side, symmetric; infinite when no route can.

    The diagonal is infinite. Edges that windows or the capacity forbid in both directions are infinite.
    """
    cost = instance.distance.copy()
    takes = instance.service[:, None] + instance.duration
    late = instance.ready[:, None] + takes > instance.due[None, :] * (1.0 + 1e-9) + 1e-6
    late[0] = instance.ready[0] + instance.duration[0] > instance.due * (1.0 + 1e-9) + 1e-6
    cost[late] = np.inf
    heavy = instance.demand[:, None] + instance.demand[None, :] > instance.capacity * (1.0 + 1e-9) + 1e-6
    heavy[0] = heavy[:, 0] = False
    cost[heavy] = np.inf
    cost = np.minimum(cost, cost.T)
    np.fill_diagonal(cost, np.inf)
    return cost


def ways_bound(instance: VehicleRouting) -> float:
    """Half the sum of the two cheapest edges at each client and the cheapest of the depot: quick, weak and true."""
    if instance.num_clients == 0:
        return 0.0
    cost = edge_costs(instance)
    # the depot's edge of a client counts twice: a vehicle may serve that client alone
    ways = np.sort(np.concatenate([cost[1:], cost[1:, :1]], axis=1), axis=1)[:, :2]
    home = np.sort(np.repeat(cost[0, 1:], 2))[: 2 * min(instance.least_vehicles, instance.num_clients)]
    total = float(ways.sum() + home.sum())
    return total / 2.0 if np.isfinite(total) else 0.0


@dataclass(frozen=True, eq=False)
class _Cut:
    members: Ints
    right_side: float


class EdgeRelaxation:
    """The LP, its edges and its cuts. :meth:`improve` makes the bound better until it converges or is stopped."""

    def __init__(self, instance: VehicleRouting) -> None:
        self._instance = instance
        self._size = instance.num_clients + 1
        self._cost = edge_costs(instance)
        self._known = np.zeros((self._size, self._size), np.bool_)
        self._tails = np.zeros(0, np.int32)
        self._heads = np.zeros(0, np.int32)
        self._cuts: list[_Cut] = []
        self._seen: set[bytes] = set()
        self._lp = quiet_lp()
        self._idle: list[int] = []
        self.bound = 0.0
        self.rounds = 0
        self.pivots = 0
        self.num_cuts = 0
        self.converged = False
        self._begin()

    def _begin(self) -> None:
        """Degree rows, and the edges to the nearest clients and the depot."""
        size = self._size
        lower = np.full(size, 2.0)
        lower[0] = 2.0 * min(self._instance.least_vehicles, self._instance.num_clients)
        upper = lower.copy()
        upper[0] = _INFINITE
        nothing = np.zeros(0, np.int32)
        must(self._lp.addRows(size, lower, upper, 0, np.zeros(size, np.int32), nothing, np.zeros(0)))
        near = np.zeros((size, size), np.bool_)
        order = np.argsort(self._cost, axis=1)[:, :_NEIGHBOURS]
        np.put_along_axis(near, order, True, axis=1)
        near[0, :] = True
        near |= near.T
        self._add_edges(*_pairs(near & np.isfinite(self._cost)))

    def _add_edges(self, tails: Ints, heads: Ints) -> None:
        """Add columns for edges; they enter the degree rows and every cut that holds both ends."""
        if len(tails) == 0:
            return
        count = len(tails)
        self._known[tails, heads] = self._known[heads, tails] = True
        rows = [np.stack([tails, heads], axis=1).ravel()]
        columns = [np.repeat(np.arange(count), 2)]
        for position, cut in enumerate(self._cuts):
            inside = np.zeros(self._size, np.bool_)
            inside[cut.members] = True
            within = np.flatnonzero(inside[tails] & inside[heads])
            rows.append(np.full(len(within), self._size + position))
            columns.append(within)
        where, what = np.concatenate(columns), np.concatenate(rows)
        order = np.argsort(where, kind="stable")
        starts = np.searchsorted(where[order], np.arange(count)).astype(np.int32)
        upper = np.where(tails == 0, 2.0, 1.0)
        indices = what[order].astype(np.int32)
        cost = self._cost[tails, heads]
        must(
            self._lp.addCols(count, cost, np.zeros(count), upper, len(indices), starts, indices, np.ones(len(indices)))
        )
        self._tails = np.concatenate([self._tails, tails])
        self._heads = np.concatenate([self._heads, heads])

    def _add_cut(self, members: Ints) -> None:
        inside = np.zeros(self._size, np.bool_)
        inside[members] = True
        columns = np.flatnonzero(inside[self._tails] & inside[self._heads]).astype(np.int32)
        vehicles = np.ceil(self._instance.demand[members].sum() / self._instance.capacity - 1e-9)
        right_side = float(len(members) - vehicles)
        starts = np.zeros(1, np.int32)
        low, high = np.array([-_INFINITE]), np.array([right_side])
        must(self._lp.addRows(1, low, high, len(columns), starts, columns, np.ones(len(columns))))
        self._cuts.append(_Cut(members, right_side))
        self._idle.append(0)
        self.num_cuts += 1

    def _drop_idle_cuts(self, duals: Floats) -> None:
        """Take out the cuts that have not mattered for some rounds; they may come back."""
        self._idle = [0 if dual < 0.0 else idle + 1 for idle, dual in zip(self._idle, duals[self._size :], strict=True)]
        idle = [position for position, rounds in enumerate(self._idle) if rounds >= _MOST_IDLE]
        if len(idle) < _LEAST_DROPPED:
            return
        rows = np.array(idle, np.int32) + np.int32(self._size)
        must(self._lp.deleteRows(len(rows), rows))
        self._seen -= {self._cuts[position].members.tobytes() for position in idle}
        kept = sorted(set(range(len(self._cuts))) - set(idle))
        self._cuts = [self._cuts[position] for position in kept]
        self._idle = [self._idle[position] for position in kept]

    def improve(
        self,
        seconds_left: Callable[[], float],
        on_bound: Callable[[float], object],
        most_rounds: int,
        most_pivots: int,
    ) -> None:
        """Solve, price all edges, separate, and again. ``on_bound`` hears of each better bound.

        It stops when it converges, when ``seconds_left()`` is 0, or after so many rounds or pivots of the simplex
        method.
        """
        while self.rounds < most_rounds and self.pivots < most_pivots and not self.converged:
            seconds = seconds_left()
            if seconds <= 0.0:
                return
            self.rounds += 1
            solution = self._solve(seconds)
            if solution is None:
                return
            values, duals = solution
            bound, reduced = self._true_bound(duals)
            if bound > self.bound:
                self.bound = bound
                on_bound(bound)
            cuts = self._separate(values)
            self._drop_idle_cuts(duals)
            added = self._price(reduced)
            for members in cuts:
                self._add_cut(members)
            self.converged = added == 0 and not cuts

    def _solve(self, seconds: float) -> tuple[Floats, Floats] | None:
        if not solved(self._lp, seconds):
            return None
        self.pivots += int(self._lp.getInfo().simplex_iteration_count)
        solution = self._lp.getSolution()
        return np.array(solution.col_value), np.array(solution.row_dual)

    def _true_bound(self, duals: Floats) -> tuple[float, Floats]:
        """The Lagrangian bound of these duals over all edges, and the reduced costs."""
        pi = duals[: self._size].copy()
        pi[0] = max(0.0, pi[0])
        reduced = self._cost - pi[:, None] - pi[None, :]
        depot = 2.0 * min(self._instance.least_vehicles, self._instance.num_clients)
        bound = 2.0 * float(pi[1:].sum()) + depot * float(pi[0])
        for cut, dual in zip(self._cuts, np.minimum(0.0, duals[self._size :]), strict=True):
            if dual < 0.0:
                reduced[np.ix_(cut.members, cut.members)] -= dual
                bound += float(dual) * cut.right_side
        usable = np.isfinite(self._cost)
        gains = np.where(usable & (reduced < 0.0), reduced, 0.0)
        bound += float(gains[1:, 1:].sum()) / 2.0 + 2.0 * float(gains[0].sum())
        return bound, np.where(usable, reduced, np.inf)

    def _price(self, reduced: Floats) -> int:
        """Add the edges that the LP lacks and that would pay; return how many."""
        wanted = (reduced < -1e-6) & ~self._known
        tails, heads = _pairs(wanted)
        if len(tails) > _MOST_EDGES:
            order = np.argsort(reduced[tails, heads])[:_MOST_EDGES]
            tails, heads = tails[order], heads[order]
        self._add_edges(tails, heads)
        return len(tails)

    def _separate(self, values: Floats) -> list[Ints]:
        """Violated sets of clients, the most violated first."""
        used = (values > 1e-6) & (self._tails > 0)
        ends = self._tails[used], self._heads[used]
        shape = (self._size, self._size)
        support = sparse.coo_matrix((values[used], ends), shape=shape).tocsr()
        support = (support + support.T).tocsr()
        found: list[tuple[float, Ints]] = []
        for members in _components(support):
            found += self._violated(support, members)
        sets = np.zeros(shape, np.bool_)
        violations = np.zeros(self._size)
        scratch = np.zeros(self._size), np.zeros(self._size, np.bool_)
        count = kernels.grow_cuts(
            support.indptr.astype(np.int32),
            support.indices.astype(np.int32),
            support.data.astype(np.float64),
            np.array(self._instance.demand),
            float(self._instance.capacity),
            _MOST_LOADS * self._instance.capacity,
            _LEAST_VIOLATION,
            sets,
            violations,
            *scratch,
        )
        found += [(float(violations[i]), np.flatnonzero(sets[i]).astype(np.int32)) for i in range(count)]
        found.sort(key=lambda pair: -pair[0])
        fresh: list[Ints] = []
        for _, members in found:
            key = members.tobytes()
            if key not in self._seen and len(fresh) < _MOST_CUTS:
                self._seen.add(key)
                fresh.append(members)
        return fresh

    def _violated(self, support: sparse.csr_matrix, members: Ints) -> list[tuple[float, Ints]]:
        within = float(support[members][:, members].sum()) / 2.0
        vehicles = np.ceil(self._instance.demand[members].sum() / self._instance.capacity - 1e-9)
        violation = within - len(members) + float(vehicles)
        return [(violation, members)] if violation > _LEAST_VIOLATION else []


def _components(support: sparse.csr_matrix) -> list[Ints]:
    """Clients that hang together without the depot, two or more of them."""
    count, part = connected_components(support, directed=False)
    part[0] = count
    groups = [np.flatnonzero(part == number).astype(np.int32) for number in range(count)]
    return [group for group in groups if len(group) > 1]


def _pairs(wanted: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> tuple[Ints, Ints]:
    tails, heads = np.nonzero(np.triu(wanted, 1))
    return tails.astype(np.int32), heads.astype(np.int32)
