from __future__ import annotations

from apportion.bench.registry import Context
from apportion.bench.suites.columns import column_generation


def test_the_quick_case_proves_its_stand_ins() -> None:
    rows = list(column_generation(Context(quick=True)))
    assert len(rows) == 4
    assert all(row.target.holds(row.ours, row.ratio) for row in rows if row.target)
    assert all(row.peer is not None for row in rows if row.metric.startswith("CPU"))
