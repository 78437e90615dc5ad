"""Linear, quadratic and mixed-integer programs: what an MPS file holds and what every array model compiles to."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from apportion.instances.core import Json, Sense
from apportion.instances.errors import Fault, PlanError
from apportion.instances.validation import FaultList

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class SparseColumns:
    """A sparse matrix by columns (CSC): column ``j`` holds ``starts[j]:starts[j + 1]`` of the two others.

    ``starts`` has one entry more than there are columns; ``rows`` and ``values`` have one per nonzero.
    """

    starts: Ints
    rows: Ints
    values: Floats

    @property
    def num_nonzeros(self) -> int:
        """How many entries are stored."""
        return len(self.values)

    @classmethod
    def empty(cls, num_columns: int) -> Self:
        """A matrix with no entries."""
        return cls(np.zeros(num_columns + 1, np.int32), np.zeros(0, np.int32), np.zeros(0))


@dataclass(frozen=True)
class SpecialOrderedSet:
    """At most ``order`` (1 or 2, adjacent for 2) of ``columns`` may be nonzero; ``weights`` give their order."""

    order: int
    columns: tuple[int, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class Indicator:
    """When binary ``column`` equals ``active``, then ``lower <= row . x <= upper``; the row is given sparsely."""

    column: int
    active: bool
    columns: tuple[int, ...]
    coefficients: tuple[float, ...]
    lower: float
    upper: float


@dataclass(frozen=True, eq=False)
class MixedIntegerProgram:
    """Minimise or maximise ``offset + cost.x + x.Q.x / 2`` over rows, bounds and integrality.

    ``n`` columns and ``m`` rows: ``cost``, ``lower``, ``upper``, ``integer`` have shape (n,), ``row_lower`` and
    ``row_upper`` (m,). Infinite bounds are ``inf``. ``hessian`` is the lower triangle of Q by columns, or None.
    Column names differ, since plans go by them. Names may be empty tuples: then columns are ``x0, x1, ...`` and rows
    ``r0, r1, ...``.
    """

    problem: ClassVar[str] = "mixed-integer-program"
    name: str
    sense: Sense
    cost: Floats
    matrix: SparseColumns
    row_lower: Floats
    row_upper: Floats
    lower: Floats
    upper: Floats
    integer: NDArray[np.bool_]
    offset: float = 0.0
    hessian: SparseColumns | None = None
    ordered_sets: tuple[SpecialOrderedSet, ...] = ()
    indicators: tuple[Indicator, ...] = ()
    column_names: tuple[str, ...] = field(default=(), repr=False)
    row_names: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        """Check shapes and numbers once; the arrays become read-only."""
        faults = FaultList(self.name or "program")
        num_columns, num_rows = len(self.cost), len(self.row_lower)
        for name, size, infinite in (
            ("cost", num_columns, False),
            ("lower", num_columns, True),
            ("upper", num_columns, True),
            ("row_lower", num_rows, True),
            ("row_upper", num_rows, True),
        ):
            checked = faults.array(name, getattr(self, name), shape=(size,), allow_infinite=infinite)
            object.__setattr__(self, name, checked)
        integer = faults.array("integer", self.integer, shape=(num_columns,), dtype=np.bool_)
        object.__setattr__(self, "integer", integer)
        self._check_matrix(faults, "matrix", self.matrix, num_columns, num_rows)
        if self.hessian is not None:
            self._check_matrix(faults, "hessian", self.hessian, num_columns, num_columns)
        faults.require(len(self.column_names) in (0, num_columns), "column_names", "must name every column or none")
        faults.require(len(self.row_names) in (0, num_rows), "row_names", "must name every row or none")
        if len(set(self.column_names)) != len(self.column_names):
            faults.unique("column_names", self.column_names)
        faults.require(bool(np.isfinite(self.offset)), "offset", "must be a finite number", self.offset)
        faults.raise_if_any()

    @staticmethod
    def _check_matrix(faults: FaultList, name: str, matrix: SparseColumns, columns: int, rows: int) -> None:
        faults.array(f"{name}.values", matrix.values)
        starts_fit = len(matrix.starts) == columns + 1 and int(matrix.starts[-1]) == len(matrix.values)
        faults.require(starts_fit, f"{name}.starts", f"must have {columns + 1} entries and end at the nonzeros")
        inside = len(matrix.rows) == 0 or (int(matrix.rows.min()) >= 0 and int(matrix.rows.max()) < rows)
        faults.require(inside, f"{name}.rows", f"must lie between 0 and {rows - 1}")

    @property
    def num_columns(self) -> int:
        """How many variables there are."""
        return len(self.cost)

    @property
    def num_rows(self) -> int:
        """How many linear constraints there are."""
        return len(self.row_lower)

    @property
    def is_mixed_integer(self) -> bool:
        """Whether anything makes it more than an LP or a convex QP."""
        return bool(self.integer.any() or self.ordered_sets or self.indicators)

    def column_name(self, column: int) -> str:
        """The name of a column, also when the program has no names."""
        return self.column_names[column] if self.column_names else f"x{column}"

    def row_name(self, row: int) -> str:
        """The name of a row, also when the program has no names."""
        return self.row_names[row] if self.row_names else f"r{row}"

    def relaxed(self) -> MixedIntegerProgram:
        """The same program without integrality, ordered sets or indicators."""
        return replace(self, integer=np.zeros(self.num_columns, np.bool_), ordered_sets=(), indicators=())


@dataclass(frozen=True)
class VariableValues:
    """The plan of a program: a value for each column, by name; columns that are left out are zero."""

    problem: ClassVar[str] = "mixed-integer-program"
    values: dict[str, float]

    @classmethod
    def from_array(cls, program: MixedIntegerProgram, values: Floats) -> Self:
        """Name the nonzero entries of ``values`` (shape (n,))."""
        return cls({program.column_name(int(j)): float(values[j]) for j in np.flatnonzero(values)})

    def to_array(self, program: MixedIntegerProgram) -> Floats:
        """Values in column order, shape (n,); raise :class:`PlanError` for a name that the program lacks."""
        position = {program.column_name(j): j for j in range(program.num_columns)}
        unknown = [name for name in self.values if name not in position]
        if unknown:
            faults = [Fault("values", "names no variable of this program", name) for name in unknown[:5]]
            raise PlanError(program.name, faults)
        array = np.zeros(program.num_columns)
        for name, value in self.values.items():
            array[position[name]] = value
        return array

    def to_dict(self) -> Json:
        """JSON-ready data."""
        return {"values": dict(self.values)}

    @classmethod
    def from_dict(cls, data: Json) -> Self:
        """Rebuild from :meth:`to_dict`."""
        values = data.get("values")
        if not isinstance(values, dict) or not all(isinstance(v, int | float) for v in values.values()):
            raise PlanError("plan", [Fault("values", "must map variable names to numbers")])
        return cls({str(k): float(v) for k, v in values.items()})
