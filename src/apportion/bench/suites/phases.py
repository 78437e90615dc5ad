"""Where the time and the memory of a solve go, on one instance of each domain, and what starting up costs."""

from __future__ import annotations

import multiprocessing
import resource
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from apportion.bench.registry import Context, Measurement, Target, spec
from apportion.bench.runner import median_and_spread

_HELP_BAR_S = 0.3
_TINY_BAR_S = 2.0


@dataclass(frozen=True)
class Case:
    """A real file, the shipped stand-in, how it is solved and the gap that it should be closed to."""

    name: str
    real: str
    stand_in: str
    time_limit_s: float
    gap: float
    proven_gap: float | None = None


CASES = (
    Case("cluster", "gpu/openb/openb_pod_list_default.csv.gz", "cluster_small.json", 120, 1e-4),
    Case("cvrp", "logistics/cvrp/X/X-n502-k39.vrp", "routing_small.vrp", 60, 1e-4),
    Case("vrptw", "logistics/vrptw/solomon/RC108.txt", "routing_windows.txt", 60, 1e-4),
    Case("commitment", "power/pglib-uc/rts_gmlc/2020-06-09.json", "commitment_small.json", 300, 1e-3, 1e-3),
)


def _phases(case: Case, context: Context) -> Iterator[Measurement]:
    real = None if context.quick else context.data_file(case.real)
    path = real or Path(str(files("apportion.instances") / "data" / case.stand_in))
    limit = 3.0 if context.quick else case.time_limit_s
    found = _in_fresh_process(path, limit, case.gap)
    name = path.name
    cpu_s = found["cpu_s"]
    row = partial(Measurement, name, seeds=(0,), cpu_s=cpu_s)
    yield row("objective", found["primal"], note=f"{found['status']}; check {'passed' if found['ok'] else 'FAILED'}")
    yield row("bound", found["dual"])
    target = None if case.proven_gap is None else Target("ours", "<=", case.proven_gap)
    yield row("gap", found["gap"], target=target)
    for stage in ("read_s", "build_s", "solve_s", "check_s"):
        yield row(stage.removesuffix("_s") + " wall s", found[stage])
    yield row("cpu s", cpu_s)
    yield row("peak memory MiB", found["peak_memory_mb"])
    for extra, value in found["extras"].items():
        yield row(extra.replace("_", " "), value)


def _in_fresh_process(path: Path, limit: float, gap: float) -> dict[str, Any]:
    """Solve in a process of its own, so that the peak of memory is that of this instance."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_solve, (path, limit, gap))


def _solve(path: Path, limit: float, gap: float) -> dict[str, Any]:
    from apportion.api import solve

    result = solve(path, time_limit_s=limit, gap=gap)
    timings = result.timings
    return {
        "status": str(result.status) + (f" ({result.limit} limit)" if result.limit else ""),
        "ok": result.verdict is not None and result.verdict.ok,
        "primal": result.bounds.primal,
        "dual": result.bounds.dual,
        "gap": result.bounds.gap,
        "read_s": timings.read_s,
        "build_s": timings.build_s,
        "solve_s": timings.solve_s,
        "check_s": timings.check_s,
        "cpu_s": timings.cpu_s,
        "peak_memory_mb": timings.peak_memory_mb,
        "extras": dict(result.extras),
    }


for _case in CASES:
    spec("phases", _case.name)(partial(_phases, _case))


@spec("phases", "start-up")
def start_up(context: Context) -> Iterable[Measurement]:
    """CPU seconds of ``apportion --help`` and of a tiny instance solved from the shell."""
    repeats = 2 if context.quick else 7
    tiny = str(files("apportion.instances") / "data" / "knapsack_tiny.mps")
    runs = (
        ("--help", ["--help"], _HELP_BAR_S),
        ("solve tiny.mps", ["solve", tiny, "--out", "-"], _TINY_BAR_S),
    )
    for name, arguments, bar in runs:
        seconds = [_child_cpu_seconds(arguments) for _ in range(repeats)]
        middle, spread = median_and_spread(seconds)
        target = Target("ours", "<=", bar)
        yield Measurement(name, "cpu s", middle, target=target, cpu_s=sum(seconds), spread=spread)


def _child_cpu_seconds(arguments: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", "from apportion.cli import main; main()", *arguments]
    subprocess.run(command, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
