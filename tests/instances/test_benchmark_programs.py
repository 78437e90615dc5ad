from __future__ import annotations

import numpy as np
import pytest

from apportion.instances.errors import OptionError
from apportion.instances.generate.benchmark_programs import FAMILIES, benchmark_program, independent_set

SMALL: dict[str, dict[str, float]] = {
    "set-cover": {"rows": 20, "columns": 40},
    "auction": {"items": 20, "bids": 40},
    "facility": {"customers": 8, "facilities": 5},
    "assignment": {"agents": 3, "jobs": 12},
    "independent-set": {"nodes": 30},
    "multi-knapsack": {"rows": 3, "columns": 20},
    "lot-sizing": {"products": 3, "periods": 6},
    "bin-packing": {"items": 10},
    "network": {"nodes": 6, "arcs": 15, "commodities": 3},
}


@pytest.mark.parametrize("family", list(FAMILIES))
def test_same_seed_same_bytes_and_another_seed_other_ones(family: str) -> None:
    first, second = (benchmark_program(family, 3, **SMALL[family]) for _ in range(2))
    other = benchmark_program(family, 4, **SMALL[family])
    assert first.matrix.values.tobytes() == second.matrix.values.tobytes()
    assert first.cost.tobytes() == second.cost.tobytes()
    same = first.cost.tobytes() == other.cost.tobytes() and first.matrix.rows.tobytes() == other.matrix.rows.tobytes()
    assert not (same and first.matrix.values.tobytes() == other.matrix.values.tobytes())


@pytest.mark.parametrize("family", list(FAMILIES))
def test_columns_are_sorted_and_without_repeats(family: str) -> None:
    matrix = benchmark_program(family, 1, **SMALL[family]).matrix
    for j in range(len(matrix.starts) - 1):
        rows = matrix.rows[matrix.starts[j] : matrix.starts[j + 1]]
        assert (np.diff(rows) > 0).all()


def test_an_unknown_family_is_named() -> None:
    with pytest.raises(OptionError, match="no family of programs is called 'sudoku'"):
        benchmark_program("sudoku")


def test_the_graph_of_an_independent_set_has_its_edges() -> None:
    program = independent_set(1, nodes=50, affinity=4)
    assert program.num_rows == 4 * 46
    assert (np.bincount(program.matrix.rows) == 2).all()
