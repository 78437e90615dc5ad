"""The fault table: whatever fails, nothing is lost and no job is started twice."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

import live_crash
import live_fakes as fakes
from apportion.scheduling.live import Action, Journal, LoopOptions, Outcome, OutcomeStatus, Phase, Verb
from apportion.scheduling.live.clock import SteadyClock
from apportion.scheduling.live.deciding import InlineDecider, WorkerDecider
from apportion.scheduling.live.loop import ControlLoop
from apportion.scheduling.live.rules import greedy
from apportion.scheduling.live.simulated import Failing, SimulatedCluster

NAMES = [f"j{i}" for i in range(30)]


def submit_mixed(cluster: SimulatedCluster, count: int = 30) -> None:
    draw = random.Random(3)
    for i in range(count):
        gpus, workers = draw.choice([1, 1, 2, 4, 8]), 1
        cluster.submit(fakes.job(f"j{i}", gpus, workers, draw.choice([20.0, 60.0, 200.0])))


def test_without_faults_all_jobs_end() -> None:
    cluster = fakes.two_nodes()
    submit_mixed(cluster)
    fakes.drain(cluster, fakes.loop_on(cluster))
    fakes.assert_each_started_once(cluster, NAMES, generations=0)
    assert cluster.refused == []


def test_controller_restart_in_every_round() -> None:
    cluster = fakes.two_nodes(start_delay_s=15.0)
    submit_mixed(cluster)
    for _ in range(500):
        fakes.loop_on(cluster).round()
        cluster.advance(10.0)
        if not cluster.jobs:
            break
    fakes.assert_each_started_once(cluster, NAMES, generations=0)


@pytest.mark.parametrize("point", ["before", "between", "after"])
def test_kill_9_between_journal_and_act(point: str, tmp_path: Path) -> None:
    def run(die: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, live_crash.__file__, str(tmp_path), die]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    killed = run(point)
    assert killed.returncode == -9
    journal = Journal(tmp_path / "journal.db")
    under_way = [entry.action for entry in journal.open_entries() if entry.action.verb is Verb.START]
    journal.close()
    assert len(under_way) == 4
    finished = run("never")
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("was under way when the last scheduler ended") == 4
    starts = (tmp_path / "starts.log").read_text(encoding="utf-8").split()
    assert sorted(starts) == sorted(str(i) for i in range(live_crash.NUM_JOBS))
    journal = Journal(tmp_path / "journal.db")
    assert journal.open_entries() == []
    journal.close()


def test_node_down_while_its_jobs_start() -> None:
    cluster = fakes.two_nodes(start_delay_s=25.0)
    cluster.submit(fakes.job("j0", 4, seconds=60.0))
    loop = fakes.loop_on(cluster)
    loop.round()
    (placed,) = cluster.jobs["j0"].nodes
    cluster.set_node(placed, up=False)
    cluster.advance(5.0)
    done = loop.round()
    assert [action.verb for action in done.actions] == [Verb.WITHDRAW]
    assert f"{placed} went down" in " ".join(done.messages)
    cluster.advance(5.0)
    loop.round()
    assert cluster.jobs["j0"].nodes
    assert cluster.jobs["j0"].nodes != (placed,)
    fakes.drain(cluster, loop)
    fakes.assert_each_started_once(cluster, ["j0"])


def test_node_down_under_running_jobs() -> None:
    cluster = fakes.two_nodes()
    submit_mixed(cluster)
    loop = fakes.loop_on(cluster)
    loop.round()
    cluster.advance(10.0)
    cluster.set_node("a100-1", up=False)
    done = loop.round()
    waits = {decision.job: decision.reason for decision in done.decisions if not decision.starts}
    assert any(reason.code == "NodesDown" for reason in waits.values())
    cluster.advance(50.0)
    cluster.set_node("a100-1", up=True)
    fakes.drain(cluster, loop)
    fakes.assert_each_started_once(cluster, NAMES)
    assert max(generation for _, generation in cluster.starts) == 1


@pytest.mark.parametrize("seed", range(5))
def test_orders_that_time_out_or_fail(seed: int) -> None:
    draw = random.Random(seed)
    cluster = fakes.two_nodes(start_delay_s=draw.choice([0.0, 15.0]))
    submit_mixed(cluster)
    cluster.failing = [draw.choice([None, *Failing]) for _ in range(120)]
    fakes.drain(cluster, fakes.loop_on(cluster))
    fakes.assert_each_started_once(cluster, NAMES, generations=0)


def test_a_start_whose_answer_is_lost_keeps_its_room_until_it_is_seen() -> None:
    cluster = fakes.two_nodes()
    cluster.submit(fakes.job("j0", 8), fakes.job("j1", 8))
    cluster.failing = [Failing.LOST]
    loop = fakes.loop_on(cluster)
    first = loop.round()
    assert [o.status for o in first.outcomes if o.action.verb is Verb.START] == [OutcomeStatus.UNKNOWN]
    cluster.advance(5.0)
    assert not any(action.verb is Verb.START for action in loop.round().actions)
    cluster.advance(30.0)
    again = loop.round()
    assert "not confirmed within 30 s" in again.messages[0]
    assert sum(action.verb is Verb.START for action in again.actions) == 1


def test_a_cluster_that_does_not_answer() -> None:
    cluster = fakes.two_nodes()
    submit_mixed(cluster)
    loop = fakes.loop_on(cluster)
    cluster.deaf = 5
    rounds = [loop.round() for _ in range(5)]
    assert all(done.state is None and "does not answer" in done.messages[0] for done in rounds)
    fakes.drain(cluster, loop)
    fakes.assert_each_started_once(cluster, NAMES, generations=0)


def test_duplicated_and_reordered_observations() -> None:
    draw = random.Random(1)
    cluster = fakes.two_nodes(start_delay_s=5.0)
    submit_mixed(cluster)
    loop = fakes.loop_on(cluster)
    seen = []
    for _ in range(600):
        seen.append(cluster.look())
        if draw.random() < 0.4:
            cluster.stale = [draw.choice(seen[-6:])]
        loop.round()
        cluster.advance(10.0)
        if not cluster.jobs:
            break
    fakes.assert_each_started_once(cluster, NAMES, generations=0)


def test_an_old_observation_is_left_aside() -> None:
    cluster = fakes.two_nodes()
    cluster.submit(fakes.job("j0"))
    before = cluster.look()
    loop = fakes.loop_on(cluster)
    loop.round()
    loop.round()
    cluster.stale = [before]
    done = loop.round()
    assert done.state is None
    assert "left aside" in done.messages[0]


def test_observations_without_a_version_do_not_start_a_job_twice() -> None:
    cluster = fakes.two_nodes()
    cluster.submit(fakes.job("j0"))
    before = cluster.look()
    loop = fakes.loop_on(cluster)
    loop.round()
    object.__setattr__(before, "version", 10_000)
    cluster.stale = [before] * 3
    assert all(not loop.round().actions for _ in range(3))
    assert cluster.starts[("j0", 0)] == 1


@pytest.mark.parametrize("jump_s", [-86_400.0, 86_400.0])
def test_clock_jumps(jump_s: float) -> None:
    cluster = fakes.two_nodes()
    submit_mixed(cluster)
    shift = [0.0]
    clock = SteadyClock(lambda: cluster.now_s + shift[0], lambda: cluster.now_s)
    loop = ControlLoop(cluster, InlineDecider(greedy()), Journal(None), LoopOptions(budget_s=0.0), clock)
    loop.round()
    at = clock.now()
    shift[0] = jump_s
    done = loop.round()
    assert f"moved by {jump_s:+.0f} s" in done.messages[0]
    assert clock.now() == at
    fakes.drain(cluster, loop)
    fakes.assert_each_started_once(cluster, NAMES, generations=0)


def test_full_disk(tmp_path: Path) -> None:
    cluster = fakes.two_nodes()
    submit_mixed(cluster)
    journal = Journal(tmp_path / "journal.db")
    database = journal._database
    assert database is not None
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages}")
    loop = fakes.loop_on(cluster, journal)
    told: list[str] = []
    while cluster.jobs:
        told += loop.round().messages
        cluster.advance(10.0)
    fakes.assert_each_started_once(cluster, NAMES, generations=0)
    assert any("full" in message and "the loop goes on" in message for message in told)
    assert len(told) == 1
    database.execute("PRAGMA max_page_count = 100000")
    cluster.submit(fakes.job("late"))
    assert loop.round().messages == ("the journal is written again",)
    journal.close()
    with sqlite3.connect(tmp_path / "journal.db") as again:
        (starts,) = again.execute("SELECT count(*) FROM entry WHERE verb = 'start' AND status = 'done'").fetchone()
    again.close()
    assert starts == len(NAMES) + 1


def test_a_policy_that_hangs_is_killed_and_the_fallback_decides() -> None:
    cluster = fakes.two_nodes()
    submit_mixed(cluster, 5)
    decider = WorkerDecider(fakes.HangingPolicy(), greedy())
    try:
        assert decider.wait_ready(120.0)
        before = decider.pid
        began = time.monotonic()
        done = ControlLoop(cluster, decider, options=LoopOptions(deadline_s=0.2)).round()
        assert time.monotonic() - began < 60.0
        assert done.decided_by == "fallback"
        assert "did not answer within 0.2 s: killed" in done.messages[0]
        assert any(outcome.action.verb is Verb.START for outcome in done.outcomes)
        assert before is not None
        assert decider.pid != before
    finally:
        decider.close()


def test_a_policy_that_works_in_its_process() -> None:
    cluster = fakes.two_nodes()
    submit_mixed(cluster, 5)
    decider = WorkerDecider(greedy(), greedy())
    try:
        assert decider.wait_ready(120.0)
        done = ControlLoop(cluster, decider, options=LoopOptions(deadline_s=120.0)).round()
        assert done.decided_by == "policy"
        assert done.messages == ()
    finally:
        decider.close()


def test_a_policy_that_raises_here_and_in_its_process() -> None:
    cluster = fakes.two_nodes()
    submit_mixed(cluster, 3)
    done = fakes.loop_on(cluster, policy=fakes.FailingPolicy()).round()
    assert done.decided_by == "fallback"
    assert "ZeroDivisionError: no such luck" in done.messages[0]
    decider = WorkerDecider(fakes.FailingPolicy(), greedy())
    try:
        assert decider.wait_ready(120.0)
        submit_mixed(cluster, 3)
        found = decider.decide(cluster.look(), 0.0, 120.0)
        assert found.by == "fallback"
        assert "ZeroDivisionError" in found.trouble
    finally:
        decider.close()


def test_a_policy_that_decides_what_it_must_not() -> None:
    cluster = fakes.two_nodes()
    submit_mixed(cluster)
    loop = fakes.loop_on(cluster, policy=fakes.WildPolicy())
    fakes.drain(cluster, loop, rounds=400)
    assert set(cluster.starts.values()) <= {1}
    fakes.drain(cluster, fakes.loop_on(cluster))
    fakes.assert_each_started_once(cluster, NAMES, generations=0)


def test_a_job_cancelled_while_it_is_placed() -> None:
    cluster = fakes.two_nodes()
    submit_mixed(cluster)

    loop = fakes.loop_on(cluster)
    plain = cluster.act

    def act(actions: Sequence[Action]) -> list[Outcome]:
        cluster.cancel("j3")
        return plain(actions)

    cluster.act = act  # type: ignore[method-assign]
    fakes.drain(cluster, loop)
    fakes.assert_each_started_once(cluster, [name for name in NAMES if name != "j3"], generations=0)
    assert "j3" not in {name for name, _ in cluster.starts}


def test_ten_thousand_jobs_at_once() -> None:
    cluster = SimulatedCluster([fakes.node(f"n{i}") for i in range(50)])
    cluster.submit(*(fakes.job(f"j{i:05}", seconds=30.0) for i in range(10_000)))
    loop = fakes.loop_on(cluster)
    done = loop.round()
    assert len(done.decisions) == 10_000
    assert sum(decision.starts for decision in done.decisions) == 400
    fakes.drain(cluster, loop, step_s=31.0, rounds=60)
    fakes.assert_each_started_once(cluster, [f"j{i:05}" for i in range(10_000)], generations=0)


def test_dry_run_does_nothing() -> None:
    cluster = fakes.two_nodes()
    submit_mixed(cluster)
    loop = fakes.loop_on(cluster, options=LoopOptions(budget_s=0.0, dry_run=True))
    done = loop.round()
    assert any(action.verb is Verb.START for action in done.actions)
    assert done.outcomes == ()
    assert not cluster.starts
    assert all(job.phase is Phase.WAITING and not job.note for job in cluster.jobs.values())
