"""The suite of placements runs on stand-ins."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import isfinite

import pytest

from apportion.bench.registry import Context, Measurement
from apportion.bench.suites.cluster import admission, batch, online
from apportion.bench.suites.gangs import gangs


@pytest.mark.parametrize("measure", [online, admission, batch, gangs], ids=["online", "admission", "batch", "gangs"])
def test_quick(measure: Callable[[Context], Iterable[Measurement]]) -> None:
    rows = list(measure(Context(quick=True)))
    assert rows
    assert all(isfinite(row.ours) for row in rows)
    assert all(row.target is None for row in rows)
