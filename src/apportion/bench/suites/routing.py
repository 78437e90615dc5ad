"""Routing beside free peers: gaps to the best known values after equal times, one thread, the same seeds.

Ours, PyVRP, HGS-CVRP, OR-Tools' routing and VROOM take turns on each file, on the same matrices. The seconds are wall
clock, so nothing else should run. For each peer ``cvrp`` takes 7 minutes and ``vrptw`` 9 with three seeds of 10 s, and
as long again for ours; ``rich`` takes about 18, ``xxl`` 5.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import numpy as np

from apportion.api import solve
from apportion.bench.registry import Context, Measurement, Target, spec
from apportion.bench.routing_peers import PEERS, is_installed, peer_objective, pyvrp_objective
from apportion.bench.suites.sweep import _best_known
from apportion.instances.reading import read
from apportion.instances.rich_routing import RichRouting
from apportion.instances.routing import Rounding, VehicleRouting

LIMIT_S = 10.0
_XXL_LIMIT_S = 300.0
_QUICK_S = 1.0
_SHIPPED = Path(str(files("apportion.instances") / "data"))
_CVRP = {
    name: (f"logistics/cvrp/X/{name}.vrp", 1)
    for name in ("X-n101-k25", "X-n125-k30", "X-n157-k13", "X-n200-k36", "X-n251-k28", "X-n303-k21")
} | {name: (f"logistics/cvrp/X/{name}.vrp", 1) for name in ("X-n367-k17", "X-n401-k29", "X-n502-k39", "X-n627-k43")}
_CVRP |= {name: (f"logistics/cvrp/X/{name}.vrp", 1) for name in ("X-n801-k40", "X-n1001-k43")}
_CVRP |= {name: (f"logistics/cvrp/DIMACS/{name}.vrp", 1) for name in ("ORTEC-n242-k12", "Loggi-n401-k23")}
_SOLOMON = ("C101", "C104", "C201", "R101", "R108", "R112", "R201", "R208", "RC101", "RC108", "RC201", "RC208")
_HOMBERGER = ("R1_2_1", "C2_2_3", "R2_4_1", "RC1_6_4", "C2_8_6", "R1_10_1")
_VRPTW = {name: (f"logistics/vrptw/solomon/{name}.txt", 10) for name in _SOLOMON} | {
    name: (f"logistics/vrptw/homberger/{name}.txt", 10) for name in _HOMBERGER
}
_RICH = (
    *("HFVRP/X101-FSMFD", "HFVRP/X298-FSMD", "MDVRPTW/PR11A", "VRPB/X-n524-50-k125", "PCVRPTW/C1_10_1"),
    *("MTVRPTWR/C201R0.25", "MTVRPTWR/R201R0.5", "SDVRPTW/PR01", "GVRP/G-n262-k25-C131-V12"),
)
_ROUNDED = {Rounding.NEAREST_3_DECIMALS: "exact", Rounding.TRUNCATE_1_DECIMAL: "dimacs", Rounding.NEAREST: "round"}
_SCALES = {Rounding.NEAREST_3_DECIMALS: 1000, Rounding.TRUNCATE_1_DECIMAL: 10, Rounding.NEAREST: 1}
_FEWER = Target("ratio", "<=", 1.0)


def _measured(
    name: str, ours: list[float], theirs: dict[str, list[float]], context: Context, limit: float, cpu_s: float
) -> Iterator[Measurement]:
    """A row for each peer, or one for ours alone."""
    metric, seeds = f"mean gap to best known after {limit:g} s", context.seeds
    spread = float(max(ours) - min(ours))
    kept = {peer: gaps for peer, gaps in theirs.items() if gaps} or {"": []}
    for peer, gaps in kept.items():
        figure = float(np.mean(gaps)) if gaps else None
        target = _FEWER if gaps else None
        note = "spread is max - min"
        yield Measurement(name, metric, float(np.mean(ours)), figure, peer, target, seeds, cpu_s, spread, note)


def _plain(cases: dict[str, tuple[str, int]], context: Context) -> Iterator[Measurement]:
    """Each file, and the mean over all of them as the last rows."""
    all_ours: list[float] = []
    peers = [peer for peer in PEERS if context.wants(peer) and is_installed(peer)]
    everyone: dict[str, list[float]] = {peer: [] for peer in peers}
    limit = _QUICK_S if context.quick else context.limit_s or LIMIT_S
    for name, (real, scale) in list(cases.items())[: 1 if context.quick else None]:
        path = context.data_file(real)
        if path is None:
            continue
        instance, best = cast(VehicleRouting, read(path)), _best_known(context, name)
        solve(instance, time_limit_s=_QUICK_S, seed=0)  # loads the compiled kernels
        gaps: dict[str, list[float]] = {who: [] for who in ("", *peers)}
        begun = time.process_time()
        for turn, seed in enumerate(context.seeds[: 1 if context.quick else None]):
            for who in _in_turn(("", *peers), turn):
                found = _found(who, instance, scale, limit, seed)
                if found == found:
                    gaps[who].append(found / best - 1.0)
        ours, theirs = gaps[""], {peer: gaps[peer] for peer in peers}
        all_ours += ours
        for peer, some in theirs.items():
            everyone[peer] += some
        yield from _measured(name, ours, theirs, context, limit, time.process_time() - begun)
    if all_ours and not context.quick:
        yield from _measured("all files", all_ours, everyone, context, limit, 0.0)


def _in_turn(names: tuple[str, ...], turn: int) -> tuple[str, ...]:
    """Each round begins with another, so that a noisy machine treats all alike.

    >>> _in_turn(("", "pyvrp", "hgs"), 1)
    ('pyvrp', 'hgs', '')
    """
    first = turn % len(names)
    return names[first:] + names[:first]


def _found(who: str, instance: VehicleRouting, scale: int, limit_s: float, seed: int) -> float:
    """The distance that we or a peer find."""
    if not who:
        return solve(instance, time_limit_s=limit_s, seed=seed).objective
    return peer_objective(who, instance, scale, limit_s, seed)


@spec("routing", "cvrp")
def cvrp(context: Context) -> Iterator[Measurement]:
    """Uchoa's X instances."""
    yield from _plain(_CVRP, context)
    yield from _stand_in("routing_small.vrp", context)


@spec("routing", "vrptw")
def vrptw(context: Context) -> Iterator[Measurement]:
    """Solomon's and Homberger's instances."""
    yield from _plain(_VRPTW, context)
    yield from _stand_in("routing_windows.txt", context)


def _stand_in(file: str, context: Context) -> Iterator[Measurement]:
    """Ours beside PyVRP on a shipped file: all there is without the data."""
    if not context.quick:
        return
    instance = cast(VehicleRouting, read(_SHIPPED / file))
    result = solve(instance, time_limit_s=_QUICK_S, seed=1)
    peer = None
    if context.wants("pyvrp") and find_spec("pyvrp"):
        peer = pyvrp_objective(instance, 10, _QUICK_S, 1)
    name = "" if peer is None else "pyvrp"
    yield Measurement(file, "distance", result.objective, peer, name, None, (1,), result.timings.cpu_s)


@spec("routing", "xxl")
def xxl(context: Context) -> Iterator[Measurement]:
    """Thousands of clients in five minutes; run it alone, for the peak of memory is that of the process."""
    path = context.data_file("logistics/cvrp/XXL/Leuven1.vrp")
    if path is None or context.quick:
        return
    instance, best = cast(VehicleRouting, read(path)), _best_known(context, "Leuven1")
    limit, seed = context.limit_s or _XXL_LIMIT_S, context.seeds[0]
    result = solve(instance, time_limit_s=limit, seed=seed)
    gap, cpu_s = result.objective / best - 1.0, result.timings.cpu_s
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    metric = f"gap to best known after {limit:g} s"
    yield Measurement("Leuven1", metric, gap, None, "", Target("ours", "<=", 0.04), (seed,), cpu_s)
    yield Measurement("Leuven1", "peak memory, GiB", peak, None, "", Target("ours", "<=", 4.0), (seed,))


@spec("routing", "rich")
def rich(context: Context) -> Iterator[Measurement]:
    """One variant a file; PyVRP reads the same file by itself."""
    for file in _RICH[:1] if context.quick else _RICH:
        path = context.data_file(f"logistics/rich/{file}.vrp")
        if path is None:
            continue
        instance = cast(RichRouting, read(path))
        scale = _SCALES[instance.rounding]
        best = _best_known(context, path.stem) / scale
        limit, ours, theirs = (_QUICK_S if context.quick else LIMIT_S), [], []
        solve(instance, time_limit_s=_QUICK_S, seed=0)
        begun = time.process_time()
        for seed in context.seeds[: 1 if context.quick else None]:
            ours.append(solve(instance, time_limit_s=limit, seed=seed).objective / best - 1.0)
            if context.wants("pyvrp") and find_spec("pyvrp"):
                theirs.append(_pyvrp_rich(path, instance, limit, seed) / best - 1.0)
        kept = {"pyvrp": theirs}
        yield from _measured(file, ours, kept, context, limit, time.process_time() - begun)


def _pyvrp_rich(path: Path, instance: RichRouting, limit_s: float, seed: int) -> float:
    """The cost that PyVRP finds on its own reading of the file, in our unit."""
    import pyvrp
    from pyvrp.stop import MaxRuntime

    data = pyvrp.read(path, round_func=_ROUNDED[instance.rounding])
    result = pyvrp.solve(data, MaxRuntime(limit_s), seed=seed, collect_stats=False, display=False)
    return float(result.cost()) / _SCALES[instance.rounding]
