"""Routes seen on the way, and the best plan that can be put together from them by set partitioning.

References
----------
Subramanian, A., Uchoa, E., Ochi, L. S. (2013). A hybrid algorithm for a class of vehicle routing problems. Computers &
Operations Research 40(10), 2519-2531.
"""

from __future__ import annotations

from math import inf

import numpy as np

from apportion.instances.core import Sense
from apportion.instances.errors import BackendError
from apportion.instances.program import Floats, MixedIntegerProgram, SparseColumns
from apportion.instances.routing import Routes, VehicleRouting
from apportion.solvers.backends import backend_named
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions

MOST_ROUTES = 6000
"""The newest of more routes than this go into the program."""
_MOST_NODES = 200


class RoutePool:
    """Feasible routes by the set of clients that they serve, each in its cheapest order.

    >>> corner = np.array([[0.0, 3, 4], [3, 0, 5], [4, 5, 0]])
    >>> pool = RoutePool(VehicleRouting.capacitated("corner", corner, [0, 1, 1], 2))
    >>> pool.add([(1,), (2,), (1, 2), (2, 1)])
    >>> len(pool), pool.polished(Routes(((1,), (2,))), 1.0, SolveOptions(), Monitor(Sense.MINIMISE))
    (3, Routes(routes=((1, 2),)))
    """

    def __init__(self, instance: VehicleRouting) -> None:
        self._instance = instance
        self._routes: dict[frozenset[int], tuple[float, tuple[int, ...]]] = {}
        self._solved_at = -1

    def __len__(self) -> int:
        return len(self._routes)

    def add(self, routes: list[tuple[int, ...]]) -> None:
        """Remember ``routes``, each feasible."""
        for route in routes:
            key = frozenset(route)
            known = self._routes.get(key)
            if known is None or known[1] != route:
                stops = np.array([0, *route, 0])
                cost = float(self._instance.distance[stops[:-1], stops[1:]].sum())
                if known is None or cost < known[0]:
                    self._routes.pop(key, None)
                    self._routes[key] = (cost, route)

    def polished(self, best: Routes, seconds: float, options: SolveOptions, monitor: Monitor) -> Routes | None:
        """A plan from routes of the pool that is shorter than ``best``, or None; ``best`` must come from the pool.

        Parameters
        ----------
        best
            The best plan known.
        seconds
            At most so long; infinite leaves the limit to a number of nodes, which repeats exactly.
        options
            The seed is taken from here.
        monitor
            Cancels.
        """
        if len(self._routes) == self._solved_at or not best.routes or seconds <= 0.0:
            return None
        self._solved_at = len(self._routes)
        kept = list(self._routes.values())[-MOST_ROUTES:]
        known = {frozenset(route) for _, route in kept}
        kept += [self._routes[key] for key in map(frozenset, best.routes) if key not in known and key in self._routes]
        chosen = {frozenset(route) for route in best.routes}
        start = np.array([float(frozenset(route) in chosen) for _, route in kept])
        now = sum(cost for cost, in_use in zip((cost for cost, _ in kept), start, strict=True) if in_use)
        silent = Monitor(Sense.MINIMISE, None, seconds, monitor.cancelled)
        ours = SolveOptions(seed=options.seed, gap=0.0, node_limit=_MOST_NODES, deterministic=seconds == inf)
        try:
            values = backend_named("highs").run(self._program(kept), ours, silent, start).values
        except BackendError as failure:  # HiGHS gives up on some programs; the plan there is stays
            monitor.log(f"set partitioning is left out: {failure}")
            return None
        if values is None:
            return None
        picked = [position for position, value in enumerate(values) if value > 0.5]
        if sum(kept[position][0] for position in picked) >= now - 1e-6:
            return None
        return Routes(tuple(sorted(kept[position][1] for position in picked)))

    def _program(self, kept: list[tuple[float, tuple[int, ...]]]) -> MixedIntegerProgram:
        """Each client on one route, within the fleet."""
        instance = self._instance
        fleet = inf if instance.num_vehicles is None else float(instance.num_vehicles)
        rows = [np.append(np.sort(route) - 1, instance.num_clients) for _, route in kept]
        starts = np.concatenate(([0], np.cumsum([len(row) for row in rows])))
        ones: Floats = np.ones(len(kept))
        return MixedIntegerProgram(
            name="set partitioning",
            sense=Sense.MINIMISE,
            cost=np.array([cost for cost, _ in kept]),
            matrix=SparseColumns(
                starts.astype(np.int32), np.concatenate(rows).astype(np.int32), np.ones(int(starts[-1]))
            ),
            row_lower=np.append(np.ones(instance.num_clients), -inf),
            row_upper=np.append(np.ones(instance.num_clients), fleet),
            lower=0.0 * ones,
            upper=ones,
            integer=np.ones(len(kept), np.bool_),
        )
