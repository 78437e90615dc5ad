from __future__ import annotations

from math import isfinite

from apportion.bench.registry import Context, specs_of
from apportion.bench.suites.rich_routing import dynamic, insert, rich


def test_the_cases_are_registered() -> None:
    assert [spec.name for spec in specs_of("rich-routing")] == ["rich", "pdptw", "dynamic", "insert"]


def test_the_quick_cases_run() -> None:
    context = Context(quick=True, seeds=(1,))
    rows = [*rich(context), *dynamic(context), *insert(context)]
    assert len(rows) == 4
    assert all(isfinite(row.ours) for row in rows)
