from __future__ import annotations

import threading
from math import inf

import pytest

from apportion.instances.core import Sense
from apportion.solvers.events import Event, EventKind, Monitor
from apportion.solvers.status import Bounds, Limit, Status


@pytest.mark.parametrize("sense", list(Sense))
def test_only_improvements_become_events(sense: Sense) -> None:
    events: list[Event] = []
    monitor = Monitor(sense, events.append)
    sign = sense.sign
    assert monitor.incumbent(sign * 10.0)
    assert not monitor.incumbent(sign * 11.0)
    assert monitor.incumbent(sign * 9.0, letter="L")
    assert monitor.bound(sign * 5.0)
    assert not monitor.bound(sign * 4.0)
    assert not monitor.bound(inf * sign)
    assert not monitor.incumbent(float("nan"))
    assert [e.kind for e in events] == [EventKind.INCUMBENT, EventKind.INCUMBENT, EventKind.BOUND]
    assert monitor.bounds == Bounds(sign * 9.0, sign * 5.0)
    assert events[-1].bounds == monitor.bounds


def test_stopping_by_cancel_and_by_clock() -> None:
    monitor = Monitor(Sense.MINIMISE)
    before = monitor.should_stop
    assert not before
    assert monitor.remaining_s == inf
    threading.Thread(target=monitor.cancel).start()
    assert monitor.cancelled.wait(5)
    assert monitor.should_stop
    assert Monitor(Sense.MINIMISE, time_limit_s=1e-9).should_stop


def test_reports_from_many_threads_keep_the_best() -> None:
    monitor = Monitor(Sense.MINIMISE, lambda event: None)
    threads = [
        threading.Thread(target=lambda k=k: [monitor.incumbent(float(1000 - i * 8 - k)) for i in range(100)])
        for k in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert monitor.bounds.primal == 1000 - 99 * 8 - 7


def test_gap_is_the_same_everywhere() -> None:
    assert Bounds(100.0, 90.0).gap == pytest.approx(0.1)
    assert Bounds(-100.0, -110.0).gap == pytest.approx(0.1)
    assert Bounds(0.0, 0.0).gap == 0.0
    assert Bounds(inf, 3.0).gap == inf
    assert Bounds.unknown(Sense.MAXIMISE) == Bounds(-inf, inf)


def test_bounds_that_contradict_each_other() -> None:
    assert Bounds(100.0, 101.0).contradict(Sense.MINIMISE)
    assert not Bounds(100.0, 100.00000001).contradict(Sense.MINIMISE)
    assert Bounds(100.0, 99.0).contradict(Sense.MAXIMISE)
    assert not Bounds.unknown(Sense.MINIMISE).contradict(Sense.MINIMISE)


def test_statuses_with_a_plan() -> None:
    assert [s for s in Status if s.has_plan] == [Status.OPTIMAL, Status.FEASIBLE]
    assert str(Limit.METHOD) == "method"
