from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.errors import BackendError, OptionError
from apportion.instances.formats.job_traces import read_trace
from apportion.instances.generate.trace import generate_trace
from apportion.instances.trace import Fleet, JobTrace, Longs
from apportion.scheduling.policies import SCHEDULERS, scheduler_named
from apportion.scheduling.simulator.failures import Failure, capacity_between, draw_failures
from apportion.scheduling.simulator.queues import QUEUE_RULES, simulate_queue
from apportion.scheduling.simulator.record import JobState, Simulation
from apportion.scheduling.simulator.rounds import SHOCKWAVE, RoundRules, simulate_rounds
from apportion.scheduling.simulator.run import policy_names, simulate
from apportion.scheduling.simulator.view import RoundView
from realdata import data_file

_FLEET = Fleet.parse("v100:3,k80:2")
_ROUND_POLICIES = ("planner", "shortest", "gavel-las", "gavel-makespan", "gandiva-fair", "fifo", "srtf", "max-min-perf")


def _jobs(
    seconds: Sequence[float], gpus: Sequence[int] | None = None, arrival: Sequence[float] | None = None
) -> JobTrace:
    count = len(seconds)
    return JobTrace(
        "hand",
        ("v100",),
        tuple(f"j{i}" for i in range(count)),
        np.array(arrival if arrival is not None else np.zeros(count), np.float64),
        np.array(seconds, np.float64),
        np.array(gpus if gpus is not None else np.ones(count), np.int64),
        np.ones((count, 1)),
    )


def _peak_ok(outcome: Simulation) -> None:
    """At no time more GPUs work than there are, of any type."""
    work, gpus = outcome.stretches, outcome.trace.num_gpus
    assert (work.end_s >= work.start_s).all()
    for kind, there in enumerate(outcome.fleet.num_gpus):
        mine = work.kind == kind
        moments = sorted(
            [(float(e), 0, -int(gpus[j])) for e, j in zip(work.end_s[mine], work.job[mine], strict=True)]
            + [(float(s), 1, int(gpus[j])) for s, j in zip(work.start_s[mine], work.job[mine], strict=True)]
        )
        level = 0
        for _, _, change in moments:
            level += change
            assert level <= there


def _nothing_lost(outcome: Simulation, failures: Sequence[Failure] = ()) -> None:
    """Every job that came is in one state, with a reason when it waits or was turned away."""
    trace = outcome.trace
    for job, state in enumerate(outcome.state):
        came = trace.arrival_s[job] <= outcome.end_s
        assert came or state is JobState.NOT_ARRIVED
        if state in (JobState.PENDING, JobState.REJECTED):
            assert outcome.reasons[job]
        else:
            assert job not in outcome.reasons
        assert (state is JobState.FINISHED) == bool(np.isfinite(outcome.finish_s[job]))
    done = outcome.finished
    assert (outcome.first_start_s[done] >= trace.arrival_s[done]).all()
    assert (outcome.finish_s[done] >= outcome.first_start_s[done]).all()
    if not failures:
        assert (outcome.completion_s[done] >= trace.shortest_s[done] * (1 - 1e-9) - 1e-6).all()
    assert (np.diff(outcome.stretches.start_s) >= 0).all()


@st.composite
def _cases(draw: st.DrawFn) -> tuple[JobTrace, float, tuple[Failure, ...]]:
    seed = draw(st.integers(0, 10_000))
    trace = generate_trace(seed, jobs=draw(st.integers(1, 14)), hours=draw(st.sampled_from([0.05, 0.4])), deadlines=0.5)
    rates = trace.throughput.copy()
    rates[:, 1] = 0.0
    if draw(st.booleans()):
        rates[draw(st.integers(0, trace.num_jobs - 1))] = 0.0
    trace = JobTrace(
        trace.name, trace.gpu_types, trace.jobs, trace.arrival_s, trace.steps, trace.num_gpus, rates,
        deadline_s=trace.deadline_s,
    )  # fmt: skip
    until = draw(st.sampled_from([np.inf, 3000.0, 9000.0]))
    failures = draw_failures(_FLEET, 9000.0, 1200.0, 20_000.0, seed) if draw(st.booleans()) else ()
    return trace, until, failures


@settings(max_examples=40, deadline=None)
@given(_cases(), st.sampled_from(_ROUND_POLICIES))
def test_rounds_lose_no_job(case: tuple[JobTrace, float, tuple[Failure, ...]], policy: str) -> None:
    trace, until, failures = case
    rules = RoundRules(600.0, 30.0, until_s=until)
    outcome = simulate(trace, _FLEET, policy, rules, failures=failures)
    _nothing_lost(outcome, failures)
    _peak_ok(outcome)
    if until == np.inf:
        assert all(state in (JobState.FINISHED, JobState.REJECTED) for state in outcome.state)
    again = simulate(trace, _FLEET, policy, rules, failures=failures)
    np.testing.assert_array_equal(outcome.finish_s, again.finish_s)


@settings(max_examples=50, deadline=None)
@given(_cases(), st.sampled_from(sorted(QUEUE_RULES)))
def test_queues_lose_no_job(case: tuple[JobTrace, float, tuple[Failure, ...]], rule: str) -> None:
    trace, until, failures = case
    outcome = simulate_queue(trace, _FLEET, rule, restart_s=30.0, until_s=until, failures=failures)
    _nothing_lost(outcome, failures)
    _peak_ok(outcome)
    if until == np.inf:
        assert all(state in (JobState.FINISHED, JobState.REJECTED) for state in outcome.state)


def _naive_queue(trace: JobTrace, gpus: int, key: Longs, overtaking: bool) -> list[float]:
    """A queue on one type without preemption, second by second."""
    finish = [np.inf] * trace.num_jobs
    end: dict[int, float] = {}
    waiting: list[int] = []
    now = 0
    while len(end) < trace.num_jobs or any(e > now for e in end.values()):
        waiting += [j for j in range(trace.num_jobs) if trace.arrival_s[j] == now]
        free = gpus - sum(int(trace.num_gpus[j]) for j, e in end.items() if e > now)
        for job in sorted(waiting, key=lambda j: (key[j], j)):
            if trace.num_gpus[job] <= free:
                free -= int(trace.num_gpus[job])
                end[job] = finish[job] = now + float(trace.steps[job])
                waiting.remove(job)
            elif not overtaking:
                break
        now += 1
    return finish


@pytest.mark.kernels
@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 3), st.integers(0, 12)), min_size=1, max_size=9))
def test_the_kernel_agrees_with_its_naive_twin(rows: list[tuple[int, int, int]]) -> None:
    rows = sorted(rows, key=lambda row: row[2])
    trace = _jobs([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])
    fleet = Fleet.parse("v100:3")
    by_arrival, by_length = trace.arrival_s.astype(np.int64), trace.steps.astype(np.int64)
    for rule, key, overtaking in (
        ("fifo", by_arrival, False),
        ("backfill", by_arrival, True),
        ("sjf", by_length, True),
    ):
        expected = _naive_queue(trace, 3, key, overtaking)
        assert simulate_queue(trace, fleet, rule).finish_s.tolist() == expected


def test_shortest_rest_stops_a_long_job() -> None:
    trace = _jobs([100.0, 10.0], arrival=[0.0, 20.0])
    outcome = simulate_queue(trace, Fleet.parse("v100:1"), "srtf", restart_s=5.0)
    assert outcome.finish_s.tolist() == [115.0, 30.0]
    assert outcome.preemptions.tolist() == [1, 0]
    assert outcome.figures()["preemptions"] == 1.0


def test_a_late_job_does_not_make_others_late() -> None:
    trace = _jobs([50.0, 60.0, 40.0])
    due = JobTrace(
        trace.name, trace.gpu_types, trace.jobs, trace.arrival_s, trace.steps, trace.num_gpus, trace.throughput,
        deadline_s=np.array([10.0, 100.0, 45.0]),
    )  # fmt: skip
    assert simulate_queue(due, Fleet.parse("v100:1"), "edf").finish_s.tolist() == [150.0, 100.0, 40.0]


def test_a_failure_stops_the_last_job_to_start() -> None:
    failures = (Failure(10.0, 30.0, "v100", 1),)
    outcome = simulate_queue(_jobs([40.0, 40.0]), Fleet.parse("v100:2"), "fifo", failures=failures)
    assert outcome.finish_s.tolist() == [40.0, 60.0]
    assert capacity_between(Fleet.parse("v100:2"), failures, 0.0, 5.0).tolist() == [2]
    assert capacity_between(Fleet.parse("v100:2"), failures, 0.0, 11.0).tolist() == [1]
    rounds = simulate_rounds(
        _jobs([40.0, 40.0]), Fleet.parse("v100:2"), scheduler_named("shortest"), RoundRules(20.0), failures=failures
    )
    assert rounds.preemptions.sum() == 1
    assert rounds.finished.all()


def test_jobs_that_never_fit_are_rejected_with_the_reason() -> None:
    trace = JobTrace(
        "x", ("v100", "k80"), ("big", "odd", "fine"), np.zeros(3), np.full(3, 60.0), np.array([8, 1, 1]),
        np.array([[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]]),
    )  # fmt: skip
    for policy in ("queue-fifo", "shortest", "planner"):
        outcome = simulate(trace, _FLEET, policy)
        assert outcome.state == (JobState.REJECTED, JobState.REJECTED, JobState.FINISHED)
        assert outcome.reasons[0] == "asks for 8 GPUs of one type, the fleet has at most 3 of a type it runs on"
        assert "every throughput is 0" in outcome.reasons[1]
        assert outcome.to_dict()["jobs"][0]["reason"]


def test_waiting_is_explained() -> None:
    outcome = simulate(_jobs([9000.0, 9000.0], [2, 2]), Fleet.parse("v100:3"), "shortest", RoundRules(until_s=720.0))
    assert sorted(str(s) for s in outcome.state) == ["pending", "running"]
    assert "needs 2 GPUs of one type, 1 are free" in outcome.reasons.values()
    assert outcome.queueing == {"gang-too-large": 1440.0}


def test_a_restart_costs_a_part_of_a_full_round() -> None:
    class Turns:
        def choose(self, view: RoundView) -> Longs:
            chosen = np.full(len(view.jobs), -1, np.int64)
            chosen[int(view.now_s // 100.0) % len(view.jobs)] = 0
            return chosen

    outcome = simulate_rounds(_jobs([200.0, 200.0]), Fleet.parse("v100:1"), Turns(), RoundRules(100.0, 20.0))
    assert outcome.preemptions.sum() >= 2
    assert outcome.busy_s[0] >= 400.0 + 20.0


def test_schedulers_that_cheat_are_stopped() -> None:
    class Greedy:
        def choose(self, view: RoundView) -> Longs:
            return np.zeros(len(view.jobs), np.int64)

    class Lazy:
        def choose(self, view: RoundView) -> Longs:
            return np.full(len(view.jobs), -1, np.int64)

    with pytest.raises(BackendError, match="takes 2 of 1 v100"):
        simulate_rounds(_jobs([10.0, 10.0]), Fleet.parse("v100:1"), Greedy())
    with pytest.raises(BackendError, match="wait for ever"):
        simulate_rounds(_jobs([10.0]), Fleet.parse("v100:1"), Lazy())


def test_names() -> None:
    assert set(SCHEDULERS) <= set(policy_names())
    for wrong in ("nonsense", "queue-nonsense"):
        with pytest.raises(OptionError, match="Maybe one of"):
            simulate(_jobs([1.0]), _FLEET, wrong)
    with pytest.raises(OptionError):
        RoundRules(10.0, 10.0)


@pytest.mark.data
def test_the_published_figures_of_gavel_and_shockwave() -> None:
    table = data_file("gpu/gavel/physical_cluster_throughputs.json.gz")
    stream = read_trace(data_file("gpu/gavel/traces/max_min_fairness.trace"), table)
    fleet = Fleet.parse("v100:8,p100:16,k80:24")
    assert simulate(stream, fleet, "gavel-las").figures()["mean_jct_h"] == pytest.approx(3.82, rel=0.01)
    assert simulate(stream, fleet, "shortest").figures()["mean_jct_h"] < 3.4
    name = "gpu/shockwave/120_0.2_5_100_40_25_0_0.5_0.5_0.6_0.3_0.09_0.01_multigpu_dynamic.trace.gz"
    trace = read_trace(data_file(name))
    figures = simulate(trace, Fleet.parse("v100:32"), "gandiva-fair", SHOCKWAVE).figures()
    assert figures["makespan_h"] * 3600 == pytest.approx(32367.4, rel=0.01)
    assert figures["mean_jct_h"] * 3600 == pytest.approx(12574.3, rel=0.01)
    assert figures["worst_fairness"] == pytest.approx(1.8536, rel=0.01)


@pytest.mark.data
def test_the_planner_beats_the_best_published_in_all_columns() -> None:
    name = "gpu/shockwave/120_0.2_5_100_40_25_0_0.5_0.5_0.6_0.3_0.09_0.01_multigpu_dynamic.trace.gz"
    figures = simulate(read_trace(data_file(name)), Fleet.parse("v100:32"), "planner", SHOCKWAVE).figures()
    assert figures["makespan_h"] * 3600 <= 24197.4
    assert figures["mean_jct_h"] * 3600 <= 9654.7
    assert figures["worst_fairness"] <= 1.78
    assert figures["unfair_percent"] <= 5.0
