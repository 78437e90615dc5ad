from __future__ import annotations

import pytest

from apportion.bench.registry import Context
from apportion.bench.suites.trust import certificates, conflicts, planted_clash, planted_cycle
from apportion.solvers.backends import backend_named
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.status import Status


@pytest.mark.parametrize("size", [4, 6])
def test_what_is_planted_is_infeasible_and_only_integers_see_the_clash(size: int) -> None:
    for planted, relaxed in ((planted_cycle(1, size, 12, 20), True), (planted_clash(1, size, 12, 20), False)):
        assert len(planted.rows) == size
        for program, infeasible in ((planted.program, True), (planted.program.relaxed(), relaxed)):
            answer = backend_named("highs").run(program, SolveOptions(), Monitor(program.sense))
            assert (answer.status is Status.INFEASIBLE) is infeasible


def test_the_quick_suite_meets_its_targets() -> None:
    rows = [*conflicts(Context(quick=True)), *certificates(Context(quick=True))]
    assert all(row.target.holds(row.ours, row.ratio) for row in rows if row.target)
    assert {"planted conflicts found", "caught", "honest answers accused"} <= {row.metric for row in rows}
