"""Column generation on packing and assignment files, against HiGHS on the compact model with the same CPU budget."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, inf, isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from apportion.bench.registry import Context, Measurement, Target, spec
from apportion.instances.core import Sense
from apportion.instances.generate.benchmark_programs import assignment_program, packing_program
from apportion.instances.program import MixedIntegerProgram
from apportion.solvers.backends import backend_named
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions

_LIMIT_S = 10.0
_QUICK_LIMIT_S = 0.5
_WALL_PER_CPU = 4.0
_PROVEN_BAR = 1.0
_SAME = 1e-6
_TICK_S = 0.05
_PACKING = ("binpack1", "binpack2", "binpack5", "binpack6", "SCH_WAE1")
_ASSIGNMENT = (
    ("cattrysse1994/gap1-0", 261.0),
    ("cattrysse1994/gap5-0", 403.0),
    ("cattrysse1994/gap9-0", 482.0),
    ("cattrysse1994/gap12-0", 974.0),
    ("chu1997/a10100", 1360.0),
    ("chu1997/b10100", 1407.0),
    ("chu1997/c05100", 1931.0),
    ("chu1997/d05100", 6353.0),
    ("yagiura2004/e10100", 11577.0),
)
_SHOWN_PER_FILE = 1

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Packing:
    """One bin packing problem and the best number of bins known, infinite when there is none."""

    name: str
    sizes: Ints
    capacity: int
    known: float


@dataclass(frozen=True, eq=False)
class Reached:
    """What a solve ended with: objective, bound and CPU seconds."""

    objective: float
    bound: float
    cpu_s: float

    @property
    def proven(self) -> bool:
        """Whether objective and bound meet."""
        return isfinite(self.objective) and self.objective - self.bound <= _SAME * max(1.0, abs(self.objective))

    def __str__(self) -> str:
        return f"{self.objective:g} with bound {self.bound:g} in {self.cpu_s:.2f} s"


@spec("solvers", "column generation")
def column_generation(context: Context) -> Iterator[Measurement]:
    """Objective, bound and seconds to the proof; the peer is HiGHS on the compact model with the same CPU budget."""
    limit = _QUICK_LIMIT_S if context.quick else _LIMIT_S
    _warm_up()
    for name, problems in _packing_files(context):
        ours = [_pack(problem, limit) for problem in problems]
        compared = min(_SHOWN_PER_FILE, len(problems)) if context.wants("highs") else 0
        programs = [packing_program(p.name, p.sizes.astype(np.float64), p.capacity) for p in problems[:compared]]
        theirs = [_highs(program, limit) for program in programs]
        known = [p.known for p in problems]
        yield from _rows(name, known, ours, theirs, limit)
    for name, known_cost, data in _assignments(context):
        cost, use, capacity = data
        reached = [_assign(cost, use, capacity, limit)]
        peer = [_highs(assignment_program(name, cost, use, capacity), limit)] if context.wants("highs") else []
        yield from _rows(name, [known_cost], reached, peer, limit)


def _rows(
    name: str, known: Sequence[float], ours: Sequence[Reached], theirs: Sequence[Reached], limit: float
) -> Iterator[Measurement]:
    """The share proven, and the seconds on the problems that HiGHS was given too."""
    note = f"objective {_total(r.objective for r in ours)}, bound {_total(r.bound for r in ours)}"
    if all(isfinite(k) for k in known):
        note += f", best known {_total(known)}"
    note += f"; up to {limit:g} CPU s each"
    cpu_s = sum(r.cpu_s for r in ours)
    compared = ours[: len(theirs)]
    yield Measurement(
        name,
        f"share proven of {len(ours)}",
        sum(r.proven for r in ours) / len(ours),
        None,
        target=Target("ours", ">=", _PROVEN_BAR),
        cpu_s=cpu_s,
        note=note,
    )
    yield Measurement(
        name,
        f"CPU s on {len(compared) or len(ours)}",
        sum(r.cpu_s for r in compared or ours),
        sum(r.cpu_s for r in theirs) if theirs else None,
        "highs, compact model" if theirs else "",
        cpu_s=cpu_s,
        note="; ".join(f"ours {a}, highs {b}" for a, b in zip(compared, theirs, strict=True)),
    )


def _total(values: Iterator[float] | Sequence[float]) -> str:
    return f"{sum(values):g}"


def _packing_files(context: Context) -> Iterator[tuple[str, list[Packing]]]:
    found = False
    for name in () if context.quick else _PACKING:
        suffix = "BPP" if name.startswith("SCH") else "txt"
        path = context.data_file(f"logistics/packing/1d/{name}.{suffix}")
        if path is not None:
            found = True
            yield name, _schwerin_waescher(path) if suffix == "BPP" else _falkenauer(path)
    if not found:
        yield "generated uniform, 60 items", [_uniform(seed) for seed in (1, 2)]


def _uniform(seed: int, items: int = 60) -> Packing:
    """Falkenauer's uniform class: sizes in 20..100, capacity 150."""
    sizes = np.random.default_rng(seed).integers(20, 101, items)
    return Packing(f"uniform-{items}-s{seed}", sizes, 150, inf)


def _falkenauer(path: Path) -> list[Packing]:
    words = path.read_text(encoding="utf-8").split()
    problems, at = [], 1
    for _ in range(int(words[0])):
        capacity, items, known = float(words[at + 1]), int(words[at + 2]), float(words[at + 3])
        sizes = np.array([float(w) for w in words[at + 4 : at + 4 + items]])
        scale = 1 if (sizes == np.floor(sizes)).all() else 10
        problems.append(Packing(words[at], np.rint(scale * sizes).astype(np.int64), int(scale * capacity), known))
        at += 4 + items
    return problems


def _schwerin_waescher(path: Path) -> list[Packing]:
    problems: list[Packing] = []
    for block in path.read_text(encoding="latin-1").split("'")[1:]:
        words = block.split()
        if words and words[0] != "BPP":
            numbers = np.array(words, np.float64).astype(np.int64)
            pairs = numbers[2 : 2 + 2 * int(numbers[0])].reshape(-1, 2)
            problems.append(Packing(f"{len(problems) + 1}", np.repeat(pairs[:, 0], pairs[:, 1]), int(numbers[1]), inf))
    return problems


def _assignments(context: Context) -> Iterator[tuple[str, float, tuple[Floats, Floats, Floats]]]:
    found = False
    for name, known in () if context.quick else _ASSIGNMENT:
        path = context.data_file(f"logistics/gap/{name}.txt")
        if path is not None:
            found = True
            numbers = np.array(path.read_text(encoding="utf-8").split(), np.float64)
            agents, jobs = int(numbers[0]), int(numbers[1])
            cost, use = numbers[2 : 2 + 2 * agents * jobs].reshape(2, agents, jobs)
            yield name.split("/")[1], known, (cost, use, numbers[2 + 2 * agents * jobs :][:agents])
    if not found:
        random = np.random.default_rng(1)
        use = random.integers(5, 26, (5, 20)).astype(np.float64)
        cost = random.integers(15, 26, (5, 20)).astype(np.float64)
        yield "generated, 5 agents 20 jobs", inf, (cost, use, np.floor(0.8 * use.sum(axis=1) / 5))


def _warm_up() -> None:
    """Compile or load the kernels."""
    _pack(_uniform(0, 12), 10.0)
    _assign(np.array([[1.0, 4.0, 5.0], [3.0, 2.0, 2.0]]), np.ones((2, 3)) * 2, np.array([2.0, 4.0]), 10.0)


class _Stopwatch:
    """Cancels a solve at a number of CPU seconds of the process, with the wall clock as a backstop."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.stop = threading.Event()
        self.done = threading.Event()
        self.began = time.process_time()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self.done.wait(_TICK_S):
            if time.process_time() - self.began > self.limit:
                self.stop.set()

    def finish(self) -> float:
        """End the watch; return the CPU seconds spent."""
        self.done.set()
        return time.process_time() - self.began

    def options(self) -> SolveOptions:
        return SolveOptions(gap=0.0, seed=1, time_limit_s=_WALL_PER_CPU * self.limit)

    def monitor(self) -> Monitor:
        return Monitor(Sense.MINIMISE, None, _WALL_PER_CPU * self.limit, self.stop)


def _pack(problem: Packing, limit: float) -> Reached:
    from apportion.solvers.columns.cutting_stock import solve_cutting_stock

    watch = _Stopwatch(limit)
    sizes, demands = np.unique(problem.sizes, return_counts=True)
    answer = solve_cutting_stock(sizes, demands, problem.capacity, watch.options(), watch.monitor())
    return Reached(answer.bounds.primal, answer.bounds.dual, watch.finish())


def _assign(cost: Floats, use: Floats, capacity: Floats, limit: float) -> Reached:
    from apportion.solvers.columns.generalised_assignment import solve_generalised_assignment

    watch = _Stopwatch(limit)
    answer = solve_generalised_assignment(cost, use, capacity, watch.options(), watch.monitor())
    return Reached(answer.bounds.primal, answer.bounds.dual, watch.finish())


def _highs(program: MixedIntegerProgram, limit: float) -> Reached:
    watch = _Stopwatch(limit)
    answer = backend_named("highs").run(program, watch.options(), watch.monitor())
    whole = bool((program.cost == np.floor(program.cost)).all())
    bound = float(ceil(answer.bounds.dual - _SAME)) if whole and isfinite(answer.bounds.dual) else answer.bounds.dual
    return Reached(answer.bounds.primal, bound, watch.finish())
