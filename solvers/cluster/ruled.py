"""How a cluster placement with rules is solved: greedy starts, CP-SAT on the whole, then on gangs and their domains."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from math import floor, inf, isfinite

import numpy as np

from apportion.instances.cluster import MILLI_PER_GPU, ClusterPlacement, Placement
from apportion.instances.cluster_rules import TERMS
from apportion.models.checking import check
from apportion.models.cluster.rules_check import aim_value
from apportion.models.cluster.rules_cpsat import AimCp, RulesCp, rules_cp
from apportion.models.cluster.units import Unit, units_of
from apportion.models.verdict import Verdict
from apportion.solvers.advisor import Advisor
from apportion.solvers.cluster.gang_greedy import BEST_FIT, FIRST_FIT, ORDERS, place_greedily
from apportion.solvers.events import Monitor
from apportion.solvers.options import Setting, SolveOptions
from apportion.solvers.result import Answer
from apportion.solvers.solve import limit_reached
from apportion.solvers.status import Bounds, Limit, Status

_SMALL = 4000
_MOST_PAIRS = 400_000
_WHOLE_WORK = 8.0
_WINDOW_WORK = 0.4
_IDLE_WINDOWS = 6
_WINDOW_GANGS = 8
_WINDOW_NODES = 48
_TOLERANCE = 1e-7


def place_with_rules(
    instance: ClusterPlacement, options: SolveOptions, monitor: Monitor, advisor: Advisor | None = None
) -> Answer[Placement]:
    """Placement with gangs, topology, quotas and so on: greedy, then CP-SAT, then windows; bounds from CP-SAT."""
    search = _Search.begin(instance, options, monitor, advisor)
    search.greedy()
    search.optimise(windows=True)
    return search.answer()


def place_greedy_with_rules(
    instance: ClusterPlacement, options: SolveOptions, monitor: Monitor, advisor: Advisor | None = None
) -> Answer[Placement]:
    """The greedy plans alone."""
    search = _Search.begin(instance, options, monitor, advisor)
    search.greedy()
    return search.answer()


def place_exactly_with_rules(
    instance: ClusterPlacement, options: SolveOptions, monitor: Monitor, advisor: Advisor | None = None
) -> Answer[Placement]:
    """CP-SAT on the whole problem, aim by aim, until each is proven or the time is up."""
    search = _Search.begin(instance, options, monitor, advisor)
    search.greedy()
    search.optimise(windows=False)
    return search.answer()


@dataclass(eq=False)
class _Search:
    instance: ClusterPlacement
    options: SolveOptions
    monitor: Monitor
    units: tuple[Unit, ...]
    bounds: list[float]
    best: Placement | None = None
    aims: tuple[float, ...] = ()
    status: Status = Status.NO_SOLUTION
    build_s: float = 0.0
    counts: dict[str, int] = field(default_factory=lambda: {"nodes": 0, "windows": 0})
    native: str = ""

    @classmethod
    def begin(
        cls, instance: ClusterPlacement, options: SolveOptions, monitor: Monitor, advisor: Advisor | None
    ) -> _Search:
        """Bound what is obvious; consider the plans that are given."""
        units = units_of(instance)
        search = cls(
            instance, options, monitor, units, [_simple_bound(instance, units, aim) for aim in _aims(instance)]
        )
        monitor.bound(search.bounds[0], "capacity")
        advised = advisor.advise(instance).start if advisor is not None else None
        for plan, words in ((options.start, "the start"), (advised, "advised")):
            if isinstance(plan, Placement):
                search.consider(plan, "S", words)
        return search

    def consider(self, plan: Placement, letter: str, message: str) -> bool:
        """Keep a plan that breaks no rule and is better."""
        verdict = check(self.instance, plan)
        if not verdict.ok:
            self.monitor.log(f"{message}: rejected, {verdict.violations[0]}")
            return False
        aims = tuple(self._aim(verdict, number) for number in range(len(self.bounds)))
        if self.best is not None and not _above(aims, self.aims):
            return False
        self.best, self.aims = plan, aims
        self.monitor.incumbent(aims[0], letter, f"{message}: {len(plan.placed)} tasks")
        return True

    def _aim(self, verdict: Verdict, number: int) -> float:
        return aim_value(self.instance, dict(verdict.measures), number)

    def greedy(self) -> None:
        """Both policies in every order."""
        for policy in (BEST_FIT, FIRST_FIT):
            for order in ORDERS:
                if self.monitor.should_stop and self.best is not None:
                    return
                plan = place_greedily(self.instance, policy, order)
                if plan is None:
                    return
                self.consider(plan, "H", f"{policy}, {order}")

    def settled(self, number: int) -> bool:
        """Whether the best plan meets the bound of an aim, up to the gap for the first."""
        if self.best is None:
            return False
        gap = self.options.gap if number == 0 else 0.0
        return self.bounds[number] - self.aims[number] <= max(_TOLERANCE, gap * abs(self.aims[number]))

    # -- CP-SAT ------------------------------------------------------------------------------------------------------

    def optimise(self, *, windows: bool) -> None:
        """Aim by aim; each is kept as a floor for the next."""
        if all(self.settled(number) for number in range(len(self.bounds))):
            self.status = Status.OPTIMAL
            return
        if windows and sum(len(unit.hosts) for unit in self.units) > _MOST_PAIRS:
            self.monitor.log("too large for CP-SAT as a whole: the greedy plan is kept")
            return
        began = time.perf_counter()
        built = rules_cp(self.instance)
        self.build_s += time.perf_counter() - began
        for number in range(len(self.bounds)):
            aim = built.aim(number)
            if not self.settled(number):
                self._whole(built, aim, number, windows=windows)
            if self.status is Status.INFEASIBLE or self.best is None:
                return
            if windows and not self.settled(number) and built.num_variables > _SMALL:
                self._windows(built, number)
            # what a floor for a later aim loses to rounding must not make the best plan infeasible
            whole = floor((self.aims[number] - aim.constant - aim.slack) * aim.scale + _TOLERANCE * aim.scale)
            built.model.add(aim.expression >= whole)
            if self.monitor.should_stop:
                break

    def _whole(self, built: RulesCp, aim: AimCp, number: int, *, windows: bool) -> None:
        from apportion.solvers.backends.cp_sat import solve_cp_model

        built.model.clear_objective()
        built.model.maximize(aim.expression)
        if self.best is not None:
            built.hint(self.best)
        left = len(self.bounds) - number
        limited = windows and built.num_variables > _SMALL
        part = 0.4 if limited else 0.7 if left > 1 else 1.0
        found = solve_cp_model(built.model, self._options(number, _WHOLE_WORK if limited else inf), self._clock(part))
        self.counts["nodes"] += int(found.counts.get("nodes", 0))
        self.native = found.native_status
        if found.status is Status.INFEASIBLE and self.best is None:
            self.status = Status.INFEASIBLE
            return
        if isfinite(found.bounds.dual):
            proven = aim.value(floor(found.bounds.dual + 1e-6))
            self.bounds[number] = min(self.bounds[number], proven + aim.slack)
            if number == 0:
                self.monitor.bound(self.bounds[0], "CP-SAT")
        if found.solution is not None:
            solution = found.solution
            self.consider(built.decode(lambda v: solution[v.index]), "T", "CP-SAT on the whole")

    def _options(self, number: int, work: float) -> SolveOptions:
        settings: dict[str, Setting] = dict(self.options.cp_sat.settings)
        timed = isfinite(self.monitor.time_limit_s) and not self.options.deterministic
        if isfinite(work) and not timed:
            settings.setdefault("max_deterministic_time", work)
        gap = self.options.gap if number == 0 else 0.0
        return replace(
            self.options, gap=gap, start=None, node_limit=None, cp_sat=replace(self.options.cp_sat, settings=settings)
        )

    def _clock(self, part: float) -> Monitor:
        left = self.monitor.remaining_s * part if isfinite(self.monitor.remaining_s) else inf
        limit = self.monitor.elapsed_s + left
        return Monitor(self.instance.sense, None, limit, self.monitor.cancelled, self.monitor.started)

    # -- windows -----------------------------------------------------------------------------------------------------

    def _windows(self, built: RulesCp, number: int) -> None:
        """Free some gangs and the domain that they are in, with some that wait; keep the rest."""
        random = np.random.default_rng(self.options.seed)
        idle = 0
        most = _IDLE_WINDOWS if self.options.node_limit is None else self.options.node_limit
        timed = isfinite(self.monitor.time_limit_s) and not self.options.deterministic
        until = self.monitor.elapsed_s + self.monitor.remaining_s * (0.8 if number == 0 else 0.5)
        while (timed or idle < most) and not self.settled(number) and not self.monitor.should_stop:
            if timed and (self.monitor.elapsed_s > until or (number > 0 and idle >= most)):
                break
            self.counts["windows"] += 1
            idle = 0 if self._window(built, number, random) else idle + 1

    def _window(self, built: RulesCp, number: int, random: np.random.Generator) -> bool:
        from apportion.solvers.backends.cp_sat import solve_cp_model

        assert self.best is not None  # noqa: S101 (windows begin with a plan)
        free, nodes = self._choose(random)
        now = built.values_of(self.best)
        model = built.model.clone()
        for (u, node), variable in built.x.items():
            value = now[variable.index]
            if u not in free or (node not in nodes and value == 0):
                model.add(model.get_int_var_from_proto_index(variable.index) == value)
        for gang, variable in built.y.items():
            if not any(built.units[u].gang == gang for u in free):
                model.add(model.get_bool_var_from_proto_index(variable.index) == now[variable.index])
        model.clear_hints()
        for index, value in now.items():
            model.add_hint(model.get_int_var_from_proto_index(index), value)
        options = self._options(number, inf)
        settings = dict(options.cp_sat.settings) | {"max_deterministic_time": _WINDOW_WORK}
        options = replace(options, cp_sat=replace(options.cp_sat, settings=settings))
        found = solve_cp_model(model, options, self._clock(1.0))
        if found.solution is None:
            return False
        solution = found.solution
        return self.consider(built.decode(lambda v: solution[v.index]), "L", "window")

    def _choose(self, random: np.random.Generator) -> tuple[set[int], set[int]]:
        """Units to free and the nodes that they may use: one or two domains, who is in them, and some that wait."""
        instance = self.instance
        level = random.choice(instance.rules.all_levels)
        domains: dict[str, list[int]] = {}
        for node, name in enumerate(instance.nodes.names):
            domains.setdefault(instance.rules.domain(name, str(level)), []).append(node)
        names = list(domains)
        nodes: set[int] = set()
        for place in random.permutation(len(names)).tolist():
            nodes.update(domains[names[place]][:_WINDOW_NODES])
            if len(nodes) >= _WINDOW_NODES // 2:
                break
        return self._around(nodes, random), nodes

    def _around(self, nodes: set[int], random: np.random.Generator) -> set[int]:
        assert self.best is not None  # noqa: S101
        node_at = {name: i for i, name in enumerate(self.instance.nodes.names)}
        unit_of = {self.instance.tasks.names[t]: u for u, unit in enumerate(self.units) for t in unit.tasks}
        placed: dict[int, int] = {}
        inside: set[int] = set()
        for entry in self.best.placed:
            u = unit_of[entry.task]
            placed[u] = placed.get(u, 0) + 1
            if node_at[entry.node] in nodes:
                inside.add(u)
        gangs = {self.units[u].gang for u in inside if self.units[u].gang}
        waiting = [u for u, unit in enumerate(self.units) if placed.get(u, 0) < unit.count]
        some = set(random.permutation(waiting)[: 4 * _WINDOW_GANGS].tolist()) if waiting else set()
        gangs |= {self.units[u].gang for u in some if self.units[u].gang}
        return {u for u, unit in enumerate(self.units) if u in inside or u in some or unit.gang in gangs}

    def answer(self) -> Answer[Placement]:
        """The plan, what is proven of each aim, and why it ended."""
        if self.status is Status.INFEASIBLE:
            return Answer.nothing(self.instance.sense, Status.INFEASIBLE, native_status=self.native)
        limit = limit_reached(self.monitor) if self.monitor.should_stop else Limit.METHOD
        if self.best is None:
            return Answer.nothing(self.instance.sense, Status.NO_SOLUTION, limit, self.native)
        proven = self.settled(0)
        extras = {"tasks_served": float(len(self.best.placed)), "nodes_used": float(len(self.best.by_node()))}
        for number, (value, bound) in enumerate(zip(self.aims, self.bounds, strict=True), 1):
            extras |= {f"aim_{number}": value, f"aim_{number}_bound": bound}
        return Answer(
            Status.OPTIMAL if proven else Status.FEASIBLE,
            Bounds(self.aims[0], self.bounds[0]),
            self.best,
            None if proven else limit,
            self.build_s,
            self.counts,
            self.native,
            extras,
        )


def _aims(instance: ClusterPlacement) -> list[dict[str, float]]:
    return [dict(aim) for aim in instance.rules.chosen_aims]


def _above(new: tuple[float, ...], old: tuple[float, ...]) -> bool:
    """Lexicographically better, up to rounding."""
    for one, other in zip(new, old, strict=True):
        if abs(one - other) > _TOLERANCE:
            return one > other
    return False


def _simple_bound(instance: ClusterPlacement, units: tuple[Unit, ...], aim: dict[str, float]) -> float:
    """What an aim can reach at most when only the GPUs of the whole cluster are scarce: a fractional knapsack."""
    items = []
    total = 0.0
    for unit in units:
        worth = aim.get("value", 0.0) * unit.value + aim.get("tasks", 0.0) * TERMS["tasks"]
        count = unit.count if unit.hosts else 0
        if unit.demand_milli == 0 or unit.mig_profile:
            total += worth * count
        else:
            items.append((worth / unit.demand_milli, unit.demand_milli * count))
    room = int(instance.nodes.num_gpus.sum()) * MILLI_PER_GPU
    for density, size in sorted(items, reverse=True):
        taken = min(room, size)
        total += density * taken
        room -= taken
    return total
