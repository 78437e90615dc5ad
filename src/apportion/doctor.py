"""What ``apportion doctor`` looks at: whether everything that solving needs is there and works."""

from __future__ import annotations

import importlib.util
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from apportion.instances.core import Sense
from apportion.instances.errors import ApportionError
from apportion.instances.program import MixedIntegerProgram, SparseColumns
from apportion.instances.reading import read
from apportion.solvers.backends import BACKENDS
from apportion.solvers.options import SolveOptions
from apportion.solvers.solve import solve_instance, versions

OPTIONAL = {"torch": "learn", "fastapi": "service", "ray": "ray", "linopy": "peers", "pyvrp": "peers"}
"""Packages that only an extra needs."""

_OPTIMUM = 9.0


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, what was found, and whether solving works with it."""

    what: str
    text: str
    good: bool = True


def findings() -> list[Finding]:
    """Everything, in the order in which it is printed."""
    return [
        Finding("versions", ", ".join(f"{name} {version}" for name, version in versions().items())),
        *[_backend(name) for name in BACKENDS],
        Finding("extras", _extras()),
        Finding("processors", f"{len(os.sched_getaffinity(0))} usable of {os.cpu_count()}"),
        Finding("memory", _memory()),
        _numba_cache(),
        _data_folder(),
        *[_self_test(name) for name in BACKENDS if importlib.util.find_spec(BACKENDS[name].package)],
    ]


COMPILED = ("cluster_small.json", "routing_small.vrp", "routing_windows.txt")
"""Shipped instances whose methods use every kernel of the default methods."""


def compiled() -> Iterator[Finding]:
    """Compile the kernels of the default methods, once for all later runs, by solving shipped instances briefly."""
    for name in COMPILED:
        began = time.perf_counter()
        path = Path(str(files("apportion.instances") / "data" / name))
        result: Any = solve_instance(read(path), SolveOptions(node_limit=200, deterministic=True))
        text = f"{result.status} in {time.perf_counter() - began:.1f} s {result.message}"
        yield Finding(f"kernels of {result.problem}", text.rstrip(), result.status.has_plan)


def _backend(name: str) -> Finding:
    there = importlib.util.find_spec(BACKENDS[name].package) is not None
    package = BACKENDS[name].distribution
    return Finding(f"backend {name}", "installed" if there else f"missing; Maybe pip install {package}", there)


def _extras() -> str:
    there = [name for name in OPTIONAL if importlib.util.find_spec(name) is not None]
    absent = [f"{name} (extra {extra})" for name, extra in OPTIONAL.items() if name not in there]
    return f"installed: {', '.join(there) or 'none'}; not installed: {', '.join(absent) or 'none'}"


def _memory() -> str:
    page = os.sysconf("SC_PAGE_SIZE")
    total, free = (page * os.sysconf(name) / 2**30 for name in ("SC_PHYS_PAGES", "SC_AVPHYS_PAGES"))
    return f"{total:.1f} GiB, {free:.1f} GiB free"


def _numba_cache() -> Finding:
    """Kernels are compiled once when their cache can be written, at every start otherwise."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    folder = Path(chosen) if chosen else Path(__file__).resolve().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            return Finding("kernel cache", f"{folder} can be written")
    except OSError:
        return Finding("kernel cache", f"{folder} cannot be written: the user's cache folder is used instead")


def _data_folder() -> Finding:
    chosen = os.environ.get("APPORTION_DATA")
    if not chosen:
        return Finding("data", "APPORTION_DATA is not set: benchmarks use generated stand-ins")
    there = Path(chosen).is_dir()
    return Finding("data", f"{chosen}{'' if there else ' is not a folder'}", there)


def knapsack() -> MixedIntegerProgram:
    """Maximise 5a + 4b + 3c over binaries with three capacities: a and b are best, worth 9."""
    matrix = np.array([[2.0, 3.0, 1.0], [4.0, 1.0, 2.0], [3.0, 4.0, 2.0]])
    num_rows, num_columns = matrix.shape
    return MixedIntegerProgram(
        name="self-test",
        sense=Sense.MAXIMISE,
        cost=np.array([5.0, 4.0, 3.0]),
        matrix=SparseColumns(
            np.arange(0, num_rows * num_columns + 1, num_rows, dtype=np.int32),
            np.tile(np.arange(num_rows, dtype=np.int32), num_columns),
            matrix.T.ravel(),
        ),
        row_lower=np.full(num_rows, -np.inf),
        row_upper=np.array([5.0, 11.0, 8.0]),
        lower=np.zeros(num_columns),
        upper=np.ones(num_columns),
        integer=np.ones(num_columns, np.bool_),
    )


def _self_test(name: str) -> Finding:
    what = f"self-test {name}"
    began = time.perf_counter()
    try:
        result: Any = solve_instance(knapsack(), SolveOptions(time_limit_s=1.0, backend=name))
    except (ApportionError, ImportError) as error:
        return Finding(what, f"{type(error).__name__}: {error}", good=False)
    took = time.perf_counter() - began
    good = result.status.has_plan and abs(result.objective - _OPTIMUM) < 1e-6
    return Finding(what, f"{result.status}, objective {result.objective:g} in {took:.2f} s {result.message}", good)
