"""A request that comes in while a plan runs: the cheapest place for it, at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apportion.instances.core import Json
from apportion.instances.errors import OptionError
from apportion.instances.rich_routing import RichRoutes, RichRouting
from apportion.solvers.rich_routing.recreate import best_pair, best_place, free_reload, new_route, put
from apportion.solvers.rich_routing.search import RichSearch
from apportion.solvers.rich_routing.segments.kernels import NONE
from apportion.solvers.rich_routing.state import AT, IS_TIMED, MODE, NUM_RELOADS, PAIR, recount


@dataclass(frozen=True)
class Insertion:
    """What serving one more request takes.

    Parameters
    ----------
    plan
        The routes with the request; all other visits keep their order.
    client
        The member that is served: the client itself, one of its group, or the origin of its pair.
    added_cost
        Of the routes and their balance; a prize that is no longer lost is not subtracted.
    """

    plan: RichRoutes
    client: int
    added_cost: float

    def to_dict(self) -> Json:
        """JSON-ready data."""
        return {"client": self.client, "added_cost": self.added_cost, **self.plan.to_dict()}


class Dispatcher:
    """A plan that takes requests one by one; what is there is never re-ordered.

    Parameters
    ----------
    instance
        With all requests, those too that ``plan`` does not serve yet. Settled stops (``locks``) stay.
    plan
        The routes so far.

    Raises
    ------
    OptionError
        When a route of ``plan`` breaks a rule.

    Examples
    --------
    >>> from apportion.instances.rich_routing import RichRoute, VehicleType
    >>> line = np.abs(np.subtract.outer(np.arange(4.0), np.arange(4.0)))
    >>> day = RichRouting.simple("day", line, [VehicleType(1, (9.0,))])
    >>> desk = Dispatcher(day, RichRoutes((RichRoute(0, (1, 3)),)))
    >>> desk.insert(2).plan.to_dict()
    {'routes': [{'vehicle': 0, 'stops': [1, 2, 3]}]}
    """

    def __init__(self, instance: RichRouting, plan: RichRoutes) -> None:
        self.instance = instance
        self._search = RichSearch.empty(instance, 0, with_neighbours=False)
        if not self._search.place(plan):
            raise OptionError("the plan breaks a rule\nMaybe `apportion check` says which")

    def plan(self) -> RichRoutes:
        """The routes as they are."""
        return self._search.plan()

    def insert(self, client: int) -> Insertion | None:
        """Serve the request of ``client`` where it costs least; None (and nothing changed) when no route can.

        Raises
        ------
        OptionError
            When ``client`` is none, or its request is served.
        """
        search, a = self._search, self._search.arrays
        if not self.instance.num_depots <= client < self.instance.num_locations:
            raise OptionError(f"{client} is no client\nMaybe one of {self.instance.num_depots} and more")
        request = search.request_of(client)
        if request is None or a.requests[request, AT] != NONE:
            raise OptionError(f"the request of client {client} is served already")
        is_timed, before = int(a.counters[IS_TIMED]), float(a.facts[:, 1].sum() + a.totals[2])
        reload = int(free_reload(a.nodes, self.instance.num_locations, int(a.counters[NUM_RELOADS])))
        best = self._cheapest(request, is_timed, reload)
        best = new_route(
            *(a.ways, a.seg, a.fleet, a.kinds, a.serves, a.nodes, a.slots, a.facts, a.requests, a.sequence, a.rows),
            *(a.found, a.random, a.timetable, is_timed, request, best, False),
        )
        if not np.isfinite(best) or not self._put(request, is_timed, reload):
            return None
        recount(a.slots, a.facts, a.requests, a.keys, a.totals, a.counters, a.weights)
        search.keep()
        added = float(a.facts[:, 1].sum() + a.totals[2]) - before
        return Insertion(search.plan(), int(a.requests[request, AT]), added)

    def _cheapest(self, request: int, is_timed: int, reload: int) -> float:
        """The cheapest place on the routes in use, noted in ``found``."""
        a = self._search.arrays
        if a.requests[request, MODE] == PAIR:
            cost = best_pair(
                *(a.ways, a.seg, a.fleet, a.serves, a.near, a.nodes, a.slots, a.facts, a.requests, a.sequence),
                *(a.rows, a.found, a.random, a.counters, a.timetable, request, True, np.inf),
            )
        else:
            cost = best_place(
                *(a.ways, a.seg, a.fleet, a.kinds, a.serves, a.near, a.nodes, a.slots, a.facts, a.requests),
                *(a.sequence, a.rows, a.found, a.random, a.timetable, is_timed, request, True, False, reload, np.inf),
            )
        return float(cost)

    def _put(self, request: int, is_timed: int, reload: int) -> bool:
        a = self._search.arrays
        return bool(
            put(
                *(a.ways, a.seg, a.fleet, a.kinds, a.nodes, a.slots, a.facts, a.requests, a.sequence, a.rows),
                *(a.found, a.timetable, is_timed, request, reload),
            )
        )


def insert_now(instance: RichRouting, plan: RichRoutes, client: int) -> Insertion | None:
    """Serve ``client`` on the routes of ``plan``: :meth:`Dispatcher.insert` for one request."""
    return Dispatcher(instance, plan).insert(client)
