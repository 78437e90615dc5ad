"""Rich routing beside PyVRP, days of requests beside the greedy dispatcher, and the time of one insertion.

``rich`` and ``pdptw`` measure gaps to the best known values; ours and PyVRP take turns on the same file with the same
time. Published values of pairs put the number of vehicles first, so that a gap of the distance may be negative.
``dynamic`` runs the same requests through the greedy dispatcher and the default policy. ``insert`` needs no peer.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import numpy as np

from apportion.api import solve
from apportion.bench.registry import Context, Measurement, Target, spec
from apportion.bench.suites.sweep import _best_known
from apportion.instances.generate.rich_routing import generate_rich_routing
from apportion.instances.generate.routing import generate_routing
from apportion.instances.reading import read
from apportion.instances.rich_routing import RichRoute, RichRoutes, RichRouting
from apportion.instances.routing import Rounding, VehicleRouting
from apportion.solvers.rich_routing.dispatching import Effort, run_day
from apportion.solvers.rich_routing.insertion import Dispatcher

LIMIT_S = 10.0
_QUICK_S = 1.0
_SHIPPED = Path(str(files("apportion.instances") / "data"))
_RICH = (
    *("HFVRP/X101-FSMFD", "HFVRP/X298-FSMD", "HFVRP/X502-FSMFD", "MDVRPTW/PR11A", "MDVRPTW/PR14B"),
    *("VRPB/X-n524-50-k125", "VRPB/X-n627-66-k29", "PCVRPTW/C1_10_1", "PCVRPTW/R2_10_3", "SDVRPTW/PR01"),
    *("MTVRPTWR/C201R0.25", "MTVRPTWR/R201R0.5", "MTVRPTWR/RC205R0.75"),
    *("GVRP/G-n262-k25-C131-V12", "GVRP/L-840-C169-R5"),
)
_PAIRS = ("lc101", "lr112", "lrc101", "lrc206", "lr201", "lr1_2_1", "lc2_2_5", "lrc1_4_3", "lr2_6_2")
_ROUNDED = {Rounding.NEAREST_3_DECIMALS: "exact", Rounding.TRUNCATE_1_DECIMAL: "dimacs", Rounding.NEAREST: "round"}
_SCALES = {Rounding.NEAREST_3_DECIMALS: 1000, Rounding.TRUNCATE_1_DECIMAL: 10, Rounding.NEAREST: 1}
_CLOSE = Target("ours", "<=", 0.02)
_DYNAMIC = "logistics/dynamic/ORTEC-VRPTW-ASYM-0dc59ef2-d1-n213-k25.txt"


@spec("rich-routing", "rich")
def rich(context: Context) -> Iterator[Measurement]:
    """One variant a file; PyVRP reads the same file by itself."""
    for file in _RICH[:1] if context.quick else _RICH:
        path = context.data_file(f"logistics/rich/{file}.vrp")
        if path is not None:
            instance = cast(RichRouting, read(path))
            best = _best_known(context, path.stem) / _SCALES[instance.rounding]
            yield from _gaps(file, path, instance, best, context)
    if context.quick:
        yield _stand_in()


@spec("rich-routing", "pdptw")
def pdptw(context: Context) -> Iterator[Measurement]:
    """Li and Lim's pairs; PyVRP does not read these files."""
    for name in _PAIRS[:1] if context.quick else _PAIRS:
        path = context.data_file(f"logistics/pdptw/li_lim/{name}.txt")
        if path is not None:
            instance = cast(RichRouting, read(path))
            yield from _gaps(name, None, instance, _best_distance(context, name), context)


def _best_distance(context: Context, name: str) -> float:
    """The distance of the published value, which stands behind the number of vehicles."""
    table = cast(Path, context.data_file("logistics/best_known.csv"))
    rows = [line.split(",") for line in table.read_text().splitlines()]
    return float(next(row[4] for row in rows if row[1] == name).split(";")[1])


def _gaps(name: str, file: Path | None, instance: RichRouting, best: float, context: Context) -> Iterator[Measurement]:
    """Our mean gap and PyVRP's after equal times."""
    limit = _QUICK_S if context.quick else context.limit_s or LIMIT_S
    seeds, ours, theirs = context.seeds[: 1 if context.quick else None], [], []
    solve(instance, time_limit_s=_QUICK_S, seed=0)  # loads the compiled kernels
    begun, routes = time.process_time(), 0
    for seed in seeds:
        result = solve(instance, time_limit_s=limit, seed=seed)
        ours.append(result.objective / best - 1.0)
        routes = len(result.plan.routes) if result.plan is not None else 0
        if file is not None and context.wants("pyvrp") and find_spec("pyvrp"):
            theirs.append(_pyvrp(file, instance, limit, seed) / best - 1.0)
    peer = float(np.mean(theirs)) if theirs else None
    metric = f"mean gap to best known after {limit:g} s"
    note = f"{routes} routes with the last seed; spread is max - min"
    cpu_s, spread = time.process_time() - begun, max(ours) - min(ours)
    who = "pyvrp" if theirs else ""
    yield Measurement(name, metric, float(np.mean(ours)), peer, who, _CLOSE, seeds, cpu_s, spread, note)


def _pyvrp(path: Path, instance: RichRouting, limit_s: float, seed: int) -> float:
    """The cost that PyVRP finds on its own reading of the file, in our unit."""
    import pyvrp
    from pyvrp.stop import MaxRuntime

    data = pyvrp.read(path, round_func=_ROUNDED[instance.rounding])
    result = pyvrp.solve(data, MaxRuntime(limit_s), seed=seed, collect_stats=False, display=False)
    return float(result.cost()) / _SCALES[instance.rounding]


def _stand_in() -> Measurement:
    """A shipped day with soft windows, overtime, breaks and traffic: all there is without the data."""
    instance = cast(RichRouting, read(_SHIPPED / "rich_small.json"))
    result = solve(instance, node_limit=300, seed=1)
    return Measurement("rich_small.json", "cost", result.objective, seeds=(1,), cpu_s=result.timings.cpu_s)


@spec("rich-routing", "dynamic")
def dynamic(context: Context) -> Iterator[Measurement]:
    """Driving time of a day's requests beside that of sending everything at once."""
    path = context.data_file(_DYNAMIC)
    if path is None or context.quick:
        instance, name = _in_seconds(generate_routing(1, clients=30, time_windows=True)), "generated"
        effort = Effort(iterations=100, scenarios=1, scenario_iterations=50)
    else:
        instance, name, effort = cast(VehicleRouting, read(path)), path.stem, Effort()
    ours, theirs = [], []
    begun = time.process_time()
    for seed in context.seeds[: 1 if context.quick else None]:
        ours.append(run_day(instance, seed=seed, effort=effort).cost)
        theirs.append(run_day(instance, "greedy", seed=seed, effort=effort).cost)
    mine, greedy = float(np.mean(ours)), float(np.mean(theirs))
    target = None if context.quick else Target("ratio", "<=", 0.9)
    cpu_s = time.process_time() - begun
    yield Measurement(name, "driving time", mine, greedy or None, "greedy", target, context.seeds, cpu_s)


def _in_seconds(instance: VehicleRouting) -> VehicleRouting:
    """The instance with a day of several hours."""
    scaled = {name: 150.0 * getattr(instance, name) for name in ("distance", "duration", "ready", "due", "service")}
    return replace(instance, **scaled)


@spec("rich-routing", "insert")
def insert(context: Context) -> Iterator[Measurement]:
    """The median time to place one more request among a thousand clients, with the desk set up."""
    clients = 60 if context.quick else 1000
    instance = generate_rich_routing(1, clients=clients, features="prizes,late,overtime,breaks,traffic")
    plain = generate_rich_routing(1, clients=clients, features="prizes")
    for label, day in (("by the timetable", instance), ("by segments", plain)):
        plan = cast(RichRoutes, solve(day, node_limit=50 if context.quick else 2000, seed=1).plan)
        took = _insertions(day, plan)
        name, note = f"{clients} clients, {label}", f"slowest {1000 * max(took):.1f} ms"
        figure = float(np.median(took))
        yield Measurement(name, "seconds", figure, target=Target("ours", "<=", 0.05), cpu_s=sum(took), note=note)


def _insertions(instance: RichRouting, plan: RichRoutes) -> list[float]:
    """Take twenty clients out one after the other and put them back; the first, which loads kernels, not counted."""
    took = []
    for route in plan.routes[:21]:
        rest = [r if r != route else RichRoute(r.vehicle, r.stops[1:], ()) for r in plan.routes]
        desk = Dispatcher(instance, RichRoutes(tuple(r for r in rest if r.stops)))
        begun = time.perf_counter()
        desk.insert(route.stops[0])
        took.append(time.perf_counter() - begun)
    return took[1:] or took
