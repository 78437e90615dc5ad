"""Fleet allocations through the front door: statuses, bounds, checks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import apportion
from apportion.instances.errors import CapabilityError
from apportion.instances.fleet import OBJECTIVES, FleetAllocation
from apportion.instances.generate.fleet import generate_fleet
from apportion.solvers.status import Limit, Status


@pytest.mark.parametrize("sharing", [False, True], ids=["alone", "shared"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_default_and_program_agree(objective: str, sharing: bool) -> None:
    fleet = generate_fleet(4, jobs=16, gpus_per_type=8, sharing=sharing, promised_fraction=0.3, objective=objective)
    fast, whole = apportion.solve(fleet), apportion.solve(fleet, method="program")
    for result in (fast, whole):
        assert result.status is Status.OPTIMAL, result.message
        assert result.verdict is not None
        assert result.verdict.ok
        assert result.bounds.gap <= 1e-6
        assert not result.bounds.contradict(fleet.sense)
    assert fast.objective == pytest.approx(whole.objective, rel=2e-6)


def test_promises_out_of_reach_are_infeasible() -> None:
    fleet = generate_fleet(4, jobs=16, gpus_per_type=8, objective="min-cost")
    for seconds in (0.0, 1e-3):
        hasty = replace(fleet, slo_s=np.full(16, seconds))
        for method in ("default", "program"):
            assert apportion.solve(hasty, method=method).status is Status.INFEASIBLE


def test_parts_claim_no_proof() -> None:
    fleet = generate_fleet(4, jobs=64, gpus_per_type=64)
    result = apportion.solve(fleet, method="parts")
    assert result.status is Status.FEASIBLE
    assert result.limit is Limit.METHOD
    hasty = replace(fleet.with_objective("min-cost"), slo_s=np.full(64, 1.0))
    assert apportion.solve(hasty, method="parts").status is Status.NO_SOLUTION


def test_water_filling_is_for_fairness() -> None:
    fleet = generate_fleet(4, jobs=16, gpus_per_type=8)
    filled, plain = apportion.solve(fleet, method="water-filling"), apportion.solve(fleet)
    assert filled.status is Status.OPTIMAL
    assert filled.objective == pytest.approx(plain.objective, rel=1e-6)
    with pytest.raises(CapabilityError, match="water-filling is for max-min-fairness"):
        apportion.solve(fleet.with_objective("makespan"), method="water-filling")


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_nobody_can_run(objective: str) -> None:
    fleet = FleetAllocation.build("none", {"v": 1}, {"a": [0.0], "b": [1.0]}, scale_factor=[1, 4], objective=objective)
    for method in ("default", "program"):
        result = apportion.solve(fleet, method=method)
        assert result.status is Status.OPTIMAL
        assert result.counts["pending"] == 2
