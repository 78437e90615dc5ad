from __future__ import annotations

import csv
import doctest
import io
import json
from math import inf, isnan, nan
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion import report, summary, tasks
from apportion.instances.core import Sense
from apportion.instances.program import VariableValues
from apportion.ledger import Row
from apportion.models.verdict import Verdict, Violation
from apportion.report import (
    check_text,
    columns_text,
    event_line,
    event_to_dict,
    number,
    percent,
    report_rows,
    result_from_dict,
    result_to_dict,
    verdict_text,
)
from apportion.solvers.events import Event, EventKind
from apportion.solvers.result import Result, Timings
from apportion.solvers.status import Bounds, Limit, Status
from apportion.summary import HEADINGS, cells_of, summary_csv, summary_json, summary_text

_NUMBERS = st.floats(allow_nan=False, allow_infinity=True)
_FINITE = st.floats(0, 1e9)
_FIGURES = st.dictionaries(st.text(min_size=1, max_size=8), _NUMBERS, max_size=3)
_VIOLATIONS = st.lists(st.builds(Violation, st.text(max_size=5), st.text(max_size=5), _NUMBERS, st.text(max_size=3)))
_VERDICTS = st.builds(Verdict, _NUMBERS, st.sampled_from(Sense), _VIOLATIONS.map(tuple), _FIGURES)
_PLANS = st.none() | st.builds(VariableValues, st.dictionaries(st.text(max_size=4), st.floats(-1e9, 1e9), max_size=3))
_RESULTS: st.SearchStrategy[Result[Any]] = st.builds(
    Result,
    instance=st.text(max_size=8),
    problem=st.just("mixed-integer-program"),
    method=st.text(max_size=8),
    sense=st.sampled_from(Sense),
    status=st.sampled_from(Status),
    bounds=st.builds(Bounds, _NUMBERS, _NUMBERS),
    plan=_PLANS,
    limit=st.none() | st.sampled_from(Limit),
    verdict=st.none() | _VERDICTS,
    timings=st.builds(Timings, _FINITE, _FINITE, _FINITE, _FINITE, _FINITE, _FINITE),
    counts=st.dictionaries(st.text(max_size=4), st.integers(0, 10**12), max_size=2),
    extras=_FIGURES,
    seed=st.integers(0, 2**31 - 1),
    versions=st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=2),
    native_status=st.text(max_size=8),
    message=st.text(max_size=8),
    rejected_plan=_PLANS,
)


@settings(max_examples=50, deadline=None)
@given(_RESULTS)
def test_a_result_comes_back_from_json(result: Result[Any]) -> None:
    text = json.dumps(result_to_dict(result), allow_nan=False)
    assert result_from_dict(json.loads(text)) == result


@settings(max_examples=50, deadline=None)
@given(_RESULTS)
def test_any_result_can_be_shown(result: Result[Any]) -> None:
    data = json.loads(json.dumps(result_to_dict(result, with_plan=False), allow_nan=False))
    assert data["plan"] is None
    rows = dict(report_rows(data))
    assert rows["seed"] == str(result.seed)
    row = Row("name", "file", "key", 0, "", data)
    assert len(cells_of(row)) == len(HEADINGS)
    assert len(summary_text([row]).splitlines()) >= 2
    assert json.loads(summary_json([row]))[0]["instance"] == "name"
    records = list(csv.DictReader(io.StringIO(summary_csv([row]))))
    assert float(records[0]["objective"]) == result.bounds.primal


def test_nan_survives_in_a_violation() -> None:
    verdict = Verdict(nan, Sense.MAXIMISE, (Violation("finite value", "x", nan),))
    back = report.verdict_from_dict(json.loads(json.dumps(report.verdict_to_dict(verdict), allow_nan=False)))
    assert isnan(back.objective)
    assert isnan(back.violations[0].amount)


def test_an_event_is_a_line_of_the_table() -> None:
    event = Event(EventKind.INCUMBENT, 1.25, Bounds(105.0, 100.0), "H", 3)
    line = event_line(event)
    assert line.split() == ["1.2s", "H", "105", "100", "4.762", "%", "3"]
    assert len(report.TABLE_HEADING.split()) == 6
    unknown = event_line(Event(EventKind.BOUND, 0.0, Bounds(inf, 100.0)))
    assert unknown.split() == ["0.0s", "-", "100", "-"]


def test_an_event_is_json_without_infinities() -> None:
    event = event_to_dict(Event(EventKind.START, 0.0, Bounds(inf, -inf)), "tiny")
    assert json.loads(json.dumps(event, allow_nan=False))["primal"] == "inf"
    assert float(event["dual"]) == -inf


@pytest.mark.parametrize(("value", "text"), [(0.1, "0.1"), (1e12, "1e+12"), (123456.789, "123456.789"), (inf, "-")])
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


def test_percent_of_a_tiny_gap() -> None:
    assert percent(1e-6) == "0.0001 %"


def test_the_check_in_words() -> None:
    assert check_text(None) == "no plan to check"
    broken = report.verdict_to_dict(Verdict(1.0, Sense.MINIMISE, (Violation("capacity", "route 2", 3.0, "units"),)))
    assert check_text(broken) == "FAILS: 1 violation, first capacity at route 2: off by 3 units"


def test_every_violation_is_named_up_to_a_limit() -> None:
    many = tuple(Violation("rule", f"place {k}", 1.0) for k in range(report.MOST_SHOWN + 5))
    text = verdict_text("tiny", Verdict(1.0, Sense.MINIMISE, many, {"num_routes": 3}))
    assert "place 999:" in text
    assert "and 5 more" in text
    assert "num routes  3" in text


def test_columns_of_nothing() -> None:
    assert columns_text([]) == ""


@pytest.mark.parametrize("module", [report, summary, tasks])
def test_examples_in_docstrings(module: Any) -> None:
    assert doctest.testmod(module).failed == 0
