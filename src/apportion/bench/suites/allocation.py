"""Fleet allocation: seconds and objective of the priced method against the linear program in full and POP-8.

Protocol. Instances come from our generator in the manner of POP's and Gavel's experiments: jobs drawn from 26 models on
1, 2, 4 or 8 GPUs (70, 10, 15 and 5 %), three types with a quarter as many GPUs each as there are jobs. The objective is
max-min fairness. Peers solve the same program: HiGHS through our backend, HiGHS through SciPy, and POP with 8 parts
(its parts are solved by HiGHS one after another, as its seconds on one core are). ``distinct`` gives every job a speed
of its own, so that no two jobs are alike. Times are CPU seconds of one call after a warm-up on a small instance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from scipy import optimize, sparse

from apportion.bench.registry import Context, Measurement, Target, spec
from apportion.bench.runner import cpu_seconds
from apportion.instances.fleet import FleetAllocation
from apportion.instances.generate.fleet import generate_fleet
from apportion.models.allocation.arrays import level_program
from apportion.solvers.allocation.allocation import Allocation
from apportion.solvers.allocation.objectives import fair_needs, optimise
from apportion.solvers.allocation.parts import by_parts

_GAP = 1e-6
_PACKED_GAP = 1e-3
_PARTS = 8
_SHARED_S = 5.0
_MOST_FOR_PROGRAMS = 10_000
_MOST_PAIRS_FOR_PROGRAMS = 50_000


def scipy_level(fleet: FleetAllocation) -> float:
    """The best level by SciPy's HiGHS on the same program."""
    program = level_program(fleet, fair_needs(fleet), packed=fleet.num_pairs > 0).model.compile()
    columns = program.matrix
    shape = (program.num_rows, program.num_columns)
    matrix = sparse.csc_array((columns.values, columns.rows, columns.starts), shape=shape)
    found = optimize.milp(
        -program.cost,
        bounds=optimize.Bounds(program.lower, program.upper),
        constraints=optimize.LinearConstraint(matrix, program.row_lower, program.row_upper),
    )
    return -float(found.fun or 0.0)


def _timed(run: Callable[[], Allocation | float | None]) -> tuple[float, float, float]:
    """CPU seconds, objective and bound of one call."""
    kept: list[Allocation | float | None] = []
    seconds = cpu_seconds(lambda: kept.append(run()))
    found = kept[0]
    if isinstance(found, Allocation):
        return seconds, found.objective, found.bound
    return seconds, found if found is not None else float("nan"), float("nan")


def _compare(case: str, fleet: FleetAllocation, context: Context, limit_s: float, gap: float) -> Iterator[Measurement]:
    fleet.pair_rates.sum()
    fleet.fair_throughputs.sum()
    seconds, reached, bound = _timed(partial(optimise, fleet))
    target = None if context.quick else Target("ours", "<=", limit_s)
    note = f"{fleet.num_jobs} jobs, {fleet.num_pairs} pairs"
    yield Measurement(case, "cpu s", seconds, target=target, cpu_s=seconds, note=note)
    yield Measurement(case, "proven gap", abs(bound - reached) / abs(bound), target=Target("ours", "<=", gap))
    small = fleet.num_jobs <= _MOST_FOR_PROGRAMS and fleet.num_pairs <= _MOST_PAIRS_FOR_PROGRAMS
    peers: dict[str, tuple[Callable[[], Allocation | float | None], bool]] = {
        "highs": (partial(optimise, fleet, by_program=True), small),
        "scipy": (partial(scipy_level, fleet), small),
        f"pop-{_PARTS}": (partial(by_parts, fleet, _PARTS), fleet.num_jobs <= _MOST_FOR_PROGRAMS),
    }
    for name, (run, possible) in peers.items():
        if not context.wants(name):
            continue
        if not possible:
            yield Measurement(case, "cpu s", seconds, None, name, note="too large for the whole program here")
            continue
        theirs, level, _ = _timed(run)
        yield Measurement(case, "cpu s", seconds, theirs, name)
        yield Measurement(case, "objective", reached, level, name, target=Target("ratio", ">=", 1.0 - gap))


@spec("cluster", "allocation")
def allocation(context: Context) -> Iterator[Measurement]:
    """Max-min fairness at scale, alone and with sharing."""
    optimise(generate_fleet(0, jobs=40))  # compiles
    for case, jobs, limit_s, distinct in _alone(context.quick):
        fleet = generate_fleet(1, jobs=jobs, gpus_per_type=max(8, jobs // 4), urgent_fraction=0.0, distinct=distinct)
        yield from _compare(case, fleet, context, limit_s, _GAP)
    sizes = (64,) if context.quick else (256, 2048)
    for jobs in sizes:
        fleet = generate_fleet(1, jobs=jobs, gpus_per_type=max(64, jobs // 4), urgent_fraction=0.0, sharing=True)
        yield from _compare(f"shared {jobs:,}", fleet, context, _SHARED_S, _PACKED_GAP)


def _alone(quick: bool) -> list[tuple[str, int, float, bool]]:
    if quick:
        return [("alone 512", 512, 0.2, True)]
    return [
        ("alone 2,048 distinct", 2048, 0.2, True),
        ("alone 8,192", 8192, 0.2, False),
        ("alone 8,192 distinct", 8192, 0.2, True),
        ("alone 100,000 distinct", 100_000, 3.0, True),
    ]
