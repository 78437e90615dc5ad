"""The build suite: every library builds the same program, and the rows come out."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from apportion.bench.registry import Context, specs_of
from apportion.bench.suites import build


def _arrays(solver: Any) -> dict[str, Any]:
    """The program inside a HiGHS object with rows in a canonical order."""
    lp = solver.getLp()
    dense = np.zeros((lp.num_row_, lp.num_col_))
    outer, inner = np.array(lp.a_matrix_.start_), np.array(lp.a_matrix_.index_)
    by_column = "Col" in str(lp.a_matrix_.format_)
    for k in range(len(outer) - 1):
        for position in range(outer[k], outer[k + 1]):
            place = (inner[position], k) if by_column else (k, inner[position])
            dense[place] = lp.a_matrix_.value_[position]
    columns = np.lexsort(np.vstack((dense, np.array(lp.col_cost_))))
    rows = np.lexsort(np.column_stack((np.array(lp.row_lower_), np.array(lp.row_upper_))).T)
    return {
        "matrix": dense[rows][:, columns],
        "cost": np.array(lp.col_cost_)[columns],
        "row_lower": np.array(lp.row_lower_)[rows],
        "row_upper": np.array(lp.row_upper_)[rows],
        "lower": np.array(lp.col_lower_),
        "upper": np.array(lp.col_upper_),
    }


def _same(ours: Any, theirs: Any) -> None:
    left, right = _arrays(ours), _arrays(theirs)
    for name, value in left.items():
        assert value.shape == right[name].shape
    # columns may come in another order: compare what does not depend on it
    np.testing.assert_allclose(np.sort(left["cost"]), np.sort(right["cost"]))
    np.testing.assert_array_equal(np.sort(left["matrix"].sum(axis=0)), np.sort(right["matrix"].sum(axis=0)))
    np.testing.assert_array_equal(np.sort(left["matrix"].sum(axis=1)), np.sort(right["matrix"].sum(axis=1)))
    for name in ("row_lower", "row_upper"):
        np.testing.assert_allclose(left[name], right[name])
    for solver in (ours, theirs):
        solver.setOptionValue("output_flag", False)
        solver.setOptionValue("threads", 1)
        solver.run()
    assert ours.getInfo().objective_function_value == pytest.approx(theirs.getInfo().objective_function_value)


def test_raw_and_pyomo_build_the_same_program() -> None:
    data = build.Transport.generate(4, 7, seed=3)
    for peer in (build.transport_raw, build.transport_pyomo):
        _same(build.transport_ours(data), peer(data))
    _same(build.transport_ours(data), build.ours_reads_pyomo(build.pyomo_model(data)))


@pytest.mark.skipif(not find_spec("linopy"), reason="linopy (extra peers) is not installed")
@pytest.mark.filterwarnings("ignore")
def test_linopy_builds_the_same_program() -> None:
    data = build.Transport.generate(4, 7, seed=3)
    _same(build.transport_ours(data), build.transport_linopy(data))


def test_rows_and_a_missing_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "find_spec", lambda name: None if name == "linopy" else object())
    monkeypatch.setattr(build, "_SMALL", (3, 4))
    context = Context(quick=True, against=frozenset({"highspy", "linopy"}))
    rows = [row for registered in specs_of("build") for row in registered.measure(context)]
    assert [row.peer_name for row in rows] == ["highspy arrays", "linopy"]
    assert rows[0].ratio is not None
    assert rows[1].ratio is None
    assert "not installed" in rows[1].note
    assert all(row.target is not None for row in rows)
