"""Explanations of fleets: pending jobs, promises out of reach, scarce types."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import apportion
from apportion.instances.fleet import FleetAllocation
from apportion.instances.generate.fleet import generate_fleet
from apportion.models.explaining import Diagnosis
from apportion.solvers.explain import explain
from apportion.solvers.status import Status


def pressed(slo_s: list[float]) -> FleetAllocation:
    table = {"a": [2.0], "b": [1.0]}
    return FleetAllocation.build("p", {"v": 1}, table, objective="min-cost", steps_left=[10.0, 10.0], slo_s=slo_s)


def test_a_promise_that_is_too_short_alone() -> None:
    found = explain(pressed([4.0, 100.0]))
    assert found.diagnosis is Diagnosis.INFEASIBLE
    (finding,) = found.findings
    assert "job a cannot be done in 4 s" in str(finding)
    assert finding.amount == pytest.approx(1.0)


def test_promises_that_are_too_short_together() -> None:
    fleet = pressed([10.0, 10.0])
    found = explain(fleet)
    assert found.diagnosis is Diagnosis.INFEASIBLE
    assert "at least 1.5 times as long" in str(found.findings[0])
    assert apportion.solve(fleet).status is Status.INFEASIBLE
    longer = replace(fleet, slo_s=fleet.slo_s * 1.5001)
    assert explain(longer).diagnosis is Diagnosis.SOLVABLE
    assert apportion.solve(longer).status is Status.OPTIMAL


def test_prices_say_what_one_more_gpu_brings() -> None:
    fleet = generate_fleet(1, jobs=60)
    before = apportion.solve(fleet).objective
    findings = {finding.place: finding for finding in explain(fleet).findings}
    assert findings
    # the need of each job is relative to the fleet, so the larger fleet is compared by the same needs
    for kind, finding in findings.items():
        more = fleet.num_gpus + np.array([name == kind for name in fleet.gpu_types])
        larger = replace(fleet, num_gpus=more, weights=fleet.weights)
        scaled = replace(larger, weights=fleet.weights * fleet.fair_throughputs / larger.fair_throughputs)
        assert apportion.solve(scaled).objective <= (before + finding.amount) * (1 + 1e-6)
        assert not finding.blocking
