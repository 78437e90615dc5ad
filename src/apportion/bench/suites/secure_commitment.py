"""Security-constrained commitment on UnitCommitment.jl's own cases, beside its published intervals and times."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from apportion.bench.registry import Context, Measurement, Target, spec

_PUBLISHED = "UnitCommitment.jl with Gurobi, 4 threads, published"


@dataclass(frozen=True)
class Case:
    """A case, its published bounds and seconds, and the CPU seconds and gap asked of ours."""

    name: str
    dual: float
    primal: float
    published_s: float
    bar_s: float
    gap: float

    @property
    def real(self) -> str:
        """Where it lies in the folder of real instances."""
        return f"power/unitcommitment_jl/matpower/{self.name}.json.gz"


CASES = (
    Case("case118/2017-02-01", 5765741.474991, 5766283.501723, 0.88, 5.0, 1e-4),
    Case("case118/2017-08-01", 7059902.743247, 7060822.194746, 1.24, 5.0, 1e-4),
    Case("case300/2017-02-01", 19779491.78066, 19779491.78067, 1.15, 6.0, 1e-4),
    Case("case1354pegase/2017-02-01", 19112529.57295, 19112529.57295, 44.9, 180.0, 1e-3),
    Case("case1888rte/2017-02-01", 26383387.83301, 26398412.54917, 208.75, 600.0, 1e-3),
)


class _Run(NamedTuple):
    """What one solve took and proved."""

    cpu_s: float
    primal: float
    dual: float
    gap: float
    rows: int


@spec("power", "secure")
def secure(context: Context) -> Iterator[Measurement]:
    """CPU seconds to the gap with all N-1 lines, in a fresh process on one thread, beside the published figures."""
    for case in CASES[:1] if context.quick else CASES:
        real = None if context.quick else context.data_file(case.real)
        path = real or Path(str(files("apportion.instances") / "data" / "security_small.json"))
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            run = pool.apply(_solve, (path, 5.0 if real is None else 20.0 * case.bar_s, case.gap))
        row = partial(Measurement, case.name, seeds=(0,), cpu_s=run.cpu_s)
        yield row("gap", run.gap, target=None if real is None else Target("ours", "<=", case.gap))
        yield row("flow rows", float(run.rows))
        if real is None:
            yield row("cpu s", run.cpu_s)
            continue
        bar = Target("ours", "<=", case.bar_s)
        yield row("cpu s", run.cpu_s, published=case.published_s, note=_PUBLISHED, target=bar)
        yield row("objective", run.primal, published=case.primal, note=_PUBLISHED)
        yield row("bound", run.dual, published=case.dual, note=_PUBLISHED)


def _solve(path: Path, limit: float, gap: float) -> _Run:
    from apportion.instances.reading import read
    from apportion.solvers.options import SolveOptions
    from apportion.solvers.solve import solve_instance

    began = time.process_time()
    result = solve_instance(read(path), SolveOptions(gap=gap, time_limit_s=limit))
    spent = time.process_time() - began
    return _Run(spent, result.objective, result.bounds.dual, result.bounds.gap, result.counts.get("flow rows", 0))
