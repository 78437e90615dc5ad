"""The driver around the compiled search: requests and arrays in, plans out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apportion.instances.rich_routing import RichRoute, RichRoutes, RichRouting
from apportion.solvers.rich_routing import kernels
from apportion.solvers.rich_routing.arrays import NUM_NEIGHBOURS, Requests, arrays_of, requests_of
from apportion.solvers.rich_routing.segments.kernels import (
    BEST_LENGTH,
    DISTANCE,
    FIRST_SLOT,
    KIND,
    LAST_SLOT,
    LENGTH,
    LOCATION,
    LOCKED,
    NONE,
    PER_DISTANCE,
    REQUEST,
    Ints,
)
from apportion.solvers.rich_routing.state import (
    BEST,
    BEST_REQUIRED_ABSENT,
    IS_TIMED,
    ITERATION,
    SCRATCH,
    Arrays,
    recount,
    recover_best,
    remember,
    renew,
)
from apportion.solvers.rich_routing.timetable.kernels import NUM_TAKEN, TOOK, simulate


@dataclass(frozen=True, eq=False)
class RichSearch:
    """One run of ruin and recreate."""

    instance: RichRouting
    arrays: Arrays
    requests: Requests

    @classmethod
    def begin(cls, instance: RichRouting, seed: int, start: RichRoutes | None = None) -> RichSearch:
        """Arrays for ``instance`` with routes built greedily, or those of ``start`` with who is absent inserted."""
        search = cls.empty(instance, seed)
        if start is not None:
            search.place(start)
        keys, optional = search.arrays.keys, bool(instance.is_optional.any())
        order = np.argsort(keys[:, 4] if np.isfinite(instance.due).any() else keys[:, 2], kind="stable")
        kernels.construct(*search.arrays, order, optional and start is None)
        return search

    @classmethod
    def empty(cls, instance: RichRouting, seed: int, *, with_neighbours: bool = True) -> RichSearch:
        """Nobody is served yet but the settled stops of routes under way.

        Without neighbours requests can be inserted everywhere, but the search cannot run.
        """
        requests = requests_of(instance)
        search = cls(instance, arrays_of(instance, requests, seed, NUM_NEIGHBOURS if with_neighbours else 0), requests)
        search.place(RichRoutes(tuple(RichRoute(lock.vehicle, lock.stops) for lock in instance.locks)))
        return search

    @property
    def num_absent(self) -> int:
        """How many requests that must be served the best routes leave out; 0 makes them a plan."""
        return int(self.arrays.counters[BEST_REQUIRED_ABSENT])

    @property
    def best(self) -> float:
        """The cost of the best routes, with a large price for each request that must be served and is not."""
        return float(self.arrays.totals[BEST])

    @property
    def average_edge(self) -> float:
        """The cost of the best routes for each client they serve, without fixed costs: the scale of temperatures."""
        lengths = self.arrays.slots[:, BEST_LENGTH]
        served = int((lengths > 0).sum()) + int(lengths.sum())
        rates = self.arrays.fleet[self.arrays.slots[:, KIND], PER_DISTANCE]
        return float((self.arrays.facts[:, DISTANCE] * rates * (lengths > 0)).sum()) / max(1, served)

    @property
    def iterations(self) -> int:
        """Iterations done."""
        return int(self.arrays.counters[ITERATION])

    def run(self, iterations: int, temperature: float, cooling: float, opening: float) -> float:
        """A chunk of iterations; return the temperature after it."""
        return float(kernels.improve(*self.arrays, iterations, temperature, cooling, opening))

    def restart(self) -> bool:
        """Go on from the best routes; False when one of them breaks a rule."""
        a = self.arrays
        kept = recover_best(
            *(a.ways, a.seg, a.fleet, a.nodes, a.slots, a.facts, a.requests, a.sequence, a.best, a.rows, a.timetable),
            int(a.counters[IS_TIMED]),
        )
        recount(a.slots, a.facts, a.requests, a.keys, a.totals, a.counters, a.weights)
        return bool(kept)

    def keep(self) -> None:
        """Make the current routes the best."""
        a = self.arrays
        remember(a.slots, a.sequence, a.best, a.totals, a.counters)

    def renew(self, slot: int) -> bool:
        """Recompute one route; False when it breaks a rule."""
        a = self.arrays
        return bool(
            renew(
                *(a.ways, a.seg, a.fleet, a.nodes, a.slots, a.facts, a.sequence, a.rows, a.timetable),
                *(int(a.counters[IS_TIMED]), slot),
            )
        )

    def place(self, plan: RichRoutes) -> bool:
        """Begin with the routes of ``plan``; False when one of them breaks a rule."""
        slots, best = self.arrays.slots, self.arrays.best
        slots[:, BEST_LENGTH] = 0
        locks = {lock.stops: slot for slot, lock in zip(self._locked_slots(), self.instance.locks, strict=True)}
        free = {kind: int(row[FIRST_SLOT]) for kind, row in enumerate(self.arrays.kinds)}
        for lock in self.instance.locks:
            free[lock.vehicle] += 1
        reload = self.instance.num_locations
        for route in (route for route in plan.routes if route.stops):
            slot = next((s for stops, s in locks.items() if stops == route.stops[: len(stops)]), None)
            if slot is None:
                slot = free[route.vehicle]
                free[route.vehicle] += 1
                if slot >= self.arrays.kinds[route.vehicle, LAST_SLOT]:
                    return False
            slots[slot, BEST_LENGTH] = len(route.stops)
            for position, stop in enumerate(route.stops):
                node = stop
                if stop < self.instance.num_depots:
                    node, reload = reload, reload + 1
                    self.arrays.nodes[node, LOCATION] = stop
                best[slot, position] = node
        kept = self.restart()
        self.keep()
        return kept

    def _locked_slots(self) -> list[int]:
        """The slot of each lock: the first ones of its type."""
        used: dict[int, int] = {}
        found = []
        for lock in self.instance.locks:
            found.append(int(self.arrays.kinds[lock.vehicle, FIRST_SLOT]) + used.get(lock.vehicle, 0))
            used[lock.vehicle] = used.get(lock.vehicle, 0) + 1
        return found

    def plan(self) -> RichRoutes:
        """The best routes, by vehicle and first client."""
        slots = self.arrays.slots
        routes = [self._route(slot, self.arrays.best, int(slots[slot, BEST_LENGTH])) for slot in range(len(slots))]
        return RichRoutes(tuple(sorted(filter(None, routes), key=lambda route: (route.vehicle, route.stops))))

    def current(self) -> RichRoutes:
        """The routes as they are now; they may leave clients out."""
        slots = self.arrays.slots
        routes = [self._route(slot, self.arrays.sequence, int(slots[slot, LENGTH])) for slot in range(len(slots))]
        return RichRoutes(tuple(filter(None, routes)))

    def _route(self, slot: int, rows: Ints, length: int) -> RichRoute | None:
        """One route in the words of the instance, with the places of its breaks."""
        if length == 0:
            return None
        a = self.arrays
        breaks: tuple[int, ...] = ()
        if a.timetable.breaks.shape[1] > 0:
            a.rows[SCRATCH, :length] = rows[slot, :length]
            arrays = a.ways, a.seg, a.fleet, a.nodes, a.slots, a.timetable, a.rows
            simulate(*arrays, SCRATCH, length, slot)
            breaks = self._breaks(length)
        stops = tuple(int(stop) for stop in a.nodes[rows[slot, :length], LOCATION])
        return RichRoute(int(a.slots[slot, KIND]), stops, breaks)

    def _breaks(self, length: int) -> tuple[int, ...]:
        """Before which stops the route just simulated rests."""
        taken, places = int(self.arrays.timetable.out[NUM_TAKEN]), []
        for position in range(length + 1, 0, -1):
            if self.arrays.timetable.trace[TOOK, taken, position] > 0:
                places.append(position - 1)
                taken -= 1
        return tuple(reversed(places))

    def settled(self) -> list[int]:
        """How many stops of each slot stay."""
        return [int(count) for count in self.arrays.slots[:, LOCKED]]

    def request_of(self, client: int) -> int | None:
        """The request that ``client`` belongs to; None when it is settled."""
        request = int(self.arrays.nodes[client, REQUEST])
        return None if request == NONE else request
