"""The best plan from a complete list of routes: prices by inspection, cuts, reduced costs, and HiGHS for what is left.

References
----------
Baldacci, R., Christofides, N., Mingozzi, A. (2008). An exact algorithm for the vehicle routing problem based on the set
partitioning formulation with additional cuts. Mathematical Programming 115(2), 351-385.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf

import numpy as np
from scipy import sparse

from apportion.instances.core import Sense
from apportion.instances.errors import BackendError
from apportion.instances.program import Floats, MixedIntegerProgram, SparseColumns
from apportion.instances.routing import Routes, VehicleRouting
from apportion.solvers.backends import backend_named
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.routing.bounding.labelling.kernels import Flags
from apportion.solvers.routing.bounding.master import Duals, Master
from apportion.solvers.routing.bounding.rows import Row, coefficients, flattened, triple_cuts
from apportion.solvers.status import Status

MOST_FOR_MIP = 3000
"""Without more cuts to find, or with at most so many routes left, HiGHS takes over."""
_MOST_ADDED = 400
_MOST_CUTS = 60
_MOST_PER_CLIENT = 8
_LEAST_PROGRESS = 0.02
_MOST_NODES = 20_000
_LEAST_GAIN = 1e-6


class Partition:
    """Plans over ``routes`` that are shorter than ``cutoff``: :meth:`close` finds the shortest or shows there is none.

    ``routes`` must hold the routes of every plan below ``cutoff``. ``bound`` is then true for every plan below it.
    """

    def __init__(self, instance: VehicleRouting, routes: list[tuple[int, ...]], rows: list[Row], cutoff: float) -> None:
        self._instance = instance
        self._master = Master(instance)
        self._cutoff = cutoff
        everywhere = np.ones(self._master.size, np.bool_)
        self._master.add_rows([replace(row, memory=everywhere) if row.memory is not None else row for row in rows])
        self._take(routes, np.array([self._master.length(route) for route in routes]))
        self.bound = -inf
        self.plan: Routes | None = None

    @property
    def num_routes(self) -> int:
        """Those that may still be in a better plan."""
        return len(self._routes)

    def _take(self, routes: list[tuple[int, ...]], lengths: Floats) -> None:
        self._routes = routes
        self._lengths = lengths
        flat, starts = flattened(routes)
        places = np.repeat(np.arange(len(routes)), np.diff(starts))
        shape = (len(routes), self._master.size)
        self._visits = sparse.coo_matrix((np.ones(len(flat)), (places, flat)), shape=shape).tocsr()
        self._in_rows = coefficients(self._master.rows, routes).astype(np.float32)

    def _reduced(self, duals: Duals) -> Floats:
        reduced = self._lengths - self._visits @ duals.clients - duals.clients[0]
        return np.asarray(reduced - self._in_rows.astype(np.float64) @ duals.cuts)

    def close(self, seconds_left: Callable[[], float], on_bound: Callable[[float], object], monitor: Monitor) -> bool:
        """Whether it is settled: ``plan`` is the best below the cutoff, or None when there is none."""
        before = -inf
        while self._routes:
            reduced = self._converge(seconds_left)
            if reduced is None:
                return False
            if self.bound > self._cutoff:
                return True
            on_bound(self.bound)
            self._keep(reduced <= self._cutoff - self.bound + _LEAST_GAIN)
            gain = (self.bound - before) / max(self._cutoff - before, 1e-9) if before > -inf else 1.0
            before = self.bound
            if len(self._routes) <= MOST_FOR_MIP or gain < _LEAST_PROGRESS or not self._cut():
                return self._search(seconds_left(), on_bound, monitor)
        return True

    def _keep(self, kept: Flags) -> None:
        routes = [self._routes[i] for i in np.flatnonzero(kept).tolist()]
        self._take(routes, self._lengths[kept])
        known = set(routes)
        self._master.drop_routes(np.array([route not in known for route in self._master.routes], np.bool_))

    def _converge(self, seconds_left: Callable[[], float]) -> Floats | None:
        """Solve and price by inspection until nothing pays; the reduced costs of all routes."""
        while True:
            seconds = seconds_left()
            duals = self._master.solve(seconds) if seconds > 0.0 else None
            if duals is None:
                return None
            reduced = self._reduced(duals)
            self.bound = max(self.bound, self._lagrangian(duals, reduced))
            order = np.argsort(reduced, kind="stable")[:_MOST_ADDED]
            added = self._master.add_routes([self._routes[i] for i in order[reduced[order] < -_LEAST_GAIN].tolist()])
            if added == 0:
                return reduced

    def _lagrangian(self, duals: Duals, reduced: Floats) -> float:
        """Every route of a plan serves another lowest client."""
        gains = np.zeros(self._master.size)
        paying = np.flatnonzero(reduced < 0.0)
        lowest = [min(self._routes[i]) for i in paying.tolist()]
        np.minimum.at(gains, np.array(lowest, np.int64), reduced[paying])
        return self._master.bound(duals, gains)

    def _cut(self) -> bool:
        routes, values = self._master.route_flows()
        known = {frozenset(np.flatnonzero(row.inside).tolist()) for row in self._master.rows if row.memory is not None}
        everywhere = np.ones(self._master.size, np.bool_)
        found = triple_cuts(self._master.size, routes, values, {}, _MOST_CUTS, _MOST_PER_CLIENT)
        rows = [
            replace(row, memory=everywhere)
            for row in found
            if frozenset(np.flatnonzero(row.inside).tolist()) not in known
        ]
        self._master.add_rows(rows)
        if rows:
            more = coefficients(rows, self._routes).astype(np.float32)
            self._in_rows = np.concatenate([self._in_rows, more], axis=1)
        return bool(rows)

    def _search(self, seconds: float, on_bound: Callable[[float], object], monitor: Monitor) -> bool:
        """Branch and bound over the routes that are left."""
        if seconds <= 0.0:
            return False
        if not self._routes:
            return True
        options = SolveOptions(gap=0.0, node_limit=_MOST_NODES, deterministic=seconds == inf)
        silent = Monitor(Sense.MINIMISE, None, seconds, monitor.cancelled)
        try:
            answer = backend_named("highs").run(self._program(), options, silent, None)
        except BackendError as error:
            monitor.log(f"the routes that are left are not searched: {error}")
            return False
        if answer.values is not None:
            chosen = np.flatnonzero(answer.values > 0.5).tolist()
            self.plan = Routes(tuple(sorted(self._routes[i] for i in chosen)))
        if answer.status in (Status.OPTIMAL, Status.INFEASIBLE):
            return True
        if answer.bounds.dual > self.bound:
            self.bound = answer.bounds.dual
            on_bound(self.bound)
        return False

    def _program(self) -> MixedIntegerProgram:
        """Each client on exactly one route, within the fleet, below the cutoff, with the cuts that bind."""
        master, count = self._master, len(self._routes)
        duals = master.solve(inf)
        binds = np.flatnonzero(np.abs(duals.cuts) > 1e-9) if duals is not None else np.zeros(0, np.int64)
        visits = self._visits[:, 1:]
        others = np.column_stack([np.ones(count), self._lengths, self._in_rows[:, binds].astype(np.float64)])
        matrix = sparse.csr_matrix(sparse.hstack([visits, sparse.csr_matrix(others)]))
        rows = [master.rows[i] for i in binds.tolist()]
        clients = np.ones(master.size - 1)
        low = [row.right_side if row.memory is None else -inf for row in rows]
        high = [inf if row.memory is None else row.right_side for row in rows]
        return MixedIntegerProgram(
            name="set partitioning",
            sense=Sense.MINIMISE,
            cost=self._lengths.copy(),
            matrix=SparseColumns(matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32), matrix.data),
            row_lower=np.concatenate([clients, [-inf, -inf], low]),
            row_upper=np.concatenate([clients, [master.fleet, self._cutoff], high]),
            lower=np.zeros(count),
            upper=np.ones(count),
            integer=np.ones(count, np.bool_),
        )
