from __future__ import annotations

from math import inf

import pytest

from apportion.bench.registry import Context, specs_of
from apportion.bench.suites import neighbourhoods
from apportion.bench.suites.neighbourhoods import advantage, lns, portfolio
from apportion.instances.core import Sense


def test_the_cases_are_registered_and_their_names_are_known() -> None:
    assert {"lns", "portfolio"} <= {spec.name for spec in specs_of("solvers")}
    assert len(neighbourhoods._cases(neighbourhoods._HARD)) == len(neighbourhoods._HARD)
    assert len(neighbourhoods._cases(neighbourhoods._RACED)) == len(neighbourhoods._RACED)


@pytest.mark.parametrize(
    ("ours", "theirs", "sense", "expected"),
    [
        (99.0, 100.0, Sense.MINIMISE, 0.01),
        (99.0, 100.0, Sense.MAXIMISE, -0.01),
        (5.0, 5.0, Sense.MINIMISE, 0.0),
        (5.0, inf, Sense.MINIMISE, inf),
        (inf, 5.0, Sense.MINIMISE, -inf),
        (inf, inf, Sense.MINIMISE, 0.0),
    ],
)
def test_advantages(ours: float, theirs: float, sense: Sense, expected: float) -> None:
    assert advantage(ours, theirs, sense) == pytest.approx(expected)


def test_the_quick_cases_run() -> None:
    rows = [*lns(Context(quick=True)), *portfolio(Context(quick=True))]
    assert len(rows) == 6
    assert all(row.note for row in rows if row.case in ("set-cover-500x1000", "independent-set-40"))
    assert sum(row.target is not None for row in rows) == 3
