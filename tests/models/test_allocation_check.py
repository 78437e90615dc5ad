"""The check of fleet allocations finds every broken rule and recomputes every objective."""

from __future__ import annotations

from math import exp, inf, log
from typing import Any

import numpy as np
import pytest

from apportion.instances.fleet import FleetAllocation, FleetShares, Share
from apportion.models.allocation.check import check


def fleet(objective: str = "max-min-fairness", **columns: Any) -> FleetAllocation:
    table = {"a": [4.0, 1.0], "b": [2.0, 0.0], "c": [1.0, 1.0]}
    usual: dict[str, Any] = {
        "scale_factor": [1, 1, 2],
        "weights": [1.0, 2.0, 1.0],
        "steps_left": [100.0, 100.0, 50.0],
        "elapsed_s": [10.0, 0.0, 0.0],
        "isolated_so_far_s": [5.0, 0.0, 0.0],
        "pairs": [[0, 1]],
        "pair_throughputs": [[[2.0, 0.5], [1.0, 0.0]]],
        "cost_per_gpu_hour": [3.0, 1.0],
    }
    return FleetAllocation.build("f", {"v": 2, "k": 2}, table, objective=objective, **{**usual, **columns})


def shares(*rows: tuple[str, str, float]) -> FleetShares:
    return FleetShares(tuple(Share(tuple(jobs.split("+")), kind, part) for jobs, kind, part in rows))


GOOD = shares(("a", "v", 0.5), ("a", "k", 0.5), ("b", "v", 0.5), ("c", "k", 0.5), ("a+b", "v", 0.0))


@pytest.mark.parametrize(
    ("rows", "rule"),
    [
        ([("z", "v", 0.1)], "unknown_job"),
        ([("a", "tpu", 0.1)], "unknown_type"),
        ([("a+c", "v", 0.1)], "unknown_pair"),
        ([("a+b+c", "v", 0.1)], "unknown_pair"),
        ([("a", "v", -0.1)], "fraction"),
        ([("a", "v", 1.1)], "fraction"),
        ([("b", "k", 0.1)], "cannot_run"),
        ([("a+b", "k", 0.1)], "cannot_run"),
        ([("a", "v", 0.7), ("a", "k", 0.7)], "time"),
        ([("a", "v", 0.7), ("b+a", "v", 0.7)], "time"),
        ([("c", "v", 0.9), ("a", "v", 0.3)], "capacity"),
    ],
)
def test_each_rule(rows: list[tuple[str, str, float]], rule: str) -> None:
    found = {violation.rule for violation in check(fleet(), shares(*rows)).violations}
    assert rule in found
    assert found <= {rule, "time"}


def test_promises_count_for_linear_objectives_only() -> None:
    promised = {"slo_s": [inf, 50.0, inf]}
    plan = shares(("b", "v", 0.5))
    assert {v.rule for v in check(fleet("min-cost", **promised), plan).violations} == {"promise"}
    assert check(fleet("makespan", **promised), plan).ok
    assert check(fleet("min-cost", **promised), shares(("b", "v", 1.0))).ok


def test_objectives_by_hand() -> None:
    rate = np.array([2.5, 1.0, 0.5])
    share = np.array([2.0, 2.0]) / 3 / (4 / 3)
    fair = np.array([5.0, 2.0, 2.0]) * share[0]
    level = rate / fair * [1, 1, 2] / np.array([1.0, 2.0, 1.0])
    alone = np.array([5.0 * 0.5, 2.0 * 0.5, 2.0 / 3])
    ratios = (np.array([10.0, 0, 0]) + np.array([100.0, 100, 50]) / rate) / (
        np.array([5.0, 0, 0]) + np.array([100.0, 100, 50]) / alone
    )
    expected = {
        "max-min-fairness": level.min(),
        "makespan": 100.0,
        "finish-time-fairness": ratios.max(),
        "max-throughput": rate.sum(),
        "throughput-per-cost": (0.5 * 4 + 0.5 * 2) / 3 + 0.5 + 0.5,
        "min-cost": 3.0 * 1.0 + 1.0 * 1.5,
        "nash-welfare": exp((log(rate[0] / fair[0]) + 2 * log(rate[1] / fair[1]) + log(rate[2] / fair[2])) / 4),
    }
    for objective, value in expected.items():
        verdict = check(fleet(objective), GOOD)
        assert verdict.ok
        assert verdict.objective == pytest.approx(value), objective
    verdict = check(fleet(), GOOD)
    assert verdict.measures["gpus_used"] == pytest.approx(2.5)
    assert verdict.measures["jobs_served"] == 3


def test_pairs_count_both_ways_round() -> None:
    one = check(fleet("max-throughput"), shares(("a+b", "v", 1.0)))
    two = check(fleet("max-throughput"), shares(("b+a", "v", 1.0)))
    assert one.objective == two.objective == pytest.approx(3.0)
    assert one.measures["gpus_used"] == 1.0


def test_nothing_for_anyone() -> None:
    plan = FleetShares()
    assert check(fleet(), plan).objective == 0.0
    assert check(fleet("makespan"), plan).objective == inf
    assert check(fleet("nash-welfare"), plan).objective == 0.0
    nobody = FleetAllocation.build("n", {"v": 1}, {})
    for objective in ("max-min-fairness", "makespan", "finish-time-fairness"):
        assert check(nobody.with_objective(objective), plan).objective == 0.0
    assert check(nobody.with_objective("nash-welfare"), plan).objective == 1.0
