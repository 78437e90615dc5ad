from __future__ import annotations

from apportion.bench.registry import Context
from apportion.bench.suites.learned import series


def test_the_quick_suite_proves_every_day() -> None:
    rows = list(series(Context(quick=True)))
    assert {row.case.partition(": ")[2] for row in rows} >= {"HiGHS cold", "HiGHS from yesterday", "fixing by all days"}
    assert all(0.0 < row.ours < float("inf") for row in rows)
