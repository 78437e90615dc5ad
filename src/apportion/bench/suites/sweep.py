"""Quality after a fixed budget: instances by seeds, beside published best values and, for routing, beside PyVRP."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from importlib.util import find_spec
from math import nan
from pathlib import Path
from typing import Any, cast

import numpy as np

from apportion.api import solve
from apportion.bench.registry import Context, Measurement, Target, spec
from apportion.bench.runner import median_and_spread
from apportion.instances.reading import read
from apportion.instances.routing import VehicleRouting

_ROUTING_BAR = 0.08
_ROUTING_LIMIT_S = 10.0
_QUICK_LIMIT_S = 1.0
_SHIPPED = Path(str(files("apportion.instances") / "data"))


@dataclass(frozen=True)
class RoutingCase:
    """A file of the data folder and the factor that makes its distances integer."""

    name: str
    real: str
    scale: int


ROUTING = (
    RoutingCase("X-n101-k25", "logistics/cvrp/X/X-n101-k25.vrp", 1),
    RoutingCase("X-n502-k39", "logistics/cvrp/X/X-n502-k39.vrp", 1),
    RoutingCase("R101", "logistics/vrptw/solomon/R101.txt", 10),
    RoutingCase("C101", "logistics/vrptw/solomon/C101.txt", 10),
    RoutingCase("RC108", "logistics/vrptw/solomon/RC108.txt", 10),
)


def _routing(case: RoutingCase, context: Context) -> Iterator[Measurement]:
    """Gap to the best known value after ten seconds, median over the seeds, and the proven gap."""
    path = context.data_file(case.real)
    if path is None or (context.quick and case is not ROUTING[0]):
        return
    best = _best_known(context, case.name)
    limit, seeds = (_QUICK_LIMIT_S, context.seeds[:1]) if context.quick else (_ROUTING_LIMIT_S, context.seeds)
    instance = cast(VehicleRouting, read(path))
    solve(instance, time_limit_s=_QUICK_LIMIT_S, seed=0)  # compiles
    ours, theirs, proven, cpu_s = [], [], [], 0.0
    for seed in seeds:
        result = solve(instance, time_limit_s=limit, seed=seed)
        ours.append(result.objective / best - 1.0)
        proven.append(result.bounds.dual / best)
        cpu_s += result.timings.cpu_s
        if context.wants("pyvrp") and find_spec("pyvrp"):
            theirs.append(pyvrp_objective(instance, case.scale, limit, seed) / best - 1.0)
    middle, spread = float(np.median(ours)), max(ours) - min(ours)
    peer = float(np.median(theirs)) if theirs else None
    yield Measurement(
        case.name,
        f"gap to best known after {limit:g} s",
        middle,
        peer,
        "pyvrp" if theirs else "",
        Target("ours", "<=", _ROUTING_BAR),
        seeds,
        cpu_s,
        spread,
        "spread is max - min" if theirs or not context.wants("pyvrp") else "pyvrp is not installed",
    )
    bound, bound_spread = median_and_spread(proven)
    # a proven bound beyond the best known value would be false
    yield Measurement(
        case.name, "bound / best known", bound, None, "", Target("ours", "<=", 1.0), seeds, 0, bound_spread
    )


def _best_known(context: Context, name: str) -> float:
    table = context.data_file("logistics/best_known.csv")
    if table is None:
        return nan
    with table.open(encoding="utf-8") as lines:
        return next((float(row["best_known"]) for row in csv.DictReader(lines) if row["instance"] == name), nan)


def pyvrp_objective(instance: VehicleRouting, scale: int, limit_s: float, seed: int) -> float:
    """The distance that PyVRP finds in ``limit_s`` seconds with its defaults, on the same matrices."""
    import pyvrp
    from pyvrp.stop import MaxRuntime

    data = _pyvrp_data(pyvrp, instance, scale)
    result = pyvrp.solve(data, MaxRuntime(limit_s), seed=seed, collect_stats=False, display=False)
    return float(result.cost()) / scale


def _pyvrp_data(pyvrp: Any, instance: VehicleRouting, scale: int) -> Any:
    far = np.iinfo(np.int64).max

    def whole(value: float) -> int:
        return far if np.isinf(value) else int(np.floor(value * scale + 1e-6))

    distance = np.rint(instance.distance * scale).astype(np.int64)
    duration = np.floor(instance.duration * scale + 1e-6).astype(np.int64)
    points = instance.coordinates if instance.coordinates is not None else np.zeros((len(distance), 2))
    locations = [pyvrp.Location(int(x), int(y)) for x, y in points]
    clients = [
        pyvrp.Client(
            i,
            delivery=[int(instance.demand[i])],
            service_duration=whole(float(instance.service[i])),
            tw_early=whole(float(instance.ready[i])),
            tw_late=whole(float(instance.due[i])),
        )
        for i in range(1, len(distance))
    ]
    depot = pyvrp.Depot(0, tw_early=whole(float(instance.ready[0])), tw_late=whole(float(instance.due[0])))
    vehicles = pyvrp.VehicleType(instance.num_vehicles or len(clients), capacity=[int(instance.capacity)])
    return pyvrp.ProblemData(locations, clients, [depot], [vehicles], [distance], [duration])


def _stand_in(file: str, context: Context) -> Iterator[Measurement]:
    """The proven gap on a shipped file: the smallest case of each domain, and all there is without the data."""
    limit = _QUICK_LIMIT_S * 3 if context.quick else _ROUTING_LIMIT_S
    seeds = context.seeds[:1] if context.quick else context.seeds
    gaps, cpu_s = [], 0.0
    for seed in seeds:
        result = solve(_SHIPPED / file, time_limit_s=limit, seed=seed)
        gaps.append(result.bounds.gap)
        cpu_s += result.timings.cpu_s
    yield Measurement(file, f"proven gap after {limit:g} s", float(np.median(gaps)), seeds=seeds, cpu_s=cpu_s)


def _closed(
    name: str, real: str, limit_s: float, gap: float, target: Target
) -> Callable[[Context], Iterable[Measurement]]:
    def measure(context: Context) -> Iterator[Measurement]:
        path = None if context.quick else context.data_file(real)
        if path is None:
            return
        result = solve(path, time_limit_s=limit_s, gap=gap)
        yield Measurement(
            name,
            f"proven gap within {limit_s:g} s",
            result.bounds.gap,
            target=target,
            seeds=(0,),
            cpu_s=result.timings.cpu_s,
        )

    return measure


for _case in ROUTING:
    spec("sweep", _case.name)(partial(_routing, _case))
for _file in ("cluster_small.json", "routing_small.vrp", "routing_windows.txt", "commitment_small.json"):
    spec("sweep", _file)(partial(_stand_in, _file))
spec("sweep", "rts_gmlc/2020-06-09")(
    _closed(
        "rts_gmlc/2020-06-09",
        "power/pglib-uc/rts_gmlc/2020-06-09.json",
        300,
        1e-3,
        Target("ours", "<=", 1e-3),
    )
)
spec("sweep", "openb default")(
    _closed("openb default", "gpu/openb/openb_pod_list_default.csv.gz", 60, 1e-4, Target("ours", "<=", 1e-2))
)
