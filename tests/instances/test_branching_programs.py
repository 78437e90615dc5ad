from __future__ import annotations

import numpy as np
import pytest

from apportion.instances.errors import OptionError
from apportion.instances.generate.branching_programs import FAMILIES, branching_program
from apportion.instances.program import MixedIntegerProgram

SMALL: dict[str, dict[str, int]] = {
    "set-cover": {"rows": 60, "columns": 100},
    "auction": {"items": 20, "bids": 60},
    "independent-set": {"nodes": 60},
    "facility": {"customers": 8, "facilities": 6},
}


def dense(program: MixedIntegerProgram) -> np.ndarray:
    matrix = np.zeros((program.num_rows, program.num_columns))
    columns = np.repeat(np.arange(program.num_columns), np.diff(program.matrix.starts))
    np.add.at(matrix, (program.matrix.rows, columns), program.matrix.values)
    return matrix


@pytest.mark.parametrize("family", FAMILIES)
def test_same_seed_same_program(family: str) -> None:
    one, two, other = (branching_program(family, seed, **SMALL[family]) for seed in (4, 4, 5))
    np.testing.assert_array_equal(one.cost, two.cost)
    np.testing.assert_array_equal(one.matrix.values, two.matrix.values)
    np.testing.assert_array_equal(one.matrix.rows, two.matrix.rows)
    assert not (np.array_equal(one.matrix.rows, other.matrix.rows) and np.array_equal(one.cost, other.cost))


@pytest.mark.parametrize("family", FAMILIES)
def test_easy_sizes(family: str) -> None:
    program = branching_program(family, 1)
    sizes = {"set-cover": 1000, "auction": 500, "independent-set": 500, "facility": 10100}
    assert program.num_columns == sizes[family]
    assert len(np.unique(program.matrix.rows)) == program.num_rows


def test_set_cover_has_the_density_and_no_empty_line() -> None:
    program = branching_program("set-cover", 2, rows=60, columns=100, density=0.1)
    matrix = dense(program)
    assert matrix.sum() == 600
    assert set(np.unique(matrix)) == {0.0, 1.0}
    assert matrix.sum(axis=0).min() >= 2
    assert matrix.sum(axis=1).min() >= 1
    assert ((program.cost >= 1) & (program.cost <= 100)).all()


def test_a_density_that_is_too_small_is_refused() -> None:
    with pytest.raises(OptionError, match="density"):
        branching_program("set-cover", 1, rows=10, columns=100, density=0.05)
    with pytest.raises(OptionError, match="no family"):
        branching_program("knapsack")


def test_auction_sells_every_item_once_and_groups_substitutes() -> None:
    matrix = dense(branching_program("auction", 3, items=20, bids=60))
    assert set(np.unique(matrix)) == {0.0, 1.0}
    assert matrix.sum(axis=0).min() >= 1
    items, groups = matrix[:20], matrix[20:]
    assert len(groups) > 0
    assert groups.sum(axis=0).max() <= 1
    for group in groups:
        bids = np.flatnonzero(group)
        assert 3 <= len(bids) <= 6
        assert len(np.unique(items[:, bids], axis=1).T) == len(bids)


def test_independent_set_covers_each_edge_once() -> None:
    program = branching_program("independent-set", 1, nodes=60, affinity=3)
    matrix = dense(program)
    shared = matrix.T @ matrix
    np.fill_diagonal(shared, 0.0)
    assert shared.max() == 1.0
    assert np.triu(shared, 1).sum() == 3 * 57
    assert matrix.sum(axis=1).min() >= 2


def test_facility_has_room_for_all_demand() -> None:
    program = branching_program("facility", 1, customers=8, facilities=6, ratio=5.0)
    matrix = dense(program)
    total = matrix[8 + 6]
    assert (total[:6] > 0).all()
    assert total[:6].sum() >= 4.5 * program.row_lower[14]
    assert program.integer.sum() == 6
    assert program.num_rows == 8 + 6 + 1 + 48
