"""The solver floor: what the heuristics add to HiGHS on generated and published mixed-integer programs."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from math import exp, inf, isfinite
from pathlib import Path
from typing import Any, cast

import numpy as np

from apportion.bench.registry import Context, Measurement, Target, spec
from apportion.instances.core import Sense
from apportion.instances.formats import orlib
from apportion.instances.generate.benchmark_programs import benchmark_program
from apportion.instances.program import MixedIntegerProgram, VariableValues
from apportion.models.checking import check
from apportion.solvers.events import Event, EventKind, Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.solve import solve_instance

_FIRST_S = 2.0
_LIMIT_S = 60.0
_QUICK_LIMIT_S = 2.0
_FEASIBLE_BAR = 0.9
_INTEGRAL_BAR = 0.7
_SHIFT_S = 0.01
_WALL_PER_CPU = 4.0

Trace = list[tuple[float, float]]


@dataclass(frozen=True)
class Case:
    """A program by name: a published file where there is one, a generated one otherwise."""

    name: str
    family: str
    sizes: tuple[tuple[str, float], ...] = ()
    real: str = ""
    read: Callable[[Path], MixedIntegerProgram] | None = None
    seed: int = 1

    def program(self, context: Context) -> MixedIntegerProgram:
        """Read or generate it."""
        path = context.data_file(self.real) if self.real else None
        if path is not None and self.read is not None:
            return self.read(path)
        return benchmark_program(self.family, self.seed, **dict(self.sizes))


def _sized(family: str, seed: int, **sizes: float) -> Case:
    name = f"{family}-{'x'.join(f'{v:g}' for v in sizes.values())}"
    return Case(name, family, tuple(sizes.items()), seed=seed)


def _published(real: str, read: Callable[[Path], MixedIntegerProgram], family: str) -> Case:
    return Case(Path(real).name.split(".")[0], family, real=f"logistics/{real}", read=read, seed=len(real))


def _unit_commitment(path: Path) -> MixedIntegerProgram:
    from apportion.instances.commitment import UnitCommitment
    from apportion.instances.reading import read
    from apportion.models.commitment.arrays import formulate

    return formulate(cast(UnitCommitment, read(path))).model.compile()


CASES = (
    _sized("multi-knapsack", 1, rows=10, columns=250),
    _sized("independent-set", 1, nodes=500),
    _sized("bin-packing", 1, items=60),
    _sized("set-cover", 1, rows=500, columns=1000),
    _sized("set-cover", 2, rows=1000, columns=2000),
    _sized("auction", 1, items=200, bids=1000),
    _sized("auction", 2, items=300, bids=1500),
    _sized("facility", 1, customers=100, facilities=100),
    _sized("facility", 2, customers=200, facilities=100),
    _sized("independent-set", 2, nodes=1000),
    _sized("multi-knapsack", 2, rows=30, columns=500),
    _sized("assignment", 1, agents=20, jobs=200),
    _sized("lot-sizing", 1, products=20, periods=30),
    _sized("lot-sizing", 2, products=30, periods=40),
    _sized("bin-packing", 2, items=100),
    _sized("network", 1, nodes=30, arcs=200, commodities=20),
    _published("setcover/scpnre1.txt.gz", orlib.read_set_cover, "set-cover"),
    _published("setcover/scpclr10.txt", orlib.read_set_cover, "set-cover"),
    _published("setcover/scpd4.txt.gz", orlib.read_set_cover, "set-cover"),
    _published("setcover/scpa2.txt", orlib.read_set_cover, "set-cover"),
    _published("gap/chu1997/d20200.txt", orlib.read_assignment, "assignment"),
    _published("gap/yagiura2004/d10400.txt", orlib.read_assignment, "assignment"),
    _published("gap/yagiura2004/e20200.txt", orlib.read_assignment, "assignment"),
    _published("facility/orlib_cap/cap134.txt", orlib.read_facility, "facility"),
    _published("facility/sscflp_holmberg/p56.txt", orlib.read_single_source, "facility"),
    _published("packing/mknap/mknapcb1.txt", orlib.read_multi_knapsack, "multi-knapsack"),
    _published("packing/1d/binpack1.txt", orlib.read_bin_packing, "bin-packing"),
    _published("network/mcnd/c33.dow", orlib.read_network_design, "network"),
    _published("network/mcnd/c41.dow", orlib.read_network_design, "network"),
    Case(
        "rts_gmlc-2020-06-09",
        "lot-sizing",
        (("products", 40), ("periods", 24)),
        "power/pglib-uc/rts_gmlc/2020-06-09.json",
        _unit_commitment,
        3,
    ),
)
_QUICK = 3


@spec("solvers", "heuristics")
def heuristics(context: Context) -> Iterator[Measurement]:
    """A feasible point within two CPU seconds, and the primal integral of HiGHS with and without the heuristics."""
    cases = CASES[:_QUICK] if context.quick else CASES
    limit = _QUICK_LIMIT_S if context.quick else context.limit_s or _LIMIT_S
    first: list[float] = []
    theirs: list[float] = []
    ratios: list[float] = []
    cpu_s = 0.0
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.apply(warm_up)
        for case in cases:
            program = case.program(context)
            measured = pool.apply(_measure, (program, limit, context.wants("localmip")))
            first.append(measured["first"])
            if measured["localmip"] is not None:
                theirs.append(measured["localmip"])
            ours, alone = (primal_integral(measured[k], measured["best"], limit) for k in ("fed", "alone"))
            ratios.append((ours + _SHIFT_S) / (alone + _SHIFT_S))
            cpu_s += measured["cpu_s"]
            yield Measurement(
                case.name,
                f"primal integral over {limit:g} CPU s",
                ours,
                alone,
                "highs alone",
                seeds=(1,),
                cpu_s=measured["cpu_s"],
                note=f"first feasible after {first[-1]:.2f} s; best {measured['best']:.8g}; {measured['note']}",
            )
    yield Measurement(
        f"{len(cases)} programs",
        "share feasible within 2 CPU s, heuristics alone",
        _share(first),
        _share(theirs) if theirs else None,
        "localmip" if theirs else "",
        Target("ours", ">=", _FEASIBLE_BAR),
        (1,),
        cpu_s,
        note="" if theirs or not context.wants("localmip") else "localmip is not installed",
    )
    yield Measurement(
        f"{len(cases)} programs",
        f"primal integral over {limit:g} CPU s, geometric mean of ratios (shift {_SHIFT_S:g} s)",
        exp(float(np.mean(np.log(ratios)))),
        1.0,
        "highs alone",
        Target("ratio", "<=", _INTEGRAL_BAR),
        (1,),
        cpu_s,
        max(ratios) - min(ratios),
        note=f"better on {sum(r < 1 for r in ratios)} of {len(ratios)}; spread is max - min of the ratios",
    )


def _share(seconds: Sequence[float]) -> float:
    return sum(s <= _FIRST_S for s in seconds) / len(seconds)


def warm_up() -> None:
    """Compile or load every kernel, in the process that measures."""
    for family, sizes in (
        ("set-cover", {"rows": 20, "columns": 40}),
        ("assignment", {"agents": 3, "jobs": 12}),
        ("lot-sizing", {"products": 2, "periods": 5}),
    ):
        program = benchmark_program(family, 0, **cast("dict[str, float]", sizes))
        for method in ("default", "heuristics"):
            solve_instance(program, SolveOptions(time_limit_s=5.0), method=method)


def _measure(program: MixedIntegerProgram, limit: float, with_localmip: bool) -> dict[str, Any]:
    """One program: the heuristics alone until their first point, HiGHS alone, HiGHS fed; the best is the yardstick."""
    before = time.process_time()
    first = _first_feasible(program)
    alone, alone_note = _trace(program, "default", limit)
    fed, fed_note = _trace(program, "heuristics", limit)
    theirs = _localmip_first(program) if with_localmip and find_spec("localmip_py") else None
    reached = [objective for _, objective in (*alone, *fed)]
    best = program.sense.sign * min((program.sense.sign * o for o in reached), default=inf)
    return {
        "first": first,
        "alone": alone,
        "fed": fed,
        "best": best,
        "localmip": theirs,
        "cpu_s": time.process_time() - before,
        "note": f"alone {alone_note}, fed {fed_note}",
    }


def _first_feasible(program: MixedIntegerProgram) -> float:
    """CPU seconds until the heuristics alone have a point that the independent check accepts."""
    from apportion.solvers.heuristics.method import find_start

    began = time.process_time()
    seconds = inf
    stop = threading.Event()

    def listen(event: Event) -> None:
        nonlocal seconds
        if event.kind is EventKind.INCUMBENT and seconds == inf:
            seconds = time.process_time() - began
            stop.set()

    monitor = Monitor(program.sense, listen, _WALL_PER_CPU * _FIRST_S, stop)
    values = find_start(program, SolveOptions(seed=1), monitor)
    if values is None or not check(program, VariableValues.from_array(program, values)).ok:
        return inf
    return seconds


def _trace(program: MixedIntegerProgram, method: str, limit: float) -> tuple[Trace, str]:
    """The incumbents of a solve with the CPU seconds at which they came; it is stopped at ``limit`` CPU seconds."""
    trace: Trace = []
    stop = threading.Event()
    began = time.process_time()

    def listen(event: Event) -> None:
        spent = time.process_time() - began
        if event.kind is EventKind.INCUMBENT:
            trace.append((spent, event.bounds.primal))
        if spent > limit:
            stop.set()

    options = SolveOptions(time_limit_s=_WALL_PER_CPU * limit, seed=1)
    result = solve_instance(program, options, method=method, listener=listen, cancelled=stop)
    return trace, f"{result.status} {result.objective:.8g}{f' ({result.message})' if result.message else ''}"


def primal_integral(trace: Trace, best: float, limit: float) -> float:
    """The integral of the primal gap over the first ``limit`` seconds; the gap is 1 before the first incumbent.

    Berthold (2013): ``|objective - best| / max(|objective|, |best|)``, 1 when their signs differ.
    """
    total, gap, at = 0.0, 1.0, 0.0
    for seconds, objective in trace:
        if seconds > limit:
            break
        total += gap * (seconds - at)
        at = seconds
        gap = _primal_gap(objective, best)
    return total + gap * (limit - at)


def _primal_gap(objective: float, best: float) -> float:
    if objective == best:
        return 0.0
    if not isfinite(best) or objective * best < 0.0:
        return 1.0
    return min(1.0, abs(objective - best) / max(abs(objective), abs(best)))


def _localmip_first(program: MixedIntegerProgram) -> float:
    """Two seconds when Local-MIP has a checked point after a run of that limit, infinite otherwise."""
    with _quiet():
        solver = _localmip(program)
        solver.run()
        feasible = solver.is_feasible()
        values = np.array(solver.get_solution(), np.float64) if feasible else np.zeros(0)
    if len(values) != program.num_columns:
        return inf
    return _FIRST_S if check(program, VariableValues.from_array(program, values)).ok else inf


def _localmip(program: MixedIntegerProgram) -> Any:
    import localmip_py  # type: ignore[import-not-found, unused-ignore]

    kinds = localmip_py.VarType
    builder = localmip_py.ModelBuilder()
    for j in range(program.num_columns):
        low, high = float(program.lower[j]), float(program.upper[j])
        binary = program.integer[j] and low == 0.0 and high == 1.0
        kind = kinds.binary if binary else kinds.general_integer if program.integer[j] else kinds.real
        builder.add_var(f"x{j}", low, high, float(program.cost[j]), kind)
    columns = np.repeat(np.arange(program.num_columns), np.diff(program.matrix.starts))
    order = np.argsort(program.matrix.rows, kind="stable")
    ends = np.cumsum(np.bincount(program.matrix.rows, minlength=program.num_rows))
    for i in range(program.num_rows):
        entries = order[(ends[i - 1] if i else 0) : ends[i]]
        low, high = float(program.row_lower[i]), float(program.row_upper[i])
        builder.add_con(low, high, columns[entries].tolist(), program.matrix.values[entries].tolist())
    senses = localmip_py.Sense
    builder.set_sense(senses.minimize if program.sense is Sense.MINIMISE else senses.maximize)
    solver = localmip_py.LocalMIP(builder.prepare())
    solver.set_time_limit(_FIRST_S)
    solver.set_random_seed(1)
    solver.set_log_obj(False)
    return solver


@contextmanager
def _quiet() -> Iterator[None]:
    """Send what a library prints past Python to nowhere."""
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(nowhere)
        os.close(kept)
