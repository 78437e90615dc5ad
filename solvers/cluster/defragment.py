"""Defragmentation: the fewest running tasks to move so that a gang finds room, with a proof or a bound."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apportion.instances.cluster import MILLI_PER_GPU, ClusterPlacement, PlacedTask, Placement, Tasks
from apportion.instances.core import Sense
from apportion.instances.errors import OptionError
from apportion.models.checking import check
from apportion.solvers.cluster.evictions import evict_for
from apportion.solvers.events import Monitor
from apportion.solvers.online.snapshot import Request
from apportion.solvers.options import SolveOptions
from apportion.solvers.status import Status

Ints = NDArray[np.int64]

_FIRST_NODES = 8
_NEVER = 10**9


@dataclass(frozen=True)
class Migration:
    """One task leaves its place for another; other GPUs of the same node count too."""

    source: PlacedTask
    target: PlacedTask


@dataclass(frozen=True, eq=False)
class Defragmentation:
    """How a gang gets its room.

    ``cluster`` and ``placement`` are the problem with the gang and everything placed, which the check verifies;
    ``placement`` is None when there is no way, or none was found in time. ``fewest`` is proven: no way moves fewer.
    ``status`` is OPTIMAL when ``migrations`` are as few, INFEASIBLE when no moves make room.
    """

    status: Status
    cluster: ClusterPlacement
    placement: Placement | None
    migrations: tuple[Migration, ...]
    fewest: int


def defragment(
    cluster: ClusterPlacement,
    running: Placement,
    worker: Request,
    num_workers: int,
    options: SolveOptions | None = None,
) -> Defragmentation:
    """Make room for ``num_workers`` equal workers by moving as few running tasks as possible; none may stop.

    How many tasks must leave a node for so many workers is bounded resource by resource, and a knapsack over the nodes
    bounds the whole. A quick way evicts node by node. CP-SAT then moves tasks among the nodes that promise most; the
    window doubles until the bound is met, or until it holds every node, where the search itself is the proof.

    Parameters
    ----------
    cluster
        Nodes, and the data of the tasks.
    running
        What runs where; must pass the check. Tasks that wait are left out.
    worker, num_workers
        The gang: all are placed or none.
    options
        ``time_limit_s``, ``seed`` and ``threads`` for CP-SAT.

    Examples
    --------
    Two nodes with a GPU each in use; one task has to move so that a worker finds two:

    >>> from apportion.instances.cluster import Nodes
    >>> nodes = Nodes.build(["a", "b"], [9000, 9000], [0, 0], [2, 2], ["T4", "T4"])
    >>> cluster = ClusterPlacement("tiny", nodes, Tasks.build("xy", [1, 1], [0, 0], [1, 1], [500, 500]))
    >>> running = Placement((PlacedTask("x", "a", (0,), 500), PlacedTask("y", "b", (0,), 500)))
    >>> found = defragment(cluster, running, Request(1, 0, 2, 1000), 1)
    >>> found.status, len(found.migrations), found.fewest
    (<Status.OPTIMAL: 'optimal'>, 1, 1)
    """
    if num_workers < 1:
        raise OptionError(f"num_workers must be at least 1, got {num_workers!r}")
    verdict = check(cluster, running)
    if not verdict.ok:
        raise OptionError(f"what runs breaks a rule: {verdict.violations[0]}\nMaybe the nodes are not those")
    search = _Search(cluster, running, worker, num_workers, options or SolveOptions())
    return search.run()


class _Search:
    """The data of one call by position, and the windows that it searches."""

    def __init__(
        self, cluster: ClusterPlacement, running: Placement, worker: Request, num_workers: int, options: SolveOptions
    ) -> None:
        self.worker, self.num_workers, self.options = worker, num_workers, options
        self.running = running.placed
        task_at = {name: i for i, name in enumerate(cluster.tasks.names)}
        node_at = {name: i for i, name in enumerate(cluster.nodes.names)}
        self.task = [task_at[entry.task] for entry in self.running]
        self.node = [node_at[entry.node] for entry in self.running]
        self.nodes, self.tasks = cluster.nodes, cluster.tasks
        self.on: list[list[int]] = [[] for _ in cluster.nodes.names]
        for r, node in enumerate(self.node):
            self.on[node].append(r)
        self.cluster = _with_gang(cluster, self.task, worker, num_workers)
        self.monitor = Monitor(Sense.MINIMISE, None, options.time_limit_s)

    def run(self) -> Defragmentation:
        """Widen the window until the bound is met or every node is in it."""
        cost = [self._costs(node) for node in range(len(self.nodes))]
        fewest = _least_total(cost, self.num_workers)
        if fewest >= _NEVER:
            return Defragmentation(Status.INFEASIBLE, self.cluster, None, (), 0)
        order, hosts = self._promising(cost)
        workers = self.cluster.tasks.names[len(self.running) :]
        best = evict_for(self.cluster, self.running, self.worker, workers, hosts)
        size = max(_FIRST_NODES, 2 * self.num_workers)
        proven = best is not None and len(self._migrations(best)) <= fewest
        while not proven:
            window = sorted(order[:size])
            found, bound, infeasible = self._move_within(window)
            if len(window) == len(order):
                fewest = max(fewest, bound)
                if infeasible:
                    return Defragmentation(Status.INFEASIBLE, self.cluster, None, (), fewest)
            if found is not None and (best is None or len(self._migrations(found)) < len(self._migrations(best))):
                best = found
            proven = best is not None and len(self._migrations(best)) <= fewest
            if proven or len(window) == len(order) or self.monitor.should_stop:
                break
            size *= 2
        if best is None:
            return Defragmentation(Status.NO_SOLUTION, self.cluster, None, (), fewest)
        status = Status.OPTIMAL if proven else Status.FEASIBLE
        return Defragmentation(status, self.cluster, best, self._migrations(best), fewest)

    def _accepts(self, allowed: tuple[str, ...], node: int) -> bool:
        return not allowed or self.nodes.gpu_types[node] in allowed

    def _costs(self, node: int) -> list[int]:
        """``[w]`` bounds from below how many tasks must leave ``node`` for ``w`` workers; ends where no more fit."""
        worker, nodes = self.worker, self.nodes
        costs = [0]
        tasks = np.array([self.task[r] for r in self.on[node]], np.int64)
        cpu, memory = self.tasks.cpu_milli[tasks], self.tasks.memory_mib[tasks]
        load, tenants = self._gpu_state(node)
        while len(costs) <= self.num_workers and self._accepts(worker.allowed_types, node):
            w = len(costs)
            need = (w * worker.cpu_milli, w * worker.memory_mib)
            room = (int(nodes.cpu_milli[node]), int(nodes.memory_mib[node]))
            if need[0] > room[0] or need[1] > room[1] or not self._gpus_hold(node, w):
                break
            by_cpu = _fewest_to_free(cpu, need[0] - (room[0] - int(cpu.sum())))
            by_memory = _fewest_to_free(memory, need[1] - (room[1] - int(memory.sum())))
            costs.append(max(by_cpu, by_memory, self._gpu_cost(load, tenants, w), costs[-1]))
        return costs

    def _gpu_state(self, node: int) -> tuple[Ints, NDArray[np.float64]]:
        """Load in milli of each GPU, and its tenants: a task on k GPUs is the k-th part of a tenant of each."""
        load = np.zeros(int(self.nodes.num_gpus[node]), np.int64)
        tenants = np.zeros(len(load))
        for r in self.on[node]:
            entry = self.running[r]
            load[list(entry.gpus)] += entry.gpu_milli
            tenants[list(entry.gpus)] += 1.0 / max(1, len(entry.gpus))
        return load, tenants

    def _gpus_hold(self, node: int, workers: int) -> bool:
        per_gpu = MILLI_PER_GPU // max(1, self.worker.gpu_milli) if self.worker.is_share else 1
        return workers * self.worker.num_gpus <= int(self.nodes.num_gpus[node]) * per_gpu

    def _gpu_cost(self, load: Ints, tenants: NDArray[np.float64], workers: int) -> int:
        """Tasks that must leave GPUs: those of the emptiest GPUs that are needed whole; for shares only whether any."""
        worker = self.worker
        if worker.num_gpus == 0:
            return 0
        if worker.is_share:
            return 0 if int(((MILLI_PER_GPU - load) // worker.gpu_milli).sum()) >= workers else 1
        needed = np.sort(tenants)[: workers * worker.num_gpus]
        return ceil(float(needed.sum()) - 1e-6)

    def _promising(self, cost: list[list[int]]) -> tuple[list[int], list[int]]:
        """The order of the window, cheapest for a worker and most idle GPUs in turns, and the hosts in theirs."""
        loads = [self._gpu_state(n)[0] for n in range(len(cost))]
        idle = [(int((load == 0).sum()), int((MILLI_PER_GPU - load).sum())) for load in loads]
        per_worker = [min((c / w for w, c in enumerate(costs) if w), default=float(_NEVER)) for costs in cost]
        hosts = sorted(range(len(cost)), key=lambda n: (per_worker[n], -len(cost[n]), n))
        givers = sorted(range(len(cost)), key=lambda n: (idle[n], -n), reverse=True)
        window = list(dict.fromkeys(n for pair in zip(hosts, givers, strict=True) for n in pair))
        return window, [n for n in hosts if len(cost[n]) > 1]

    def _move_within(self, window: list[int]) -> tuple[Placement | None, int, bool]:
        """The fewest moves among the nodes of ``window``: plan, CP-SAT's bound, and whether it is infeasible."""
        from apportion.solvers.backends.cp_sat import solve_cp_model

        built = _MoveModel(self, window)
        left = replace(self.options, time_limit_s=max(0.01, self.monitor.remaining_s), gap=0.0, start=None)
        answer = solve_cp_model(built.model, left, Monitor(Sense.MINIMISE, None, left.time_limit_s))
        bound = ceil(answer.bounds.dual - 1e-6) if np.isfinite(answer.bounds.dual) else 0
        if answer.solution is None:
            return None, bound, answer.status is Status.INFEASIBLE
        inside = set(window)
        kept = [entry for r, entry in enumerate(self.running) if self.node[r] not in inside]
        return Placement(tuple(kept + built.decode(answer.solution))), bound, False

    def _migrations(self, plan: Placement) -> tuple[Migration, ...]:
        """What has changed for the running tasks."""
        new = {entry.task: entry for entry in plan.placed}
        changed = [(old, new[old.task]) for old in self.running]
        return tuple(
            Migration(old, now) for old, now in changed if (old.node, set(old.gpus)) != (now.node, set(now.gpus))
        )


class _MoveModel:
    """The CP-SAT model of one window: every running task stays or goes, every worker finds a place."""

    def __init__(self, search: _Search, window: list[int]) -> None:
        from ortools.sat.python import cp_model

        self.search, self.window = search, window
        self.model = cp_model.CpModel()
        inside = set(window)
        self.movable = [r for r, node in enumerate(search.node) if node in inside]
        self.on: dict[tuple[int, int], Any] = {}
        self.gpu: dict[tuple[int, int, int], Any] = {}
        self.workers = {n: self._whole(search.num_workers) for n in window}
        self.worker_gpu: dict[tuple[int, int], Any] = {}
        self.model.add(sum(self.workers.values()) == search.num_workers)
        stays = [self._task(r) for r in self.movable]
        for node in window:
            self._node(node)
        self.model.minimize(sum(1 - stay for stay in stays))

    def _whole(self, most: int) -> Any:
        return self.model.new_int_var(0, most, "")

    def _task(self, r: int) -> Any:
        """Variables and rules of a running task; returns whether it stays."""
        search, model = self.search, self.model
        t = search.task[r]
        asked = int(search.tasks.num_gpus[t])
        for node in self.window:
            if not search._accepts(search.tasks.allowed_types[t], node) or search.nodes.num_gpus[node] < asked:
                continue
            self.on[r, node] = model.new_bool_var("")
            if asked:
                for g in range(int(search.nodes.num_gpus[node])):
                    self.gpu[r, node, g] = model.new_bool_var("")
                here = [self.gpu[r, node, g] for g in range(int(search.nodes.num_gpus[node]))]
                model.add(sum(here) == asked * self.on[r, node])
        model.add_exactly_one([self.on[r, n] for n in self.window if (r, n) in self.on])
        stay = model.new_bool_var("")
        home = search.node[r]
        model.add_implication(stay, self.on[r, home])
        for g in search.running[r].gpus:
            model.add_implication(stay, self.gpu[r, home, g])
        model.add_hint(stay, True)
        return stay

    def _node(self, node: int) -> None:
        """What a node holds: CPU, memory, and every GPU."""
        search, model, worker = self.search, self.model, self.search.worker
        here = [r for r in self.movable if (r, node) in self.on]
        tasks, nodes, count = search.tasks, search.nodes, self.workers[node]
        for size, room, each in (
            (tasks.cpu_milli, nodes.cpu_milli, worker.cpu_milli),
            (tasks.memory_mib, nodes.memory_mib, worker.memory_mib),
        ):
            used = sum(int(size[search.task[r]]) * self.on[r, node] for r in here)
            model.add(used + each * count <= int(room[node]))
        gpus = range(int(nodes.num_gpus[node]))
        if not search._accepts(worker.allowed_types, node) or (worker.num_gpus and not gpus):
            model.add(count == 0)
        for g in gpus:
            most = MILLI_PER_GPU // worker.gpu_milli if worker.num_gpus else 0
            self.worker_gpu[node, g] = self._whole(most)
            sharing = [r for r in here if (r, node, g) in self.gpu]
            used = sum(int(tasks.gpu_milli[search.task[r]]) * self.gpu[r, node, g] for r in sharing)
            model.add(used + worker.gpu_milli * self.worker_gpu[node, g] <= MILLI_PER_GPU)
        if worker.num_gpus and gpus:
            model.add(sum(self.worker_gpu[node, g] for g in gpus) == worker.num_gpus * count)

    def decode(self, solution: tuple[int, ...]) -> list[PlacedTask]:
        """The tasks of the window and the workers, where the solution puts them."""
        search = self.search
        entries = []
        for r in self.movable:
            node = next(n for n in self.window if (r, n) in self.on and solution[self.on[r, n].index])
            gpus = tuple(g for g in range(int(search.nodes.num_gpus[node])) if self._is_on(solution, r, node, g))
            old = search.running[r]
            entries.append(PlacedTask(old.task, search.nodes.names[node], gpus, old.gpu_milli))
        names = iter(search.cluster.tasks.names[len(search.running) :])
        for node in self.window:
            slots = [
                g
                for g in range(int(search.nodes.num_gpus[node]))
                for _ in range(solution[self.worker_gpu[node, g].index])
            ]
            for w in range(solution[self.workers[node].index]):
                taken = slots[w * search.worker.num_gpus : (w + 1) * search.worker.num_gpus]
                entries.append(PlacedTask(next(names), search.nodes.names[node], tuple(taken), search.worker.gpu_milli))
        return entries

    def _is_on(self, solution: tuple[int, ...], r: int, node: int, gpu: int) -> bool:
        return (r, node, gpu) in self.gpu and bool(solution[self.gpu[r, node, gpu].index])


def _with_gang(cluster: ClusterPlacement, running: list[int], worker: Request, count: int) -> ClusterPlacement:
    """The running tasks and the workers, in that order."""
    kept = cluster.tasks.select(running)
    taken = set(kept.names)
    prefix = "gang"
    while any(f"{prefix}-{i}" in taken for i in range(count)):
        prefix += "+"
    ask = (worker.cpu_milli, worker.memory_mib, worker.num_gpus, worker.gpu_milli)
    columns = (kept.cpu_milli, kept.memory_mib, kept.num_gpus, kept.gpu_milli)
    cpu, memory, gpus, milli = (np.append(c, np.full(count, number)) for c, number in zip(columns, ask, strict=True))
    names = (*kept.names, *(f"{prefix}-{i}" for i in range(count)))
    allowed = (*kept.allowed_types, *((worker.allowed_types,) * count))
    return ClusterPlacement(cluster.name, cluster.nodes, Tasks.build(names, cpu, memory, gpus, milli, allowed))


def _fewest_to_free(sizes: Ints, missing: int) -> int:
    """How many of ``sizes``, the largest first, add up to ``missing``."""
    if missing <= 0:
        return 0
    freed = np.cumsum(np.sort(sizes)[::-1])
    return int(np.searchsorted(freed, missing)) + 1 if len(freed) and freed[-1] >= missing else _NEVER


def _least_total(cost: list[list[int]], workers: int) -> int:
    """The knapsack over the nodes: the least total cost for all workers, at least ``_NEVER`` when they do not fit."""
    best = [0] + [_NEVER] * workers
    for costs in cost:
        for w in range(workers, 0, -1):
            most = min(w, len(costs) - 1)
            best[w] = min(best[w - k] + costs[k] for k in range(most + 1))
    return min(best[workers], _NEVER)
