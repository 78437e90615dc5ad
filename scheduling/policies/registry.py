"""Schedulers by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from apportion.instances.errors import OptionError
from apportion.instances.fleet import FleetAllocation
from apportion.instances.program import Floats
from apportion.scheduling.policies.planning import PlanningScheduler, ShortestScheduler
from apportion.scheduling.simulator.fractions import FractionPolicy, FractionScheduler
from apportion.scheduling.simulator.rounds import GAVEL, RoundRules
from apportion.scheduling.simulator.view import RoundScheduler
from apportion.solvers.allocation.policies import POLICIES
from apportion.solvers.rounds.fractions import (
    makespan_fractions,
    max_min_fractions,
    proportional_fractions,
    shortest_makespan,
    throughput_fractions,
)
from apportion.solvers.rounds.planner import PlanWeights

ALL_ROUND = PlanWeights(mean=1.0, last=10.0, unfair=0.5, excess=2.0, worst=50.0)
"""Weights of the planner that are good at mean completion time, makespan and fairness at once."""

GAVEL_RESET_S, SHOCKWAVE_RESET_S = 1920.0, 1000.0
"""The least time between two computations of fractions in the two published simulators."""

_SHUFFLE_SEED = 5
_EXCLUSIVE = ("fifo", "fifo-perf", "srtf")


def _exact_makespan(snapshot: FleetAllocation) -> Floats:
    return shortest_makespan(snapshot)[1]


_CENTRAL: dict[str, tuple[FractionPolicy, bool]] = {
    "gavel-las": (max_min_fractions, True),
    "gavel-las-agnostic": (partial(max_min_fractions, aware=False), False),
    "gavel-makespan": (makespan_fractions, True),
    "gavel-makespan-agnostic": (partial(makespan_fractions, aware=False), False),
    "gavel-throughput": (throughput_fractions, True),
    "gandiva-fair": (proportional_fractions, False),
    "makespan-exact": (_exact_makespan, True),
}

Factory = Callable[[RoundRules], RoundScheduler]


def _reset_s(rules: RoundRules) -> float:
    return SHOCKWAVE_RESET_S if rules.length_s < GAVEL.length_s else GAVEL_RESET_S


def _central(name: str) -> Factory:
    policy, aware = _CENTRAL[name]
    return lambda rules: FractionScheduler(policy, _reset_s(rules), shuffle_seed=None if aware else _SHUFFLE_SEED)


def _of_policy(name: str) -> Factory:
    policy = POLICIES[name]

    def fractions(snapshot: FleetAllocation) -> Floats:
        return policy(snapshot).x

    exclusive = name in _EXCLUSIVE
    return lambda rules: FractionScheduler(fractions, 0.0 if exclusive else _reset_s(rules), exclusive=exclusive)


SCHEDULERS: dict[str, Factory] = {
    "planner": lambda rules: PlanningScheduler(ALL_ROUND, rules.restart_s),
    "shortest": lambda _: ShortestScheduler(),
    **{name: _central(name) for name in _CENTRAL},
    **{name: _of_policy(name) for name in POLICIES if not name.endswith("packed")},
}
"""Name -> what makes a fresh scheduler for some rules of rounds."""


def scheduler_named(name: str, rules: RoundRules = GAVEL) -> RoundScheduler:
    """A fresh scheduler.

    >>> type(scheduler_named("planner")).__name__
    'PlanningScheduler'
    """
    if name not in SCHEDULERS:
        raise OptionError(f"unknown policy {name!r}\nMaybe one of {', '.join(SCHEDULERS)}")
    return SCHEDULERS[name](rules)
