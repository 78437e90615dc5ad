from __future__ import annotations

import pytest

from apportion.bench.registry import Context, specs_of
from apportion.bench.suites.commitment_chain import rolling, year


def test_the_quick_cases_run() -> None:
    assert {"year", "rolling"} <= {spec.name for spec in specs_of("power")}
    broken, cpu_s, cost = rolling(Context(quick=True))
    assert broken.ours == 0.0
    assert cpu_s.ours > 0.0
    assert cost.peer == pytest.approx(cost.ours)
    rows = list(year(Context(quick=True)))
    assert [row.metric for row in rows] == ["warm CPU s", "warm CPU s"]
    assert "0 warm, 0 cold" in rows[-1].note
