"""The linear program over routes that column generation solves, on HiGHS: rows, cuts, columns, duals."""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np

from apportion.instances.program import Floats
from apportion.instances.routing import VehicleRouting
from apportion.solvers.backends.simplex import must, quiet_lp, solved
from apportion.solvers.routing.bounding.labelling.kernels import Flags
from apportion.solvers.routing.bounding.pricing import Prices
from apportion.solvers.routing.bounding.rows import Row, coefficients

_INFINITE = highspy.kHighsInf


@dataclass(frozen=True, eq=False)
class Duals:
    """``clients`` (n + 1,) of the fleet at 0 (at most 0) and of each client (at least 0); ``cuts`` of each cut."""

    clients: Floats
    cuts: Floats

    def towards(self, other: Duals, share: float) -> Duals:
        """The point moved from here by ``share`` towards ``other``; cuts that one of both lacks count as 0 there."""
        cuts = np.zeros(max(len(self.cuts), len(other.cuts)))
        cuts[: len(self.cuts)] += (1.0 - share) * self.cuts
        cuts[: len(other.cuts)] += share * other.cuts
        return Duals((1.0 - share) * self.clients + share * other.clients, cuts)


class Master:
    """Cover every client at least once within the fleet, at the least length.

    Every client also has a dear column of its own, so that the program always has a solution. Row 0 is the fleet, row i
    client i, and cuts follow in the order of ``rows``.
    """

    def __init__(self, instance: VehicleRouting) -> None:
        self.instance = instance
        self.size = instance.num_clients + 1
        self.fleet = float(min(instance.num_vehicles or instance.num_clients, instance.num_clients))
        self.routes: list[tuple[int, ...]] = []
        self.lengths: list[float] = []
        self.rows: list[Row] = []
        self.values = np.zeros(0)
        self.objective = np.inf
        self._known: set[tuple[int, ...]] = set()
        self._lp = quiet_lp()
        self._dear = 4.0 * float(instance.distance.max()) + 1.0
        lower, upper = np.ones(self.size), np.full(self.size, _INFINITE)
        lower[0], upper[0] = -_INFINITE, self.fleet
        nothing = np.zeros(0, np.int32)
        must(self._lp.addRows(self.size, lower, upper, 0, np.zeros(self.size, np.int32), nothing, np.zeros(0)))
        clients, count = np.arange(1, self.size, dtype=np.int32), self.size - 1
        starts, ones = np.arange(count, dtype=np.int32), np.ones(count)
        high = np.full(count, _INFINITE)
        must(self._lp.addCols(count, self._dear * ones, 0.0 * ones, high, count, starts, clients, ones))
        # what a client alone would count in a cut
        self._singles = [(client,) for client in range(1, self.size)]

    def length(self, route: tuple[int, ...]) -> float:
        """Of the tour from the depot over ``route`` and back."""
        stops = np.array((0, *route, 0))
        return float(self.instance.distance[stops[:-1], stops[1:]].sum())

    def add_routes(self, routes: list[tuple[int, ...]]) -> int:
        """Add those that are new; return how many."""
        fresh = [route for route in dict.fromkeys(routes) if route and route not in self._known]
        if not fresh:
            return 0
        self._known.update(fresh)
        in_cuts = coefficients(self.rows, fresh)
        starts, rows, entries = [0], [], []
        for position, route in enumerate(fresh):
            clients, visits = np.unique((0, *route), return_counts=True)
            cut = np.flatnonzero(in_cuts[position])
            rows.append(np.concatenate([clients, cut + self.size]).astype(np.int32))
            entries.append(np.concatenate([visits.astype(np.float64), in_cuts[position, cut]]))
            starts.append(starts[-1] + len(rows[-1]))
        lengths = [self.length(route) for route in fresh]
        self.routes += fresh
        self.lengths += lengths
        count, high = len(fresh), np.full(len(fresh), _INFINITE)
        indices, values = np.concatenate(rows), np.concatenate(entries)
        first = np.array(starts[:-1], np.int32)
        must(self._lp.addCols(count, np.array(lengths), np.zeros(count), high, len(indices), first, indices, values))
        return count

    def add_rows(self, rows: list[Row]) -> None:
        """Add cuts; one over the same clients as a subset-row cut that is here replaces it."""
        old = {row.inside.tobytes(): position for position, row in enumerate(self.rows) if row.memory is not None}
        self.drop_rows(
            [old[row.inside.tobytes()] for row in rows if row.memory is not None and row.inside.tobytes() in old]
        )
        if not rows:
            return
        matrix = coefficients(rows, self._singles + self.routes).T
        lower = np.array([row.right_side if row.memory is None else -_INFINITE for row in rows])
        upper = np.array([_INFINITE if row.memory is None else row.right_side for row in rows])
        places, columns = np.nonzero(matrix)
        starts = np.searchsorted(places, np.arange(len(rows))).astype(np.int32)
        values = matrix[places, columns]
        must(self._lp.addRows(len(rows), lower, upper, len(columns), starts, columns.astype(np.int32), values))
        self.rows += rows

    def drop_rows(self, positions: list[int]) -> None:
        """Take out these cuts."""
        if not positions:
            return
        gone = np.array(sorted(positions), np.int32)
        must(self._lp.deleteRows(len(gone), gone + np.int32(self.size)))
        drop = set(positions)
        self.rows = [row for position, row in enumerate(self.rows) if position not in drop]

    def drop_routes(self, gone: Flags) -> None:
        """Take out the routes marked in ``gone``."""
        columns = np.flatnonzero(gone).astype(np.int32)
        if len(columns) == 0:
            return
        must(self._lp.deleteCols(len(columns), columns + np.int32(self.size - 1)))
        kept = np.flatnonzero(~gone).tolist()
        self._known -= {self.routes[column] for column in columns.tolist()}
        self.routes = [self.routes[column] for column in kept]
        self.lengths = [self.lengths[column] for column in kept]
        if len(self.values) == len(gone):
            self.values = self.values[~gone]

    def allow(self, arcs: Flags) -> None:
        """Take out the routes that use other arcs."""
        gone = np.zeros(len(self.routes), np.bool_)
        for position, route in enumerate(self.routes):
            stops = np.array((0, *route, 0))
            gone[position] = not arcs[stops[:-1], stops[1:]].all()
        self.drop_routes(gone)

    def solve(self, seconds: float) -> Duals | None:
        """Solve the program over the routes so far; None when there was no time."""
        if not solved(self._lp, seconds):
            return None
        solution = self._lp.getSolution()
        self.values = np.array(solution.col_value)[self.size - 1 :]
        self.objective = float(self._lp.getInfo().objective_function_value)
        duals = np.array(solution.row_dual)
        clients = duals[: self.size]
        clients[1:] = np.maximum(0.0, clients[1:])
        clients[0] = min(0.0, clients[0])
        is_triple = np.array([row.memory is not None for row in self.rows], np.bool_)
        cuts = duals[self.size :]
        return Duals(clients, np.where(is_triple, np.minimum(0.0, cuts), np.maximum(0.0, cuts)))

    def reduced(self, duals: Duals) -> Floats:
        """The reduced costs of the routes."""
        # the program itself may have other duals by now, so this goes by hand
        costs = np.array(self.lengths)
        if len(self.rows):
            costs = costs - coefficients(self.rows, self.routes) @ duals.cuts
        visits = np.array([duals.clients[list(route)].sum() for route in self.routes])
        return np.asarray(costs - visits - duals.clients[0])

    def prices(self, duals: Duals) -> Prices:
        """What labelling walks over at ``duals``; half of each dual lies on either side of a client."""
        pi = duals.clients
        reduced = self.instance.distance - 0.5 * (pi[:, None] + pi[None, :])
        active = [i for i, row in enumerate(self.rows) if row.memory is None and duals.cuts[i] > 1e-9]
        if active:
            inside = np.array([self.rows[i].inside for i in active], np.float64)
            both = (inside * duals.cuts[active][:, None]).T @ inside
            alone = np.diag(both)
            reduced = reduced - 0.5 * (alone[:, None] + alone[None, :] - 2.0 * both)
        active = [i for i, row in enumerate(self.rows) if row.memory is not None and duals.cuts[i] < -1e-9]
        hit = np.array([self.rows[i].inside for i in active], np.bool_).reshape(-1, self.size)
        memory = np.array([self.rows[i].memory for i in active], np.bool_).reshape(-1, self.size)
        return Prices.of(reduced, hit, memory, -duals.cuts[active] if active else np.zeros(0))

    def bound(self, duals: Duals, gains: Floats) -> float:
        """The Lagrangian bound at ``duals``, when the best routes gain ``gains`` by client."""
        total = float(duals.clients[1:].sum()) + self.fleet * float(duals.clients[0])
        total += float(np.dot(duals.cuts, [row.right_side for row in self.rows]))
        # each route of a plan passes the middle of the day with another client
        return total + float(np.sort(np.minimum(0.0, gains))[: int(self.fleet)].sum())

    def route_flows(self) -> tuple[list[tuple[int, ...]], Floats]:
        """The routes in use and how much of each."""
        used = np.flatnonzero(self.values > 1e-7)
        return [self.routes[i] for i in used.tolist()], self.values[used]
