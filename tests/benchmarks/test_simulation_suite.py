from __future__ import annotations

import pytest

from apportion.bench.registry import Context
from apportion.bench.suites.simulation import continuous, gavel, makespan_bound_h, scale, shockwave
from apportion.instances.generate.trace import generate_trace
from apportion.instances.trace import Fleet
from apportion.scheduling.simulator.run import simulate


def test_the_quick_cases_measure_generated_traces() -> None:
    rows = [row for measure in (gavel, shockwave, continuous, scale) for row in measure(Context(quick=True))]
    assert [row.case for row in rows] == [
        name for name in ("gavel", "shockwave", "continuous", "scale") for _ in (1, 2)
    ]
    assert all(row.ours > 0 for row in rows)


@pytest.mark.parametrize("seed", range(4))
def test_no_policy_beats_the_bound(seed: int) -> None:
    trace, fleet = generate_trace(seed, jobs=12, rate_per_hour=float("inf")), Fleet.parse("v100:2,p100:2,k80:2")
    bound = makespan_bound_h(trace.onto(fleet), fleet)
    for policy in ("makespan-exact", "gavel-makespan", "shortest", "queue-srtf", "planner"):
        outcome = simulate(trace, fleet, policy)
        if outcome.finished.all():
            assert outcome.figures()["makespan_h"] >= bound * (1 - 1e-6)
