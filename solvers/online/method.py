"""Methods for a placement whose tasks arrive in the order of the file: each is decided before the next is looked at."""

from __future__ import annotations

import time

from apportion.instances.cluster import ClusterPlacement, Placement
from apportion.models.cluster.classes import Classes
from apportion.solvers.advisor import Advisor
from apportion.solvers.cluster.bounds import simple_bounds
from apportion.solvers.cluster.patterns import Stage
from apportion.solvers.cluster.plain import require_plain
from apportion.solvers.events import Monitor
from apportion.solvers.method import Method
from apportion.solvers.online.admission import MOST_WAIT, Admission, replay_with_waiting
from apportion.solvers.online.policy import RulePolicy
from apportion.solvers.online.replay import Replay, replay
from apportion.solvers.options import SolveOptions
from apportion.solvers.result import Answer
from apportion.solvers.solve import limit_reached
from apportion.solvers.status import Bounds, Limit, Status


def _answer(played: Replay, classes: Classes, monitor: Monitor, build_s: float) -> Answer[Placement]:
    cluster = played.cluster
    bound = simple_bounds(cluster, classes)[Stage.SERVED]
    plan = played.placement()
    served = sum(int(cluster.demand_milli[t]) for t, c in enumerate(played.choices) if c is not None) / 1000
    monitor.bound(bound, "what fits at all")
    monitor.incumbent(served, "H", f"{len(plan.placed)} tasks in the order of arrival")
    stopped = monitor.should_stop
    optimal = served >= bound
    status = Status.OPTIMAL if optimal else Status.FEASIBLE
    limit = None if optimal else limit_reached(monitor) if stopped else Limit.METHOD
    extras = {
        "tasks_served": float(len(plan.placed)),
        "longest_wait": float(max(0, int(played.waited.max(initial=0)))),
    }
    return Answer(status, Bounds(served, bound), plan, limit, build_s, {}, "", extras)


def by_rule(rule: str) -> Method:
    """The method that places by a rule of :data:`~apportion.solvers.online.policy.RULES`."""

    def place(
        instance: ClusterPlacement, options: SolveOptions, monitor: Monitor, advisor: Advisor | None = None
    ) -> Answer[Placement]:
        del advisor  # what arrives is decided at once
        require_plain(instance, f"online-{rule}")
        began = time.perf_counter()
        classes = Classes.of(instance)
        policy = RulePolicy.named(rule, instance, options.seed)
        build_s = time.perf_counter() - began
        return _answer(replay(instance, policy, lambda: monitor.should_stop), classes, monitor, build_s)

    place.__doc__ = f"Place by the rule {rule}, each task before the next is looked at."
    return place


place_least_loss = by_rule("least-loss")
place_fgd = by_rule("fgd")
place_best_fit = by_rule("best-fit")
place_dot_product = by_rule("dot-product")
place_packing = by_rule("packing")
place_clustering = by_rule("clustering")
place_random = by_rule("random")


def place_with_waiting(
    instance: ClusterPlacement, options: SolveOptions, monitor: Monitor, advisor: Advisor | None = None
) -> Answer[Placement]:
    """Least loss with admission by prices; ``node_limit`` is the most arrivals that a task waits, 3,000 by default."""
    del advisor  # as above
    require_plain(instance, "online-admission")
    began = time.perf_counter()
    classes = Classes.of(instance)
    policy = RulePolicy.named("least-loss", instance, options.seed)
    most_wait = MOST_WAIT if options.node_limit is None else options.node_limit
    admission = Admission.of(policy, instance, most_wait)
    build_s = time.perf_counter() - began
    return _answer(replay_with_waiting(instance, admission, lambda: monitor.should_stop), classes, monitor, build_s)
