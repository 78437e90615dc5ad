"""Numbers of very different size in one program: what that costs, said with the names of the blocks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from apportion.instances.program import Floats, MixedIntegerProgram

WIDEST_RATIO = 1e9
"""Doubles carry 16 digits and solvers keep rows to 1e-6: numbers further apart than this drown one another."""

LARGEST_WHOLE = 2.0**53
"""Above this not every whole number is a double."""


def range_warnings(program: MixedIntegerProgram) -> list[str]:
    """What is badly scaled, one sentence for each kind of number; empty when all is well.

    Coefficients, costs, and limits (bounds and row limits that are neither zero nor infinite) are looked at apart.
    Each sentence names the smallest and the largest number with its block: the name up to the first bracket.

    Examples
    --------
    >>> import apportion
    >>> model = apportion.Model("plant")
    >>> flow = model.add_variables("flow", shape=2, upper=10)
    >>> cap = model.add_constraints("capacity", flow * [1e-6, 1e6] <= 1)
    >>> print(*range_warnings(model.compile(names=True)))
    the coefficients span 12 orders of magnitude, from 1e-06 (flow in capacity) to 1e+06 (flow in capacity)
    """
    found = []
    matrix = program.matrix
    ends = matrix.starts

    def entry(position: int) -> str:
        column = int(np.searchsorted(ends, position, side="right")) - 1
        return f"{block_of(program.column_name(column))} in {block_of(program.row_name(int(matrix.rows[position])))}"

    found.append(_warning("coefficients", matrix.values, entry))
    found.append(_warning("costs", program.cost, lambda j: block_of(program.column_name(j))))
    limits = np.concatenate((program.lower, program.upper, program.row_lower, program.row_upper))

    def limit(position: int) -> str:
        columns = 2 * program.num_columns
        if position < columns:
            return f"a bound of {block_of(program.column_name(position % program.num_columns))}"
        return block_of(program.row_name((position - columns) % program.num_rows))

    found.append(_warning("limits", limits, limit))
    found.append(_huge_integers(program))
    return [warning for warning in found if warning]


def block_of(name: str) -> str:
    """The block that a name belongs to.

    >>> block_of("supply[3,1]"), block_of("r7")
    ('supply', 'r7')
    """
    return name.partition("[")[0] or name


def _warning(what: str, values: Floats, named: Callable[[int], str]) -> str:
    sizes = np.abs(values)
    counted = np.flatnonzero((sizes > 0.0) & np.isfinite(sizes))
    if not len(counted):
        return ""
    least, most = counted[int(np.argmin(sizes[counted]))], counted[int(np.argmax(sizes[counted]))]
    low, high = float(sizes[least]), float(sizes[most])
    with np.errstate(over="ignore"):
        orders = np.log10(high) - np.log10(low)
    if orders <= np.log10(WIDEST_RATIO):
        return ""
    places = f"from {low:.3g} ({named(int(least))}) to {high:.3g} ({named(int(most))})"
    return f"the {what} span {orders:.0f} orders of magnitude, {places}"


def _huge_integers(program: MixedIntegerProgram) -> str:
    sizes = np.maximum(np.abs(program.lower), np.abs(program.upper))
    huge = np.flatnonzero(program.integer & np.isfinite(sizes) & (sizes > LARGEST_WHOLE))
    if not len(huge):
        return ""
    name, size = block_of(program.column_name(int(huge[0]))), float(sizes[huge[0]])
    return f"integer variables may reach {size:.3g} ({name}), and above 9e+15 not every whole number is a double"
