from __future__ import annotations

from math import inf

import pytest
from hypothesis import example, given, settings

from apportion.instances.routing import VehicleRouting
from apportion.models.checking import check
from apportion.models.routing.arrays import decode, two_index
from apportion.solvers.backends import backend_named
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.status import Status
from routing_brute import optimum, random_instance, tiny


@settings(max_examples=25, deadline=None)
@given(tiny)
@example(random_instance(175, 5, timed=False, symmetric=False))
def test_the_formulation_has_the_optimum_of_enumeration(instance: VehicleRouting) -> None:
    model = two_index(instance)
    answer = backend_named("highs").run(model.compile(), SolveOptions(gap=0.0), Monitor(instance.sense))
    best = optimum(instance)
    if best == inf:
        assert answer.status is Status.INFEASIBLE
        return
    assert answer.status is Status.OPTIMAL
    assert answer.bounds.primal == pytest.approx(best)
    assert answer.values is not None
    verdict = check(instance, decode(model, answer.values))
    assert verdict.ok, verdict.violations
    assert verdict.objective == pytest.approx(best)
