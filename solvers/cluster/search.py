"""One solve of a cluster placement: the best plan so far, what is proven, and the steps that improve them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf, isfinite

import numpy as np

from apportion.instances.cluster import MILLI_PER_GPU, ClusterPlacement, Placement
from apportion.models.checking import check
from apportion.models.cluster.classes import Classes
from apportion.models.cluster.patterns import Pattern, pattern_model
from apportion.solvers.advisor import Advisor
from apportion.solvers.backends import backend_named
from apportion.solvers.cluster.bounds import rounded, simple_bounds
from apportion.solvers.cluster.exact import CpSatSearch, StageSearch, solve_in_stages
from apportion.solvers.cluster.kernels import BEST_FIT, FIRST_FIT, MATCHED_FIT
from apportion.solvers.cluster.neighbourhood import empty_nodes, improve
from apportion.solvers.cluster.patterns import PatternProgram, Stage
from apportion.solvers.cluster.rounding import apply_patterns, patterns_of
from apportion.solvers.cluster.state import Score, State, decreasing
from apportion.solvers.events import Monitor
from apportion.solvers.options import Setting, SolveOptions
from apportion.solvers.result import Answer
from apportion.solvers.solve import limit_reached
from apportion.solvers.status import Bounds, Limit, Status

_TASK_GAIN = 1e-3
_NODE_COST = 1e-4
_SMALL = 1_000
_PATTERN_SEARCH_S = 20.0
_BOUND_S = 120.0
_BOUND_ROUNDS = 60
_IDLE_WINDOWS = 5
_IDLE_WINDOWS_TIMED = 20
_EXACT_WORK = 1.0
_NODES_DETERMINISTIC = 20


def num_variables(classes: Classes) -> int:
    """How many variables an exact formulation has."""
    kinds = classes.fits.sum(axis=0) + classes.node_gpus * (1 + classes.fits[classes.shares].sum(axis=0))
    return int(classes.node_count @ kinds)


@dataclass(eq=False)
class Search:
    """The best placement so far and what is proven, shared by the steps of one solve."""

    instance: ClusterPlacement
    options: SolveOptions
    monitor: Monitor
    classes: Classes
    best: State
    bounds: dict[Stage, float]
    build_s: float = 0.0
    counts: dict[str, int] = field(default_factory=lambda: {"nodes": 0, "patterns": 0, "windows": 0})
    native_status: str = ""
    exact: bool = False
    counting_nodes: bool = False
    tight: bool = True
    program: PatternProgram | None = None

    @classmethod
    def begin(cls, instance: ClusterPlacement, options: SolveOptions, monitor: Monitor) -> Search:
        """Group tasks and nodes, take the plan that is given or an empty one, and bound what is obvious."""
        began = time.perf_counter()
        classes = Classes.of(instance)
        best = State.empty(instance, classes)
        search = cls(instance, options, monitor, classes, best, simple_bounds(instance, classes))
        search.build_s = time.perf_counter() - began
        monitor.bound(search.bounds[Stage.SERVED], "what fits at all")
        if isinstance(options.start, Placement):
            search.consider(State.of_plan(instance, classes, options.start), "S", "the start")
        return search

    # -- bookkeeping -------------------------------------------------------------------------------------------------

    def value(self, stage: Stage) -> float:
        """What the best plan reaches in a stage."""
        if stage is Stage.SERVED:
            return self.best.score.served_milli / MILLI_PER_GPU
        return float(self.best.score.tasks if stage is Stage.TASKS else self.best.nodes_used)

    def settled(self, stage: Stage) -> bool:
        """Whether the best plan is proven to be optimal in a stage and in those before it."""
        served = bounds_gap(self.value(Stage.SERVED), self.bounds[Stage.SERVED]) <= self.options.gap
        if stage is Stage.SERVED:
            return served
        tasks = served and self.value(Stage.TASKS) >= self.bounds[Stage.TASKS]
        return tasks if stage is Stage.TASKS else tasks and self.value(Stage.NODES) <= self.bounds[Stage.NODES]

    def consider(self, state: State, letter: str, message: str) -> bool:
        """Keep ``state`` when it is better, and report what it serves.

        Once nodes are counted nothing may be given up for them, or the bound on nodes would lose its meaning.
        """
        score, now = state.score, self.best.score
        better = _no_less_and_better(score, now) if self.counting_nodes else score > now
        if not better and now.tasks:
            return False
        self.best = state
        self.monitor.incumbent(score.served_milli / MILLI_PER_GPU, letter, self._described(state, message))
        return True

    @staticmethod
    def _described(state: State, message: str) -> str:
        return f"{message}: {state.score.tasks} tasks on {state.nodes_used} nodes"

    def prove(self, stage: Stage, value: float, message: str) -> None:
        """Keep a bound when it is better, and report it when it is on the served GPUs."""
        strong = rounded(stage, value, self.classes)
        now = self.bounds[stage]
        self.bounds[stage] = max(now, strong) if stage is Stage.NODES else min(now, strong)
        if stage is Stage.SERVED:
            self.monitor.bound(self.bounds[stage], message)

    def budget(self, part: float, otherwise_s: float) -> Monitor:
        """A silent clock for a step: a part of the time that is left, at most ``otherwise_s`` without a limit."""
        left = self.monitor.remaining_s * part if isfinite(self.monitor.remaining_s) else otherwise_s
        if self.options.deterministic and not isfinite(self.monitor.remaining_s):
            left = inf
        limit = self.monitor.elapsed_s + left
        return Monitor(self.instance.sense, None, limit, self.monitor.cancelled, self.monitor.started)

    # -- steps -------------------------------------------------------------------------------------------------------

    def greedy_starts(self) -> None:
        """Pack by three rules in two orders; their patterns also start the relaxation."""
        self.seeds: list[Pattern] = patterns_of(self.best)
        orders = (("decreasing", decreasing(self.instance)), ("given order", np.arange(len(self.instance.tasks))))
        policies = (("first fit", FIRST_FIT), ("best fit", BEST_FIT), ("matched fit", MATCHED_FIT))
        for policy_name, policy in policies:
            for order_name, order in orders:
                if self.monitor.should_stop and self.best.score.tasks:
                    return
                state = State.empty(self.instance, self.classes)
                state.pack(order, policy)
                self.seeds += patterns_of(state)
                self.consider(state, "H", f"{policy_name}, {order_name}")

    def advised(self, advisor: Advisor | None) -> None:
        """Consider the plan of an advisor, if it is one."""
        start = advisor.advise(self.instance).start if advisor is not None else None
        if not isinstance(start, Placement):
            return
        verdict = check(self.instance, start)
        if verdict.ok:
            self.consider(State.of_plan(self.instance, self.classes, start), "S", "advised")
        else:
            self.monitor.log(f"the advised start is rejected: {verdict.violations[0]}")

    def patterns(self) -> PatternProgram:
        """The pattern program with the patterns of the greedy plans, made once."""
        if self.program is None:
            began = time.perf_counter()
            self.program = PatternProgram(self.classes)
            for pattern in self.seeds:
                self.program.add(pattern)
            self.build_s += time.perf_counter() - began
        return self.program

    def bound_stage(self, stage: Stage, part: float) -> None:
        """Prove a bound on a stage, given what the best plan reaches in the stages before it."""
        served = self.value(Stage.SERVED) if stage is not Stage.SERVED else 0.0
        tasks = self.best.score.tasks if stage is Stage.NODES else 0
        rounds = 10 * _BOUND_ROUNDS if isfinite(self.monitor.time_limit_s) else _BOUND_ROUNDS
        for pattern in patterns_of(self.best):
            self.patterns().add(pattern)
        found = self.patterns().bound(stage, self.budget(part, _BOUND_S), served, tasks, rounds)
        self.tight = found.tight
        self.prove(stage, found.value, f"node patterns, {found.rounds} rounds")
        self.counts["patterns"] = len(self.patterns().patterns)

    def serve_most(self) -> None:
        """The first stage: bound, round, search the patterns, then search windows or exactly."""
        if not self.settled(Stage.SERVED):
            self.bound_stage(Stage.SERVED, 0.4)
        if not self.settled(Stage.NODES):
            self.round_patterns()
        if not self.settled(Stage.SERVED):
            self.search_patterns(all_of=False)
        if not self.settled(Stage.SERVED) and not self.tight:
            self.bound_stage(Stage.SERVED, 0.4)
        if self.small:
            self.search_small()
        elif not self.settled(Stage.SERVED):
            self.search_windows(Stage.SERVED, lambda new, old: new > old, 0.6)

    def place_most(self) -> None:
        """The second stage: more tasks at no less served."""
        if self.value(Stage.TASKS) >= self.bounds[Stage.TASKS] or self.monitor.should_stop:
            return
        self.bound_stage(Stage.TASKS, 0.2)
        if self.exact:
            return
        if self.value(Stage.TASKS) < self.bounds[Stage.TASKS]:
            self.search_patterns(all_of=False)
        if self.value(Stage.TASKS) < self.bounds[Stage.TASKS]:
            self.search_windows(Stage.TASKS, lambda new, old: new > old, 0.5)

    def use_fewest(self) -> None:
        """The third stage: fewer nodes for the same tasks or more."""
        self.counting_nodes = True
        if self.value(Stage.NODES) <= self.bounds[Stage.NODES] or self.monitor.should_stop:
            return
        self.bound_stage(Stage.NODES, 0.3)
        if self.exact:
            return
        if self.value(Stage.NODES) > self.bounds[Stage.NODES]:
            self.search_patterns(all_of=True)
            self.consider(empty_nodes(self.best, self.monitor), "L", "nodes emptied")
        if self.value(Stage.NODES) > self.bounds[Stage.NODES]:
            self.search_windows(Stage.NODES, _no_less_and_better, 1.0)

    def round_patterns(self) -> None:
        """Round the relaxation into a plan."""
        gain = self.classes.value / MILLI_PER_GPU + _TASK_GAIN
        chosen = self.patterns().dive(gain, _NODE_COST, self.monitor)
        self.try_patterns(chosen, "R", "node patterns rounded")

    def search_patterns(self, *, all_of: bool) -> None:
        """Choose among the generated patterns with a MIP: for all placed tasks with the fewest nodes, or the most."""
        classes, known = self.classes, self.patterns().patterns
        if not known or self.monitor.should_stop:
            return
        gain, cost = classes.value / MILLI_PER_GPU + _TASK_GAIN, _NODE_COST
        fewest, most = np.zeros(classes.num_types, np.int64), classes.count
        if all_of:
            placed = classes.task_type[self.best.node_of >= 0]
            fewest = most = np.bincount(placed, minlength=classes.num_types)
            gain, cost = np.zeros(classes.num_types), 1.0
        model = pattern_model(classes, known, gain, cost, fewest, most)
        nodes = _NODES_DETERMINISTIC if self.options.deterministic else None
        options = replace(self.options, gap=1e-6, start=None, node_limit=nodes)
        found = backend_named("highs").run(model.compile(), options, self.budget(0.4, _PATTERN_SEARCH_S))
        if found.values is not None:
            times = np.round(model.split(found.values)["times"]).astype(np.int64)
            chosen = [known[p] for p in np.repeat(np.arange(len(known)), times)]
            self.try_patterns(chosen, "R", "node patterns chosen")

    def try_patterns(self, chosen: list[Pattern], letter: str, message: str) -> None:
        """Place tasks by patterns and keep the plan when it is better."""
        state = State.empty(self.instance, self.classes)
        apply_patterns(state, chosen)
        if self.consider(state, letter, message):
            for pattern in patterns_of(state):
                self.patterns().add(pattern)

    def search_windows(self, stage: Stage, accept: Callable[[Score, Score], bool], part: float) -> None:
        """Search windows of nodes until the stage is settled or the budget of time or windows is used.

        With a time limit the first stage goes on until then; the others give up after some windows that bring nothing.
        """
        most = _IDLE_WINDOWS
        if isfinite(self.monitor.time_limit_s) and not self.options.deterministic:
            most = _IDLE_WINDOWS_TIMED if stage is not Stage.SERVED else 10**9
        if self.options.node_limit is not None:
            most = min(most, self.options.node_limit)
        state, windows = improve(
            self.best,
            self.options,
            self.budget(part, inf),
            accept,
            lambda _: self.settled(stage),
            most,
            self._keep,
        )
        self.counts["windows"] += windows
        self._keep(state)

    def _keep(self, state: State) -> None:
        self.consider(state, "L", "window")

    @property
    def small(self) -> bool:
        """Whether an exact formulation of the whole is worth a try."""
        return num_variables(self.classes) <= _SMALL

    def search_small(self) -> None:
        """CP-SAT on the whole instance, stage by stage, with the bounds that are known."""
        settings: dict[str, Setting] = dict(self.options.cp_sat.settings)
        if not isfinite(self.monitor.time_limit_s):
            settings.setdefault("max_deterministic_time", _EXACT_WORK)
        options = replace(self.options, cp_sat=replace(self.options.cp_sat, settings=settings))
        began = time.perf_counter()
        formulation = CpSatSearch(self.instance, self.classes)
        self.build_s += time.perf_counter() - began
        self.run_exact(formulation, options)

    def run_exact(self, formulation: StageSearch, options: SolveOptions) -> None:
        """Run an exact search from the best plan and take over its plan and bounds."""
        found = solve_in_stages(self.instance, formulation, self.best.plan(), options, self.monitor, self.bounds)
        self.exact = True
        if found.plan is not None:
            self.consider(State.of_plan(self.instance, self.classes, found.plan), "T", "exact search")
        for stage, bound in found.bounds.items():
            self.prove(stage, bound, "exact search")
        self.counts["nodes"] += found.counts["nodes"]
        self.native_status = found.native_status

    def answer(self) -> Answer[Placement]:
        """The plan, what is proven of each stage, and why it ended."""
        plan = self.best.plan()
        status, limit = Status.OPTIMAL, None
        if not self.settled(Stage.SERVED):
            stopped = self.monitor.should_stop
            status, limit = Status.FEASIBLE, limit_reached(self.monitor) if stopped else Limit.METHOD
        return Answer(
            status,
            Bounds(self.value(Stage.SERVED), self.bounds[Stage.SERVED]),
            plan,
            limit,
            self.build_s,
            self.counts,
            self.native_status,
            {
                "tasks_served": self.value(Stage.TASKS),
                "tasks_bound": self.bounds[Stage.TASKS],
                "nodes_used": self.value(Stage.NODES),
                "nodes_bound": self.bounds[Stage.NODES],
            },
        )


def bounds_gap(primal: float, dual: float) -> float:
    """The relative distance of a value and its bound."""
    return Bounds(primal, dual).gap


def _no_less_and_better(new: Score, old: Score) -> bool:
    """Better without serving less or fewer, so that a bound on nodes at these floors stays true."""
    return new > old and new.served_milli >= old.served_milli and new.tasks >= old.tasks
