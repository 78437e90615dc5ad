from __future__ import annotations

from apportion.bench.registry import Context, specs_of
from apportion.bench.suites.branching import branching


def test_the_quick_case_agrees_with_both_peers() -> None:
    assert "branching" in {spec.name for spec in specs_of("solvers")}
    rows = list(branching(Context(quick=True)))
    assert len(rows) == 12
    agreed = [row for row in rows if row.metric.startswith("share")]
    assert len(agreed) == 4
    assert all(row.ours == 1.0 for row in agreed)
    counted = [row for row in rows if row.metric.startswith("nodes")]
    assert all(row.target is not None and row.target.holds(row.ours, row.ratio) for row in counted)


def test_without_peers_it_still_measures() -> None:
    rows = list(branching(Context(quick=True, against=frozenset())))
    assert len(rows) == 8
    assert all(row.peer is None for row in rows)
