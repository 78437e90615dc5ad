from __future__ import annotations

import pytest

from apportion.bench.registry import Context, specs_of
from apportion.bench.suites.power_flow import ac_flow, dc_flow


def test_the_quick_cases_run() -> None:
    pytest.importorskip("casadi", reason="casadi (extra power) is not installed")
    assert {"ac-opf", "dc-opf"} <= {spec.name for spec in specs_of("power")}
    rows = [*ac_flow(Context(quick=True)), *dc_flow(Context(quick=True))]
    assert [row.metric for row in rows] == ["AC CPU s", "relaxation gap %", "DC CPU s"]
    assert all(row.target.holds(row.ours, row.ratio) for row in rows if row.target)
