"""Gangs on a training cluster: topology levels, quotas, anti-affinity; ours against greedy rules, the bound beside."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

from apportion.bench.registry import Context, Measurement, Target, spec
from apportion.instances.cluster import ClusterPlacement, Placement
from apportion.instances.generate.cluster_rules import generate_gangs
from apportion.models.checking import check
from apportion.solvers.cluster.gang_greedy import BEST_FIT, FIRST_FIT, ORDERS, place_greedily
from apportion.solvers.options import SolveOptions
from apportion.solvers.solve import solve_instance

_NODES, _QUICK_NODES = (16, 32, 64), (6,)
_LIMIT_S, _QUICK_LIMIT_S = 60.0, 5.0
_GAP_BAR = 3.0


def _served(instance: ClusterPlacement, plan: Placement | None) -> float:
    """The value that a plan serves; NaN when the check finds anything."""
    verdict = None if plan is None else check(instance, plan)
    return verdict.measures["value"] if verdict is not None and verdict.ok else float("nan")


@dataclass(frozen=True)
class _Case:
    """One instance: percent of the bound that each way serves, and what ours took."""

    ours: float
    first: float
    best: float
    in_best_order: float
    gap: float
    levels: float
    cpu_s: float

    @classmethod
    def of(cls, instance: ClusterPlacement, limit_s: float) -> _Case:
        """Solve it and place it greedily."""
        began = time.process_time()
        result = solve_instance(instance, SolveOptions(time_limit_s=limit_s))
        spent = time.process_time() - began
        share = 100.0 / result.bounds.dual
        ordered = [_served(instance, place_greedily(instance, BEST_FIT, order)) for order in ORDERS]
        return cls(
            share * result.objective,
            share * _served(instance, place_greedily(instance, FIRST_FIT, "given")),
            share * ordered[ORDERS.index("given")],
            share * max(ordered),
            100.0 * result.bounds.gap,
            result.verdict.measures["topology"] if result.verdict else float("nan"),
            spent,
        )


@spec("cluster", "gangs")
def gangs(context: Context) -> Iterator[Measurement]:
    """Value served (GPUs times one plus priority), in percent of the proven bound."""
    seeds = tuple(context.seeds[:1] if context.quick else context.seeds)
    limit = context.limit_s or (_QUICK_LIMIT_S if context.quick else _LIMIT_S)
    for nodes in _QUICK_NODES if context.quick else _NODES:
        cases = [_Case.of(generate_gangs(seed, nodes), limit) for seed in seeds]
        note = (
            f"best-fit in its best order {fmean(case.in_best_order for case in cases):.2f}, "
            f"first-fit {fmean(case.first for case in cases):.2f}, "
            f"{fmean(case.levels for case in cases):.1f} levels too wide"
        )
        name = f"gangs, {8 * nodes} GPUs"
        yield Measurement(
            name,
            "value served, % of the bound",
            fmean(case.ours for case in cases),
            fmean(case.best for case in cases),
            "best-fit by topology, as they arrive",
            None if context.quick else Target("ratio", ">=", 1.0),
            seeds,
            fmean(case.cpu_s for case in cases),
            note=note,
        )
        yield Measurement(
            name,
            "gap to the bound, %",
            fmean(case.gap for case in cases),
            target=None if context.quick else Target("ours", "<=", _GAP_BAR),
            seeds=seeds,
            note=f"most {max(case.gap for case in cases):.2f} %",
        )
