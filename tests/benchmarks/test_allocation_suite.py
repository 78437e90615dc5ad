"""The allocation suite runs on small stand-ins, and its peers solve the same program."""

from __future__ import annotations

import pytest

from apportion.bench.registry import Context
from apportion.bench.suites.allocation import allocation, scipy_level
from apportion.instances.generate.fleet import generate_fleet
from apportion.solvers.allocation.policies import POLICIES


def test_scipy_solves_the_same_program() -> None:
    fleet = generate_fleet(2, jobs=24, sharing=True)
    assert scipy_level(fleet) == pytest.approx(POLICIES["max-min-packed"](fleet).objective, rel=1e-6)


def test_quick_run_has_every_peer_and_no_worse_objective() -> None:
    found = list(allocation(Context(quick=True)))
    peers = {measured.peer_name for measured in found}
    assert {"highs", "scipy", "pop-8"} <= peers
    for measured in found:
        if measured.target is not None and measured.metric != "cpu s":
            assert measured.target.holds(measured.ours, measured.ratio), measured
