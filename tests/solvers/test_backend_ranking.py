from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from apportion.instances.generate.benchmark_programs import benchmark_program
from apportion.instances.program import MixedIntegerProgram
from apportion.solvers.ranking import Shape, preference, ranked, shape_of
from heuristic_twins import small_programs

ALL = ("cp-sat", "highs", "scip")
KINDS = ("packing", "covering", "partitioning", "knapsack", "links", "pairs")


def kinds_of_row(program: MixedIntegerProgram, row: int) -> list[str]:
    """What a row is, entry by entry."""
    starts, rows, values = program.matrix.starts, program.matrix.rows, program.matrix.values
    entries = [
        (column, float(values[entry]))
        for column in range(program.num_columns)
        for entry in range(starts[column], starts[column + 1])
        if rows[entry] == row
    ]
    binaries = all(program.integer[c] and program.lower[c] == 0 and program.upper[c] == 1 for c, _ in entries)
    low, high = program.row_lower[row], program.row_upper[row]
    if entries and binaries and all(value == 1.0 for _, value in entries):
        if high == 1 and low <= 0:
            return ["packing", "pairs"] if len(entries) == 2 else ["packing"]
        if low == 1:
            return ["partitioning"] if high == 1 else ["covering"]
        return []
    one_sign = all(value > 0 for _, value in entries) or all(value < 0 for _, value in entries)
    return ["knapsack"] if one_sign else ["links"]


@given(program=small_programs())
@settings(max_examples=40, deadline=None)
def test_shapes_agree_with_a_count_row_by_row(program: MixedIntegerProgram) -> None:
    shape = shape_of(program)
    found = [kind for row in range(program.num_rows) for kind in kinds_of_row(program, row)]
    for kind in KINDS:
        assert getattr(shape, kind) == pytest.approx(found.count(kind) / max(1, program.num_rows)), kind
    assert shape.nonzeros == program.matrix.num_nonzeros
    assert 0.0 <= shape.binary <= shape.integer <= 1.0


@pytest.mark.parametrize(
    ("family", "sizes", "first"),
    [
        ("auction", {"items": 30, "bids": 80}, "cp-sat"),
        ("bin-packing", {"items": 12}, "cp-sat"),
        ("assignment", {"agents": 3, "jobs": 12}, "cp-sat"),
        ("multi-knapsack", {"rows": 4, "columns": 30}, "cp-sat"),
        ("set-cover", {"rows": 30, "columns": 60}, "highs"),
        ("independent-set", {"nodes": 40}, "scip"),
        ("facility", {"customers": 8, "facilities": 6}, "highs"),
        ("lot-sizing", {"products": 3, "periods": 6}, "highs"),
        ("network", {"nodes": 8, "arcs": 20, "commodities": 3}, "highs"),
    ],
)
def test_favourites_by_family(family: str, sizes: dict[str, float], first: str) -> None:
    program = benchmark_program(family, 3, **sizes)
    assert ranked(program, ALL)[0] == first
    assert ranked(program, ALL[::-1]) == ranked(program, ALL)
    assert sorted(ranked(program, ALL)) == sorted(ALL)
    assert ranked(program, ["scip"]) == ["scip"]


def test_a_program_without_rows_or_columns_has_a_shape() -> None:
    program = benchmark_program("set-cover", 3, rows=10, columns=20)
    none = np.zeros(0)
    empty = replace(
        program,
        cost=none,
        lower=none,
        upper=none,
        integer=np.zeros(0, np.bool_),
        row_lower=none,
        row_upper=none,
        matrix=type(program.matrix).empty(0),
    )
    assert shape_of(empty).equal_costs
    assert ranked(empty, ALL)[0] == "highs"


def test_large_or_general_integer_programs_begin_with_highs() -> None:
    shape = shape_of(benchmark_program("assignment", 3, agents=3, jobs=12))
    assert isinstance(shape, Shape)
    assert preference(shape)[0] == "cp-sat"
    assert preference(replace(shape, nonzeros=10**6))[0] == "highs"
    assert preference(replace(shape, binary=0.1))[0] == "highs"
