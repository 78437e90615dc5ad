"""Requests that come in over the day: which to send out now, and which may wait for company.

The rules are those of the EURO Meets NeurIPS 2022 competition: epochs of an hour; at each, up to a hundred requests
drawn from the places, windows, demands and service times of an instance, those that can no longer be served left out;
vehicles leave an hour after the epoch begins; a request that would be too late in the next epoch must go. The cost is
the driving time of all routes.

References
----------
Kool, W., Bliek, L., Numeroso, D., and others (2023). The EURO Meets NeurIPS 2022 vehicle routing competition.
Proceedings of Machine Learning Research 220, 35-49.

Lan, L., van Doorn, J., Wouda, N. A., Rijal, A., Bhulai, S. (2024). An iterative sample scenario approach for the
dynamic dispatch waves problem. Transportation Science 58(4), 726-740.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from apportion.instances.errors import OptionError
from apportion.instances.program import Floats
from apportion.instances.rich_routing import RichRoute, RichRoutes, RichRouting, VehicleType
from apportion.instances.routing import VehicleRouting
from apportion.solvers.rich_routing.search import RichSearch

EPOCH, MARGIN, MOST_REQUESTS = 3600.0, 3600.0, 100
HOT, COLD = 0.3, 0.003
Policy = Literal["greedy", "lazy", "company", "prices"]
POLICIES: tuple[str, ...] = get_args(Policy)
Indices = np.ndarray[tuple[int], np.dtype[np.int64]]


@dataclass(frozen=True, eq=False)
class Requests:
    """Where, when, how long and how much; one entry each. Times are those of the day."""

    place: Indices
    ready: Floats
    due: Floats
    service: Floats
    demand: Floats

    def __len__(self) -> int:
        return len(self.place)

    def pick(self, which: Indices) -> Requests:
        """Some of them."""
        return Requests(self.place[which], self.ready[which], self.due[which], self.service[which], self.demand[which])

    def join(self, others: Requests) -> Requests:
        """These and then ``others``."""
        both = ((getattr(self, name), getattr(others, name)) for name in vars(self))
        return Requests(*(np.concatenate(pair) for pair in both))


@dataclass(frozen=True)
class Effort:
    """How much is searched.

    Parameters
    ----------
    iterations
        Of ruin and recreate for the routes that are sent out.
    scenarios, scenario_iterations
        Sampled futures for each decision, and iterations for each.
    horizon
        How many epochs ahead a future reaches.
    patience
        A request goes when it costs less than this times its share in the futures: small numbers wait for longer.
    """

    iterations: int = 20_000
    scenarios: int = 4
    scenario_iterations: int = 3_000
    horizon: int = 2
    patience: float = 0.9


@dataclass(frozen=True)
class Day:
    """How a day went: the driving time, and for each epoch how many requests were open, had to go, and went."""

    cost: float
    epochs: tuple[tuple[int, int, int], ...]
    routes: int


def draw(instance: VehicleRouting, epoch: int, random: np.random.Generator) -> Requests:
    """The requests that come in at ``epoch``: drawn uniformly, those that cannot be served any more left out."""
    size = instance.num_clients
    place, window, demand, service = (random.integers(size, size=MOST_REQUESTS) + 1 for _ in range(4))
    drawn = Requests(
        place, instance.ready[window], instance.due[window], instance.service[service], instance.demand[demand]
    )
    return drawn.pick(np.flatnonzero(~_too_late(instance, drawn, epoch)))


def _too_late(instance: VehicleRouting, requests: Requests, epoch: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which could not be served by a vehicle of their own that leaves in ``epoch``."""
    leaves = epoch * EPOCH + MARGIN
    arrives = np.maximum(leaves + instance.duration[0, requests.place], requests.ready)
    back = arrives + requests.service + instance.duration[requests.place, 0]
    return np.asarray((arrives > requests.due) | (back > instance.due[0]), np.bool_)


def _problem(
    instance: VehicleRouting, requests: Requests, release: Floats, leaves: float, prize: Floats | None = None
) -> RichRouting:
    """The requests as an instance whose time 0 is when vehicles leave."""
    worth = np.full(len(requests), np.inf) if prize is None else prize
    where = np.concatenate([[0], requests.place])
    travel = np.array(instance.duration[np.ix_(where, where)])
    zero = np.zeros(1)

    def since(times: Floats) -> Floats:
        return np.maximum(times - leaves, 0.0)

    van = VehicleType(max(1, len(requests)), (float(instance.capacity),), due=float(instance.due[0]) - leaves)
    return RichRouting.simple(
        "epoch",
        travel,
        [van],
        delivery=np.concatenate([zero, requests.demand])[:, None],
        ready=np.concatenate([zero, since(requests.ready)]),
        due=np.concatenate([[float(instance.due[0]) - leaves], since(requests.due)]),
        service=np.concatenate([zero, requests.service]),
        release=np.concatenate([zero, release]),
        prize=np.concatenate([[np.inf], worth]),
    )


def _route(problem: RichRouting, iterations: int, seed: int, start: RichRoutes | None = None) -> RichRoutes:
    """Routes for all requests of ``problem``; each can be served on its own, so that there are some."""
    search = RichSearch.begin(problem, seed, start)
    edge = search.average_edge
    search.run(iterations, HOT * edge, (COLD / HOT) ** (1.0 / max(1, iterations)), 0.1)
    return search.plan()


@dataclass(frozen=True)
class _Decision:
    """What is known at an epoch."""

    instance: VehicleRouting
    open: Requests
    must_go: np.ndarray[tuple[int], np.dtype[np.bool_]]
    epoch: int
    last: int
    effort: Effort
    random: np.random.Generator

    def routes(self, some: Indices) -> RichRoutes:
        """Routes for some of the open requests, in the numbers of all."""
        if not len(some):
            return RichRoutes(())
        problem = _problem(self.instance, self.open.pick(some), np.zeros(len(some)), self.epoch * EPOCH + MARGIN)
        plan = _route(problem, self.effort.iterations, int(self.random.integers(2**31)))
        named = [RichRoute(0, tuple(int(some[stop - 1]) + 1 for stop in route.stops)) for route in plan.routes]
        return RichRoutes(tuple(named))

    def company(self) -> tuple[Indices, RichRoutes]:
        """Send the routes through all that is open on which somebody must go."""
        plan = self.routes(np.arange(len(self.open)))
        goes = [route for route in plan.routes if self.must_go[np.array(route.stops) - 1].any()]
        return np.array(sorted(s - 1 for route in goes for s in route.stops), np.int64), RichRoutes(tuple(goes))

    def by_prices(self) -> tuple[Indices, RichRoutes]:
        """Who must go, and who costs no more now than a request of its kind costs in sampled futures."""
        optional = ~self.must_go
        prize = np.where(optional, self.effort.patience * self._later_costs(), np.inf)
        nothing = np.zeros(len(self.open))
        problem = _problem(self.instance, self.open, nothing, self.epoch * EPOCH + MARGIN, prize)
        plan = _route(problem, self.effort.iterations, int(self.random.integers(2**31)))
        return np.array(sorted(stop - 1 for route in plan.routes for stop in route.stops), np.int64), plan

    def _later_costs(self) -> Floats:
        """For each open request its share of the driving, on average over futures in which nobody leaves yet."""
        total = np.zeros(len(self.open))
        for _ in range(self.effort.scenarios):
            requests, release = self.open, np.zeros(len(self.open))
            for ahead in range(1, min(self.effort.horizon, self.last - self.epoch) + 1):
                future = draw(self.instance, self.epoch + ahead, self.random)
                requests = requests.join(future)
                release = np.concatenate([release, np.full(len(future), ahead * EPOCH)])
            problem = _problem(self.instance, requests, release, self.epoch * EPOCH + MARGIN)
            plan = _route(problem, self.effort.scenario_iterations, int(self.random.integers(2**31)))
            for route in plan.routes:
                stops = np.array(route.stops)
                is_open = stops <= len(self.open)
                total[stops[is_open] - 1] += _shares(problem, route.stops)[is_open]
        return total / self.effort.scenarios


def _shares(problem: RichRouting, stops: tuple[int, ...]) -> Floats:
    """The driving of a route, split: what each stop alone saves by its absence, and the rest by demand."""
    before, after, here = np.array([0, *stops[:-1]]), np.array([*stops[1:], 0]), np.array(stops)
    travel, load = problem.duration, problem.delivery[here, 0]
    saved = np.maximum(travel[before, here] + travel[here, after] - travel[before, after], 0.0)
    rest = max(0.0, _driving(problem, stops) - float(saved.sum()))
    weight = load / load.sum() if load.sum() > 0 else np.full(len(here), 1.0 / len(here))
    return np.asarray(saved + rest * weight, np.float64)


def run_day(instance: VehicleRouting, policy: Policy = "prices", *, seed: int = 0, effort: Effort | None = None) -> Day:
    """Run the epochs of one day; the requests depend on ``seed`` alone, so that policies meet the same ones.

    Parameters
    ----------
    instance
        What requests are drawn from; a travel time need not be the same both ways.
    policy
        ``"greedy"`` sends all that is open, ``"lazy"`` only what must go, ``"company"`` the routes through all that is
        open on which somebody must go, ``"prices"`` what costs no more now than it is likely to cost later.
    seed
        Of the requests and of everything else.
    effort
        How much is searched; the same for all policies where they do the same.

    Raises
    ------
    OptionError
        When the policy is unknown or the instance has no time windows.

    Examples
    --------
    >>> from apportion.instances.generate.routing import generate_routing
    >>> small = generate_routing(1, clients=20, time_windows=True)
    >>> run_day(small, "lazy", effort=Effort(iterations=10)).cost >= 0
    True
    """
    if policy not in POLICIES:
        raise OptionError(f"no policy is called {policy!r}\nMaybe one of {', '.join(POLICIES)}")
    if not instance.has_time_windows:
        raise OptionError("requests over the day need time windows\nMaybe another file")
    effort = effort or Effort()
    arrivals, thoughts = (np.random.default_rng([seed, stream]) for stream in range(2))
    first, last = (_epoch_of(time) for time in (instance.ready[1:].min(), instance.ready[1:].max()))
    nothing = np.zeros(0)
    waiting = Requests(np.zeros(0, np.int64), nothing, nothing, nothing, nothing)
    cost, routes, log = 0.0, 0, []
    for epoch in range(first, last + 1):
        waiting = waiting.join(draw(instance, epoch, arrivals))
        must_go = _too_late(instance, waiting, epoch + 1) | (epoch == last)
        decision = _Decision(instance, waiting, must_go, epoch, last, effort, thoughts)
        sent, plan = _chosen(decision, policy)
        if len(sent):
            problem = _problem(instance, waiting, np.zeros(len(waiting)), epoch * EPOCH + MARGIN)
            cost += sum(_driving(problem, route.stops) for route in plan.routes)
            routes += len(plan.routes)
        log.append((len(waiting), int(must_go.sum()), len(sent)))
        waiting = waiting.pick(np.setdiff1d(np.arange(len(waiting)), sent))
    return Day(cost, tuple(log), routes)


def _epoch_of(time: float) -> int:
    return int(max((time - MARGIN) // EPOCH, 0))


def _chosen(decision: _Decision, policy: Policy) -> tuple[Indices, RichRoutes]:
    """Who goes, and on which routes through all that is open."""
    everybody = np.arange(len(decision.open))
    if policy == "greedy" or decision.epoch == decision.last:
        return everybody, decision.routes(everybody)
    if policy == "lazy":
        some = np.flatnonzero(decision.must_go)
        return some, decision.routes(some)
    return decision.company() if policy == "company" else decision.by_prices()


def _driving(problem: RichRouting, stops: tuple[int, ...]) -> float:
    return float(sum(problem.duration[a, b] for a, b in zip((0, *stops), (*stops, 0), strict=True)))
