"""Why a plan leaves clients out: for each one, what stands in the way of every place it could have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from apportion.instances.rich_routing import RichRoute, RichRoutes, RichRouting
from apportion.models.rich_routing.check import violations_of
from apportion.models.rich_routing.driving import drive, lock_of
from apportion.models.rich_routing.reasons import refusal

_MOST_PLACES_OF_PAIR = 15
_WORDS = {
    "capacity": "the vehicle would be full",
    "time_window": "a window would be missed",
    "shift": "the shift would end too early",
    "duration": "the route would take too long",
    "distance": "the route would be too long",
    "skill": "the vehicle may not serve it",
    "break": "a break would come too late",
    "backhaul_order": "pickups would not come last",
    "forbidden_way": "there is no way there",
}


@dataclass(frozen=True)
class Unserved:
    """One request that the plan leaves out.

    Parameters
    ----------
    clients
        The client, or both of a pair.
    reason
        In words.
    added_cost
        The least that serving it on the plan's routes or on an unused vehicle would add; infinite where nothing fits.
    """

    clients: tuple[int, ...]
    reason: str
    added_cost: float

    def __str__(self) -> str:
        who = " and ".join(map(str, self.clients))
        return f"client{'s' if len(self.clients) > 1 else ''} {who}: {self.reason}"


def why_unserved(instance: RichRouting, plan: RichRoutes) -> tuple[Unserved, ...]:
    """A reason for each client that ``plan`` does not serve, those of groups that are served excepted.

    A reason is exact for the routes as they are; moving other clients could make room.

    Examples
    --------
    >>> import numpy as np
    >>> from apportion.instances.rich_routing import VehicleType
    >>> line = np.abs(np.subtract.outer(np.arange(4.0), np.arange(4.0)))
    >>> prize = np.array([inf, inf, 3.0, 3.0])
    >>> day = RichRouting.simple("day", line, [VehicleType(1, (2.0,))], delivery=[[0], [1], [2], [1]], prize=prize)
    >>> for left in why_unserved(day, RichRoutes((RichRoute(0, (1,)),))):
    ...     print(left)
    client 2: no place on 1 route (the vehicle would be full 2 times), and no vehicle is left
    client 3: serving it would add 4, more than its prize of 3
    """
    served = {stop for route in plan.routes for stop in route.stops}
    grouped = {client for group in instance.groups if served & set(group) for client in group}
    partner = {end: pair for pair in instance.pairs for end in pair}
    left, done = [], served | grouped
    for client in range(instance.num_depots, instance.num_locations):
        if client not in done:
            clients = partner.get(client, (client,))
            done |= set(clients)
            left.append(_reason(instance, plan, clients))
    return tuple(left)


def _reason(instance: RichRouting, plan: RichRoutes, clients: tuple[int, ...]) -> Unserved:
    alone = next((found for client in clients if (found := refusal(instance, client))), None)
    if alone:
        return Unserved(clients, alone, inf)
    best, broken = inf, Counter[str]()
    for route in plan.routes:
        before = drive(instance, route).cost
        for trial in _places(instance, route, clients):
            rules = {violation.rule for violation in violations_of(instance, trial)}
            broken.update(rules)
            if not rules:
                best = min(best, drive(instance, trial).cost - before)
    used = Counter(route.vehicle for route in plan.routes)
    free = [kind for kind, vehicle in enumerate(instance.vehicles) if used[kind] < vehicle.count]
    for kind in free:
        trial = RichRoute(kind, clients)
        if not violations_of(instance, trial):
            best = min(best, drive(instance, trial).cost)
    return Unserved(clients, _said(instance, plan, clients, best, broken, free), best)


def _said(
    instance: RichRouting,
    plan: RichRoutes,
    clients: tuple[int, ...],
    best: float,
    broken: Counter[str],
    free: list[int],
) -> str:
    prize = float(instance.prize[list(clients)].sum())
    if best < inf:
        if best > prize:
            return f"serving it would add {best:g}, more than its prize of {prize:g}"
        worth = "" if prize == inf else f", less than its prize of {prize:g}"
        return f"there is room for it: serving it would add {best:g}{worth}"
    routes = f"{len(plan.routes)} route{'s' if len(plan.routes) != 1 else ''}"
    why = ", ".join(f"{_WORDS.get(rule, rule)} {count} times" for rule, count in broken.most_common(3))
    last = "and no unused vehicle can serve it" if free else "and no vehicle is left"
    return f"no place on {routes}{f' ({why})' if why else ''}, {last}"


def _places(instance: RichRouting, route: RichRoute, clients: tuple[int, ...]) -> Iterator[RichRoute]:
    """The route with the client (or the pair) at every place that is still open."""
    lock = lock_of(instance, route)
    first_open, stops = 0 if lock is None else len(lock.stops), route.stops
    for first in range(first_open, len(stops) + 1):
        one = (*stops[:first], clients[0], *stops[first:])
        if len(clients) == 1:
            yield RichRoute(route.vehicle, one, _shifted(route.breaks, first))
            continue
        last = len(stops) if len(stops) <= _MOST_PLACES_OF_PAIR else first
        for second in range(first, last + 1):
            both = (*one[: second + 1], clients[1], *one[second + 1 :])
            yield RichRoute(route.vehicle, both, _shifted(_shifted(route.breaks, first), second + 1))


def _shifted(breaks: tuple[int, ...], place: int) -> tuple[int, ...]:
    return tuple(number + 1 if number > place else number for number in breaks)
