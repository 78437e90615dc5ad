from __future__ import annotations

import io
from math import inf
from pathlib import Path

import pytest
from rich.console import Console

from apportion.ledger import Row
from apportion.screen import LinesScreen, LiveScreen, Quiet, Screen, TableScreen
from apportion.solvers.events import Event, EventKind
from apportion.solvers.options import SolveOptions
from apportion.solvers.status import Bounds
from apportion.summary import summary_table
from apportion.tasks import Task

_TASK = Task(0, "tiny", Path("tiny.mps"), "key", SolveOptions(time_limit_s=10.0))
_ENDLESS = Task(1, "endless", Path("endless.mps"), "key", SolveOptions())
_UNKNOWN = Bounds(inf, -inf)


def _story(screen: Screen) -> None:
    with screen:
        for task in (_TASK, _ENDLESS):
            screen.event(task, Event(EventKind.START, 0.0, _UNKNOWN))
            screen.event(task, Event(EventKind.LOG, 0.1, _UNKNOWN, message="the start is rejected: [capacity]"))
            screen.event(task, Event(EventKind.LOG, 0.1, _UNKNOWN, "highs", message="Presolving model"))
            screen.event(task, Event(EventKind.INCUMBENT, 1.0, Bounds(105.0, -inf), "H"))
            screen.event(task, Event(EventKind.BOUND, 1.1, Bounds(105.0, 100.0)))
            screen.event(task, Event(EventKind.BOUND, 3.0, Bounds(105.0, 101.0)))
            screen.event(task, Event(EventKind.END, 4.0, Bounds(105.0, 104.0)))
            screen.row(task, Row(task.name, "file", "key", 4, "bad [file]"))


def test_the_table_grows_by_incumbents_and_now_and_then_by_bounds() -> None:
    stream = io.StringIO()
    screen = TableScreen(stream)
    for event in (
        Event(EventKind.START, 0.0, _UNKNOWN),
        Event(EventKind.NODE, 0.0, _UNKNOWN),
        Event(EventKind.INCUMBENT, 1.0, Bounds(105.0, -inf), "H"),
        Event(EventKind.BOUND, 1.5, Bounds(105.0, 100.0)),
        Event(EventKind.BOUND, 2.0, Bounds(105.0, 101.0)),
        Event(EventKind.END, 2.1, Bounds(105.0, 102.0)),
    ):
        screen.event(_TASK, event)
    lines = [line.split() for line in stream.getvalue().splitlines()]
    assert [line[0] for line in lines] == ["time", "1.0s", "2.0s", "2.1s"]
    assert lines[1][1:3] == ["H", "105"]
    assert lines[-1][1:3] == ["105", "102"]


@pytest.mark.parametrize("verbose", [False, True])
def test_the_solvers_own_log_is_left_out_unless_asked_for(verbose: bool) -> None:
    stream = io.StringIO()
    _story(TableScreen(stream, verbose=verbose))
    assert "note: the start is rejected: [capacity]" in stream.getvalue()
    assert ("highs: Presolving model" in stream.getvalue()) == verbose


def test_lines_of_a_batch() -> None:
    stream = io.StringIO()
    _story(LinesScreen(stream, 2))
    assert stream.getvalue().splitlines() == [
        "tiny: the start is rejected: [capacity]",
        "[1/2] tiny: bad [file]",
        "endless: the start is rejected: [capacity]",
        "[2/2] endless: bad [file]",
    ]


def test_bars_on_a_terminal() -> None:
    stream = io.StringIO()
    _story(LiveScreen(Console(file=stream, force_terminal=True, width=100), 2))
    for text in ("tiny: the start is rejected: [capacity]", "[2/2] endless: bad [file]", "2 of 2"):
        assert text in stream.getvalue()


def test_quiet_is_quiet() -> None:
    _story(Quiet())


@pytest.mark.parametrize(("width", "shown"), [(80, False), (200, True)])
def test_a_narrow_terminal_has_fewer_columns(width: int, shown: bool) -> None:
    stream = io.StringIO()
    Console(file=stream, width=width).print(summary_table([Row("tiny", "file", "key", 4, "bad")], width))
    assert ("figures" in stream.getvalue()) == shown
    assert "bad file" in stream.getvalue()
