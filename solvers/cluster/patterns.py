"""The relaxation over node patterns: column generation, its proven bounds, and its rounding into patterns.

A pattern says how many tasks of each type share one node of a class. Every placement is a choice of one pattern per
node, so the linear program over all patterns relaxes the problem; it is the one of Gilmore and Gomory (1961) with
several classes of bins. The best pattern at given prices is found exactly over CPU (on a grid that rounds in the
relaxation's favour) and GPU shares; memory and exact CPU hold on the average of a class. Whatever the prices, their
Lagrangian value bounds the optimum, so every bound reported here is true even when generation ends early.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from math import inf, isinf

import highspy
import numpy as np
from numpy.typing import NDArray

from apportion.instances.cluster import MILLI_PER_GPU
from apportion.models.cluster.classes import Classes
from apportion.models.cluster.patterns import Pattern
from apportion.solvers.backends.simplex import must, quiet_lp
from apportion.solvers.cluster.kernels import price_pattern
from apportion.solvers.events import Monitor

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_PROFIT = 1e-7
_CONVERGED = 1e-7
_SMOOTHING = 0.5
_MOST_CELLS = 200_000
_MOST_STEPS = 40_000
_FEWEST_STEPS = 64


class Stage(Enum):
    """What is optimised, in the order of importance."""

    SERVED = "served GPUs"
    TASKS = "served tasks"
    NODES = "nodes used"


@dataclass(frozen=True, eq=False)
class _Grid:
    """The pricing problem of one class: its types and their sizes on the grid.

    ``free_types`` have neither GPUs nor CPU on the grid: all that fit are taken without a search.
    """

    types: Ints
    size: Ints
    gpus: Ints
    level: Ints
    free_types: Ints
    free_counts: Ints
    num_gpus: int
    num_sizes: int
    num_levels: int


def _grid(classes: Classes, node_class: int, most: Ints) -> _Grid:
    """Choose the grid of a class; sizes are rounded down, so that whatever fits in truth fits on the grid."""
    num_gpus = int(classes.node_gpus[node_class])
    types = np.flatnonzero(most[:, node_class] > 0)
    unit = int(np.gcd.reduce(np.append(classes.milli[classes.gpus == 1], MILLI_PER_GPU)))
    num_levels = MILLI_PER_GPU // unit
    capacity = int(classes.node_cpu[node_class])
    cells = min(_MOST_CELLS // (num_levels + 1), max(_FEWEST_STEPS, _MOST_STEPS // max(1, num_gpus)))
    common = int(np.gcd.reduce(np.append(classes.cpu[types], capacity))) or 1
    step = max(common, -(-capacity // cells))
    size = classes.cpu[types] // step
    free = (classes.gpus[types] == 0) & (size == 0)
    kept = ~free
    return _Grid(
        types=types[kept],
        size=size[kept],
        gpus=classes.gpus[types][kept],
        level=np.where(classes.gpus[types] == 1, classes.milli[types] // unit, 0)[kept],
        free_types=types[free],
        free_counts=most[types[free], node_class],
        num_gpus=num_gpus,
        num_sizes=capacity // step,
        num_levels=num_levels,
    )


class _Workspace:
    """The arrays that pricing works on, large enough for every class."""

    def __init__(self, grids: list[_Grid]) -> None:
        sizes = 1 + max((grid.num_sizes for grid in grids), default=0)
        levels = 1 + max((grid.num_levels for grid in grids), default=0)
        gpus = 1 + max((grid.num_gpus for grid in grids), default=0)
        self.tables = (
            np.zeros(sizes),
            np.zeros((levels, sizes)),
            np.zeros((levels, sizes), np.int64),
            np.zeros((gpus, sizes)),
            np.zeros((gpus, sizes), np.int64),
            np.zeros(sizes, np.int64),
        )
        self.counts = np.zeros(max((len(grid.types) for grid in grids), default=0), np.int64)
        self.items = np.zeros(sizes + gpus * levels, np.int64)
        self.gpu_of_item = np.zeros(sizes + gpus * levels, np.int64)


def _best_pattern(grid: _Grid, node_class: int, profit: Floats, work: _Workspace) -> tuple[float, Pattern]:
    """The most profitable pattern of a class at these profits per type; no pattern that fits earns more."""
    value, taken = price_pattern(
        profit[grid.types],
        grid.size,
        grid.gpus,
        grid.level,
        grid.num_gpus,
        grid.num_sizes,
        grid.num_levels,
        *work.tables,
        work.counts,
        work.items,
        work.gpu_of_item,
    )
    good = profit[grid.free_types] > 0
    extra, extra_counts = grid.free_types[good], grid.free_counts[good]
    counts = work.counts[: len(grid.types)]
    used = np.flatnonzero(counts)
    pattern = Pattern(
        node_class,
        np.concatenate([grid.types[used], extra]),
        np.concatenate([counts[used], extra_counts]),
        np.concatenate([grid.types[work.items[:taken]], np.repeat(extra, extra_counts)]),
        np.concatenate([work.gpu_of_item[:taken], np.full(int(extra_counts.sum()), -1)]),
    )
    return float(value + profit[extra] @ extra_counts), pattern


@dataclass(frozen=True)
class StageBound:
    """A proven bound on one stage, given what the stages before it reached; ``tight`` when generation converged."""

    value: float
    tight: bool
    rounds: int


@dataclass(eq=False)
class PatternProgram:
    """The linear program over the patterns generated so far, with its prices. One object serves all stages.

    Columns: served tasks by type, then one per pattern. Rows: cover by type; nodes, memory and CPU by class; the
    floors on served GPUs and on served tasks that the later stages keep.
    """

    classes: Classes
    patterns: list[Pattern] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Build the program without patterns."""
        classes = self.classes
        self._most = classes.most_on_node()
        self._grids = [_grid(classes, k, self._most) for k in range(classes.num_classes)]
        self._work = _Workspace(self._grids)
        self._value = classes.value / MILLI_PER_GPU
        self._servable = np.where(self._most.any(axis=1), classes.count, 0).astype(np.float64)
        self._known: set[tuple[int, bytes, bytes]] = set()
        self._highs = quiet_lp()
        types, kinds = classes.num_types, classes.num_classes
        self._rows = types + 3 * kinds + 2
        for upper in (np.zeros(types), *(3 * [classes.node_count.astype(np.float64)]), np.full(2, inf)):
            for bound in upper:
                self._highs.addRow(-inf, float(bound), 0, np.zeros(0, np.int32), np.zeros(0))
        floors = np.array([types + 3 * kinds, types + 3 * kinds + 1])
        for t in range(types):
            rows = np.array([t, *floors], np.int32)
            values = np.array([1.0, self._value[t], 1.0])
            self._highs.addCol(0.0, 0.0, float(self._servable[t]), 3, rows, values)

    # -- columns -----------------------------------------------------------------------------------------------------

    def add(self, pattern: Pattern) -> bool:
        """Add a pattern as a column; return False when it is there already or empty."""
        key = (pattern.node_class, pattern.types.tobytes(), pattern.counts.tobytes())
        if key in self._known or not len(pattern.types):
            return False
        self._known.add(key)
        self.patterns.append(pattern)
        classes, k = self.classes, pattern.node_class
        base = classes.num_types + k
        kinds = classes.num_classes
        rows = [*pattern.types, base]
        values = [*(-pattern.counts.astype(np.float64)), 1.0]
        for shift, size, capacity in (
            (kinds, classes.memory, classes.node_memory),
            (2 * kinds, classes.cpu, classes.node_cpu),
        ):
            used = float(size[pattern.types] @ pattern.counts)
            if used > 0:
                rows.append(base + shift)
                values.append(used / float(capacity[k]))
        self._highs.addCol(0.0, 0.0, inf, len(rows), np.array(rows, np.int32), np.array(values))
        return True

    # -- bounds ------------------------------------------------------------------------------------------------------

    def bound(
        self,
        stage: Stage,
        monitor: Monitor,
        served_gpus: float = 0.0,
        served_tasks: int = 0,
        most_rounds: int = 500,
        target: float = 0.0,
    ) -> StageBound:
        """Generate patterns for ``stage`` and return a bound that no placement beats.

        Parameters
        ----------
        stage
            What is optimised.
        monitor
            Its clock and cancel flag end generation early; the bound stays true.
        served_gpus, served_tasks
            Floors that later stages keep: the placements bounded serve at least this.
        most_rounds
            Rounds of pricing.
        target
            Stop as soon as the relative distance of bound and relaxation is at most this.
        """
        gain, node_cost = self._stage(stage)
        floors = self._set_stage(gain, node_cost, served_gpus, served_tasks)
        best, centre = self._trivial(stage), None
        tight = False
        rounds = 0
        while rounds < most_rounds and not monitor.should_stop:
            rounds += 1
            solution = self._solve()
            if solution is None:
                break
            objective, prices = solution
            fresh, value = 0, inf
            trials = [prices] if centre is None else [_SMOOTHING * centre + (1 - _SMOOTHING) * prices, prices]
            for trial in trials:
                value, found = self._price(gain, node_cost, floors, trial, monitor)
                if value < best or centre is None:
                    best, centre = min(best, value), trial
                fresh = sum(self.add(p) for p in found if self._gain_of(p, prices, node_cost) > _PROFIT)
                if fresh:
                    break
            if isinf(value):
                break
            if not fresh or best - objective <= max(_CONVERGED, target) * max(1.0, abs(objective)):
                tight = True
                break
        return StageBound(-best if stage is Stage.NODES else best, tight, rounds)

    def _stage(self, stage: Stage) -> tuple[Floats, float]:
        """Gain per task of each type and cost per node, as a maximisation."""
        if stage is Stage.SERVED:
            return self._value, 0.0
        if stage is Stage.TASKS:
            return np.ones(self.classes.num_types), 0.0
        return np.zeros(self.classes.num_types), 1.0

    def _trivial(self, stage: Stage) -> float:
        """What holds without any prices."""
        if stage is Stage.SERVED:
            return min(float(self._value @ self._servable), float(self.classes.node_gpus @ self.classes.node_count))
        return float(self._servable.sum()) if stage is Stage.TASKS else 0.0

    def _set_stage(self, gain: Floats, node_cost: float, served_gpus: float, served_tasks: int) -> tuple[float, float]:
        """Write costs and floors into the program; floors give way by a hair so that rounding cannot break them."""
        classes = self.classes
        count = classes.num_types + len(self.patterns)
        cost = np.concatenate([-gain, np.full(len(self.patterns), node_cost)])
        self._highs.changeColsCost(count, np.arange(count, dtype=np.int32), cost)
        self._node_cost = node_cost
        self._bound_types(self._servable)
        self._bound_classes(classes.node_count.astype(np.float64))
        floors = (served_gpus - 1e-6, served_tasks - 1e-6)
        for i, floor in enumerate(floors):
            self._highs.changeRowBounds(classes.num_types + 3 * classes.num_classes + i, max(0.0, floor), inf)
        return max(0.0, floors[0]), max(0.0, floors[1])

    def _solve(self) -> tuple[float, Floats] | None:
        """Solve over the patterns so far: the objective as a maximisation, and nonnegative prices of all rows."""
        count = self.classes.num_types + len(self.patterns)
        if self._node_cost:
            columns = np.arange(self.classes.num_types, count, dtype=np.int32)
            self._highs.changeColsCost(len(columns), columns, np.full(len(columns), self._node_cost))
        must(self._highs.run())
        if self._highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None
        solution = self._highs.getSolution()
        self._x = np.array(solution.col_value)
        prices = -np.array(solution.row_dual)
        prices[-2:] *= -1
        return -self._highs.getInfo().objective_function_value, np.maximum(prices, 0.0)

    def _price(
        self, gain: Floats, node_cost: float, floors: tuple[float, float], prices: Floats, monitor: Monitor
    ) -> tuple[float, list[Pattern]]:
        """The Lagrangian bound at ``prices`` and the best pattern of each class; infinite when stopped on the way."""
        classes, kinds = self.classes, self.classes.num_classes
        cover = prices[: classes.num_types]
        memory, cpu = (prices[classes.num_types + i * kinds :][:kinds] for i in (1, 2))
        floor_gpus, floor_tasks = prices[-2], prices[-1]
        left = gain + floor_gpus * self._value + floor_tasks - cover
        total = float(self._servable @ np.maximum(left, 0.0)) - floor_gpus * floors[0] - floor_tasks * floors[1]
        found: list[Pattern] = []
        for k in range(kinds):
            if monitor.should_stop:
                return inf, []
            best, pattern = _best_pattern(self._grids[k], k, self._profit(k, prices), self._work)
            total += float(classes.node_count[k]) * (max(0.0, best - node_cost) + memory[k] + cpu[k])
            found.append(pattern)
        return total, found

    def _profit(self, node_class: int, prices: Floats) -> Floats:
        """What a task of each type earns in a pattern of a class at ``prices``."""
        classes = self.classes
        base = classes.num_types + node_class
        memory, cpu = prices[base + classes.num_classes], prices[base + 2 * classes.num_classes]
        earned: Floats = (
            prices[: classes.num_types]
            - memory * classes.memory / max(1.0, float(classes.node_memory[node_class]))
            - cpu * classes.cpu / max(1.0, float(classes.node_cpu[node_class]))
        )
        return earned

    def _gain_of(self, pattern: Pattern, prices: Floats, node_cost: float) -> float:
        """By how much a pattern beats the price of a node of its class."""
        earned = self._profit(pattern.node_class, prices)[pattern.types] @ pattern.counts
        return float(earned) - node_cost - float(prices[self.classes.num_types + pattern.node_class])

    # -- rounding ----------------------------------------------------------------------------------------------------

    def dive(self, gain: Floats, node_cost: float, monitor: Monitor) -> list[Pattern]:
        """Round the program into at most one pattern per node: fix whole parts, solve again, fix the largest part.

        ``gain`` per task of each type and ``node_cost`` steer it.
        """
        classes = self.classes
        self._set_stage(gain, node_cost, 0.0, 0)
        rest = self._servable.copy()
        nodes = classes.node_count.astype(np.float64)
        chosen: list[Pattern] = []
        while rest.any() and nodes.any() and not monitor.should_stop:
            self._bound_types(rest)
            self._bound_classes(nodes)
            if self._solve() is None or not self._fix(self._x[classes.num_types :], rest, nodes, chosen):
                break
        return chosen

    def _fix(self, part: Floats, rest: Floats, nodes: Floats, chosen: list[Pattern]) -> bool:
        """Take whole parts of the patterns, or the largest fraction rounded up; return whether any was taken."""
        before = len(chosen)
        order = np.argsort(-part, kind="stable")
        for p in order[part[order] >= 1 - 1e-6]:
            for _ in range(int(part[p] + 1e-6)):
                self._take(self.patterns[p], rest, nodes, chosen)
        for p in order:
            if len(chosen) > before or part[p] <= _PROFIT:
                break
            self._take(self.patterns[p], rest, nodes, chosen)
        return len(chosen) > before

    @staticmethod
    def _take(pattern: Pattern, rest: Floats, nodes: Floats, chosen: list[Pattern]) -> None:
        if nodes[pattern.node_class] < 1 or not rest[pattern.types].any():
            return
        rest[pattern.types] = np.maximum(0.0, rest[pattern.types] - pattern.counts)
        nodes[pattern.node_class] -= 1
        chosen.append(pattern)

    def _bound_types(self, upper: Floats) -> None:
        count = self.classes.num_types
        self._highs.changeColsBounds(count, np.arange(count, dtype=np.int32), np.zeros(count), upper)

    def _bound_classes(self, nodes: Floats) -> None:
        for block in range(3):
            for k, number in enumerate(nodes):
                row = self.classes.num_types + block * self.classes.num_classes + k
                self._highs.changeRowBounds(row, -inf, float(number))
