from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from apportion.bench import (
    Context,
    Measurement,
    Target,
    render_protocols,
    render_table,
    run_suite,
    spec,
    suite_names,
)
from apportion.bench.registry import _SPECS
from apportion.bench.runner import alternate, median_and_spread
from apportion.instances.errors import OptionError


@pytest.fixture
def small_suite() -> Iterator[str]:
    @spec("test-suite", "counting")
    def measure(context: Context) -> list[Measurement]:
        size = 1.0 if context.quick else 5.0
        met = Measurement("counting", "apples", size, 2.0, "hand", Target("ratio", "<=", 1.0), note="by eye")
        return [met, Measurement("counting", "pears", float("inf"), target=Target("ours", ">=", 1.0))]

    yield "test-suite"
    _SPECS[:] = [registered for registered in _SPECS if registered.suite != "test-suite"]


def test_rows_are_judged_and_kept(small_suite: str, tmp_path: Path) -> None:
    rows = run_suite(small_suite, json_file=tmp_path / "rows.json")
    assert [row.holds for row in rows] == [False, True]
    kept = json.loads((tmp_path / "rows.json").read_text())
    assert kept[0]["ratio"] == 2.5
    assert kept[1]["ours"] is None
    assert "numpy" in kept[0]["versions"]
    assert "| counting | apples" in render_table(rows)


def test_published_figures_get_a_table_of_their_own(small_suite: str) -> None:
    assert render_protocols(run_suite(small_suite)) == ""

    @spec(small_suite, "protocol")
    def measure(_context: Context) -> list[Measurement]:
        return [Measurement("trace", "hours", 3.4, published=3.8, reproduced=3.9, cpu_s=2.0)]

    table = render_protocols(run_suite(small_suite))
    assert table.startswith("protocol\n\n| case  | metric | published | reproduced | ours")
    assert "| trace | hours  | 3.8       | 3.9        | 3.4 " in table


def test_quick_reaches_the_cases(small_suite: str) -> None:
    assert [row.holds for row in run_suite(small_suite, quick=True)] == [True, True]


def test_a_suite_is_measured_in_parts(small_suite: str) -> None:
    assert len(run_suite(small_suite, only=["counting"])) == 2


def test_unknown_suite_and_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="Maybe one of"):
        run_suite("nonsense")
    with pytest.raises(OptionError, match="has no part"):
        run_suite("build", only=["nonsense"])
    with pytest.raises(OptionError, match="not a folder"):
        run_suite("build", data=tmp_path / "none")


def test_a_figure_that_is_missing_is_not_judged() -> None:
    assert Target("ratio", "<=", 1.0).holds(1.0, None) is None
    assert Target("ours", "<=", 1.0).holds(float("nan"), None) is None


def test_runs_alternate() -> None:
    order: list[str] = []
    seconds = alternate({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2)
    assert order == ["a", "b"] * 3
    assert len(seconds["a"]) == 2
    assert median_and_spread([1.0, 2.0, 4.0]) == (2.0, 1.5)


@pytest.mark.parametrize("suite", ["build", "phases", "sweep"])
def test_every_suite_smoke_runs(suite: str) -> None:
    assert suite in suite_names()
    rows = run_suite(suite, quick=True)
    assert rows
    assert all(row.suite == suite for row in rows)
