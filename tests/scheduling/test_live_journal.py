"""The journal: written before, closed after, read again, never shared, never fatal."""

from __future__ import annotations

from pathlib import Path

import pytest

from apportion.scheduling.live import Action, ClusterState, Journal, Outcome, OutcomeStatus, Verb
from apportion.scheduling.live.clock import SteadyClock
from apportion.scheduling.live.explaining import Explainer
from apportion.scheduling.live.journal import JournalError
from apportion.scheduling.live.reasons import Code, Decision, Reason
from apportion.scheduling.live.recovery import recover
from apportion.scheduling.live.reservations import Reservations
from live_fakes import job

START = Action(Verb.START, "7", 2, ("a", "b"), ((0, 1), (3,)), "Starts: here")


def test_entries_come_back_as_they_were(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.db")
    explain = Action(Verb.EXPLAIN, "8", 0, text="Planned: later")
    numbers = journal.intend(3, 12.5, [START, explain])
    assert [entry.action for entry in journal.open_entries()] == [START, explain]
    journal.record(numbers, [Outcome(START, OutcomeStatus.DONE), Outcome(explain, OutcomeStatus.REFUSED, "gone")])
    assert journal.open_entries() == []
    journal.close()
    again = Journal(tmp_path / "j.db")
    first, second = again.entries()
    assert (first.action, first.status, first.round, first.at_s) == (START, "done", 3, 12.5)
    assert (second.status, second.answer) == ("refused", "gone")
    assert again.entries("7") == [first]
    assert again.intend(4, 0.0, [START]) == [3]
    again.close()


def test_the_reason_is_on_disk_before_the_order_is_given(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.db")
    journal.intend(1, 0.0, [START])
    import sqlite3

    other = sqlite3.connect(tmp_path / "j.db")
    assert other.execute("SELECT reason, status FROM entry").fetchall() == [("Starts: here", None)]
    other.close()
    journal.close()


def test_two_schedulers_never_share_a_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.db")
    with pytest.raises(JournalError, match="another scheduler"):
        Journal(tmp_path / "j.db")
    journal.close()
    Journal(tmp_path / "j.db").close()


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "j.db").write_text("this is no database, and it is long enough to be looked at\n" * 100)
    with pytest.raises(JournalError, match="not a database"):
        Journal(tmp_path / "j.db")
    with pytest.raises(JournalError, match="--journal"):
        Journal(tmp_path / "missing" / "j.db")


def test_old_entries_are_forgotten_but_open_ones_stay(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.db")
    numbers = journal.intend(1, 10.0, [START])
    journal.record(numbers, [Outcome(START, OutcomeStatus.DONE)])
    journal.intend(2, 10.0, [START])
    journal.intend(3, 100.0, [START])
    journal.forget_before(50.0)
    assert [entry.round for entry in journal.entries()] == [2, 3]
    journal.close()


def test_in_memory() -> None:
    journal = Journal(None)
    numbers = journal.intend(1, 0.0, [START])
    journal.record(numbers, [Outcome(START, OutcomeStatus.UNKNOWN, "late")])
    assert [(entry.status, entry.answer) for entry in journal.entries("7")] == [("unknown", "late")]
    assert journal.entries("8") == []
    assert journal.open_entries() == []


def test_recovery_tells_from_the_cluster() -> None:
    journal = Journal(None)
    preempt = Action(Verb.PREEMPT, "9", 0)
    gone, explain = Action(Verb.START, "1", 0, ("a",)), Action(Verb.EXPLAIN, "7", 2, text="Planned: later")
    journal.intend(1, 0.0, [START, preempt, gone, explain])
    state = ClusterState((), (job("7", generation=2, note="Planned: later"), job("9", generation=1)))
    lines = recover(journal, state)
    assert [line.rpartition(": ")[2] for line in lines] == [
        "it had no effect, the job still waits",
        "the job is back in the queue",
        "the job is gone",
    ]
    assert [entry.status for entry in journal.entries()] == ["refused", "done", "unknown", "done"]


def test_reservations_hold_until_seen_or_expired() -> None:
    reservations = Reservations()
    reservations.hold(Action(Verb.START, "x", 0, ("a",)), 10.0)
    waiting = ClusterState((), (job("x"), job("y")))
    assert reservations.settle(waiting, 5.0) == []
    assert [j.phase.value for j in reservations.apply(waiting).jobs] == ["starting", "waiting"]
    assert [action.job for action in reservations.settle(waiting, 10.0)] == ["x"]
    assert reservations.apply(waiting) is waiting
    for seen in (ClusterState((), ()), ClusterState((), (job("x", generation=1),))):
        reservations.hold(Action(Verb.START, "x", 0, ("a",)), 10.0)
        assert reservations.settle(seen, 0.0) == []
        assert not reservations.held


def test_reasons_are_written_when_they_are_news() -> None:
    explainer = Explainer(60.0, 2)
    jobs = {name: job(name) for name in "abc"}

    def told(code: Code, text: str, now_s: float) -> list[str]:
        waits = [Decision(name, 0, Reason(code, text)) for name in jobs]
        return [action.job for action in explainer.actions(waits, jobs, now_s)]

    assert told(Code.PLANNED, "in 5 min", 0.0) == ["a", "b"]
    assert told(Code.PLANNED, "in 4 min", 1.0) == ["c"]
    assert told(Code.PLANNED, "in 3 min", 2.0) == []
    assert told(Code.INSUFFICIENT, "none free", 3.0) == ["a", "b"]
    assert told(Code.INSUFFICIENT, "two free", 64.0) == ["c", "a"]


def test_the_clock_never_goes_back() -> None:
    wall, passed = [1000.0], [5.0]
    clock = SteadyClock(lambda: wall[0], lambda: passed[0])
    passed[0], wall[0] = 15.0, 20.0
    assert clock.now() == 1010.0
    assert clock.jump_s() == -990.0
    assert clock.jump_s() == 0.0
    wall[0] = 1010.0
    assert clock.jump_s() == 990.0
