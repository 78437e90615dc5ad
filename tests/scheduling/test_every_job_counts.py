"""Every job that enters is running, pending with a reason, finished or rejected with a reason, whatever happens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.errors import InstanceError
from apportion.instances.trace import Fleet, JobTrace
from apportion.scheduling.simulator.failures import draw_failures
from apportion.scheduling.simulator.record import JobState, Simulation
from apportion.scheduling.simulator.rounds import RoundRules
from apportion.scheduling.simulator.run import simulate

_POLICIES = (
    "shortest",
    "planner",
    "fifo",
    "gavel-las",
    "max-min-perf",
    "queue-fifo",
    "queue-backfill",
    "queue-srtf",
    "queue-edf-preempt",
)


@st.composite
def traces(draw: st.DrawFn) -> JobTrace:
    count = draw(st.integers(1, 8))
    gaps = draw(st.lists(st.sampled_from([0.0, 10.0, 400.0, 5000.0]), min_size=count, max_size=count))
    rates = draw(st.lists(st.sampled_from([0.0, 0.5, 3.0]), min_size=2 * count, max_size=2 * count))
    return JobTrace(
        "drawn",
        ("a", "b"),
        tuple(f"j{i}" for i in range(count)),
        np.cumsum(gaps),
        np.array(draw(st.lists(st.sampled_from([1.0, 600.0, 4000.0]), min_size=count, max_size=count))),
        np.array(draw(st.lists(st.integers(1, 5), min_size=count, max_size=count))),
        np.array(rates).reshape(count, 2),
        deadline_s=np.full(count, draw(st.sampled_from([np.inf, 1000.0]))),
        kinds=tuple(draw(st.lists(st.sampled_from(["lab", "web"]), min_size=count, max_size=count))),
    )


def assert_all_accounted_for(outcome: Simulation) -> None:
    trace = outcome.trace
    assert len(outcome.state) == trace.num_jobs
    for job, state in enumerate(outcome.state):
        if state in (JobState.PENDING, JobState.REJECTED):
            assert outcome.reasons[job]
        if state is JobState.FINISHED:
            assert outcome.finish_s[job] >= trace.arrival_s[job]
            assert job not in outcome.reasons
        else:
            assert np.isnan(outcome.finish_s[job])
        if state is JobState.NOT_ARRIVED:
            assert trace.arrival_s[job] >= outcome.end_s
    work = outcome.stretches
    assert (work.end_s >= work.start_s).all()
    for moment in np.unique(work.start_s):
        for kind, most in enumerate(outcome.fleet.num_gpus):
            running = (work.kind == kind) & (work.start_s <= moment) & (work.end_s > moment)
            assert trace.num_gpus[work.job[running]].sum() <= most


@settings(max_examples=50, deadline=None)
@given(
    trace=traces(),
    policy=st.sampled_from(_POLICIES),
    gpus=st.tuples(st.integers(0, 3), st.integers(0, 4)),
    quota=st.sampled_from([None, 0, 2, 4]),
    fails=st.booleans(),
    until=st.sampled_from([np.inf, 2000.0]),
)
def test_no_job_is_lost(
    trace: JobTrace, policy: str, gpus: tuple[int, int], quota: int | None, fails: bool, until: float
) -> None:
    fleet = Fleet(("a", "b"), gpus)
    failures = draw_failures(fleet, 3000.0, 500.0, 2e4, seed=1) if fails else ()
    quotas = {} if quota is None or trace.kinds[0] != "lab" else {"lab": quota}
    rules = RoundRules(restart_s=20.0, until_s=until)
    outcome = simulate(trace, fleet, policy, rules, failures=failures, quotas=quotas)
    assert_all_accounted_for(outcome)
    if not np.isfinite(until):
        assert {JobState.PENDING, JobState.RUNNING, JobState.NOT_ARRIVED}.isdisjoint(outcome.state)
    for job, kind in enumerate(outcome.trace.kinds):
        if outcome.trace.num_gpus[job] > quotas.get(kind, 99) and outcome.state[job] is not JobState.NOT_ARRIVED:
            assert outcome.state[job] is JobState.REJECTED


@settings(max_examples=25, deadline=None)
@given(trace=traces(), policy=st.sampled_from(_POLICIES), quota=st.integers(1, 4))
def test_quotas_hold_at_every_moment(trace: JobTrace, policy: str, quota: int) -> None:
    quotas = {trace.kinds[0]: quota}
    outcome = simulate(trace, Fleet(("a", "b"), (4, 4)), policy, quotas=quotas)
    work = outcome.stretches
    mine = np.array([kind == trace.kinds[0] for kind in trace.kinds])[work.job]
    for moment in np.unique(work.start_s):
        running = mine & (work.start_s <= moment) & (work.end_s > moment)
        assert trace.num_gpus[work.job[running]].sum() <= quota


@pytest.mark.parametrize("policy", ["shortest", "queue-backfill"])
def test_who_waits_for_a_quota_is_told_so(policy: str) -> None:
    trace = JobTrace(
        "two",
        ("a",),
        ("j0", "j1"),
        np.zeros(2),
        np.full(2, 1e5),
        np.array([2, 2]),
        np.ones((2, 1)),
        kinds=("lab", "lab"),
    )
    outcome = simulate(trace, Fleet(("a",), (4,)), policy, RoundRules(until_s=1000.0), quotas={"lab": 3})
    assert outcome.state[1] is JobState.PENDING
    assert "quota" in outcome.reasons[1]
    assert outcome.queueing["over-quota"] > 0


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("throughput", np.array([[np.nan, 1.0], [1.0, 1.0]]), "throughput"),
        ("throughput", np.array([[-1.0, 1.0], [1.0, 1.0]]), "throughput"),
        ("arrival_s", np.array([5.0, 1.0]), "goes back in time"),
        ("arrival_s", np.array([0.0, np.inf]), "arrival_s"),
        ("steps", np.array([0.0, 1.0]), "steps"),
        ("jobs", ("j", "j"), "repeats the identifier"),
    ],
)
def test_what_makes_no_sense_is_refused(column: str, value: object, said: str) -> None:
    trace = JobTrace("t", ("a", "b"), ("j0", "j1"), np.zeros(2), np.ones(2), np.array([1, 1]), np.ones((2, 2)))
    with pytest.raises(InstanceError) as error:
        replace(trace, **{column: value})  # type: ignore[arg-type]
    assert said in str(error.value)


def test_types_that_the_trace_does_not_know_stay_idle() -> None:
    trace = JobTrace("t", ("a",), ("j0",), np.zeros(1), np.ones(1), np.array([1]), np.ones((1, 1)))
    for policy in ("shortest", "queue-fifo"):
        outcome = simulate(trace, Fleet(("tpu",), (4,)), policy)
        assert outcome.state == (JobState.REJECTED,)
        assert "runs on none of tpu" in outcome.reasons[0]
