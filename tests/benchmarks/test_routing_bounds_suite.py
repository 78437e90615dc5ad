from __future__ import annotations

from apportion.bench.registry import Context, specs_of
from apportion.bench.suites.routing_bounds import bounds


def test_the_quick_case_measures_the_stand_ins() -> None:
    assert "bounds" in {spec.name for spec in specs_of("routing")}
    rows = list(bounds(Context(quick=True)))
    assert [row.metric for row in rows] == ["proven gap", "proven gap"]
    assert all(row.ours >= 0.0 for row in rows)


def test_without_the_data_there_is_nothing_to_measure() -> None:
    assert list(bounds(Context())) == []
