"""``Model``: blocks of variables and constraints written as arrays, compiled once to a program."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from apportion.instances.core import Sense
from apportion.instances.errors import InstanceError, ModelError
from apportion.instances.program import Floats, Indicator, Ints, MixedIntegerProgram, SpecialOrderedSet
from apportion.instances.reading import read, write
from apportion.models.algebra.blocks import (
    Constraints,
    Variables,
    checked_bound,
    checked_flags,
    checked_name,
    distinct_names,
    require_numbers,
)
from apportion.models.algebra.compilation import (
    constraint_matrix,
    constraints_of,
    hessian,
    joined,
    linear_cost,
    objective_of,
)
from apportion.models.algebra.expressions import LinearExpression
from apportion.models.algebra.logic import indicators_of, ordered_sets_of
from apportion.models.algebra.quadratic import QuadraticExpression, as_quadratic
from apportion.models.algebra.relations import Relation
from apportion.models.algebra.terms import Terms, merged

if TYPE_CHECKING:
    from apportion.models.conversion.pyomo import PyomoImport

Shape = int | tuple[int, ...]


class Model:
    """A linear, convex quadratic or mixed-integer model written as named blocks of arrays.

    Parameters
    ----------
    name
        What people call it.
    sense
        Whether ``objective`` minimises or maximises.

    Examples
    --------
    >>> import numpy as np
    >>> model = Model("transport")
    >>> ship = model.add_variables("ship", shape=(2, 3))
    >>> supply = model.add_constraints("supply", ship.sum(axis=1) <= [30, 40])
    >>> demand = model.add_constraints("demand", ship.sum(axis=0) >= [20, 20, 20])
    >>> model.minimise((ship * np.array([[4.0, 2, 5], [3, 1, 2]])).sum())
    >>> program = model.compile()
    >>> program.num_rows, program.num_columns, program.matrix.num_nonzeros
    (5, 6, 12)
    """

    def __init__(self, name: str = "model", sense: Sense | str = Sense.MINIMISE) -> None:
        self.name = name
        self._sense = _as_sense(sense, name)
        self._variables: dict[str, Variables] = {}
        self._constraints: dict[str, Constraints] = {}
        self._objective = as_quadratic(0.0, "objective")
        self._ordered_sets: dict[str, list[SpecialOrderedSet]] = {}
        self._indicators: dict[str, list[Indicator]] = {}
        self._compiled: dict[bool, MixedIntegerProgram] = {}

    # what it holds

    @property
    def sense(self) -> Sense:
        """Whether the objective is a cost or a value."""
        return self._sense

    @property
    def variables(self) -> Mapping[str, Variables]:
        """The blocks of variables by name, in order."""
        return self._variables

    @property
    def constraints(self) -> Mapping[str, Constraints]:
        """The blocks of constraints by name, in order."""
        return self._constraints

    @property
    def num_columns(self) -> int:
        """How many variables there are."""
        return next(reversed(self._variables.values())).last if self._variables else 0

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return next(reversed(self._constraints.values())).last if self._constraints else 0

    def __repr__(self) -> str:
        return f"<Model {self.name!r}: {self.num_columns} variables, {self.num_rows} rows, {self.sense}>"

    def block_names_of(self, columns: Ints) -> list[str]:
        """The names of the variable blocks that hold ``columns``."""
        blocks = list(self._variables.values())
        hit = np.unique(np.searchsorted([block.last for block in blocks], columns, side="right"))
        return [blocks[position].name for position in hit]

    # writing it

    def add_variables(
        self,
        name: str,
        shape: Shape = (),
        *,
        lower: ArrayLike = 0.0,
        upper: ArrayLike = np.inf,
        integer: ArrayLike = False,
    ) -> Variables:
        """Add a block of variables.

        Parameters
        ----------
        name
            Unique among the blocks of variables.
        shape
            Of the block; a single variable by default.
        lower, upper
            Numbers or arrays that broadcast to ``shape``.
        integer
            Whether the elements must be integers: one answer, or an array of them.
        """
        checked_name(name, self._variables, "variables")
        size = (int(shape),) if isinstance(shape, int | np.integer) else tuple(int(n) for n in shape)
        if any(n < 0 for n in size):
            raise ModelError(f"variables {name!r}: no shape has negative lengths, got {size}")
        low = checked_bound(lower, size, f"variables {name!r}: lower", np.inf)
        high = checked_bound(upper, size, f"variables {name!r}: upper", -np.inf)
        return self._append_variables(name, low, high, checked_flags(integer, size, f"variables {name!r}: integer"))

    def _append_variables(self, name: str, lower: Floats, upper: Floats, integer: NDArray[np.bool_]) -> Variables:
        shape = lower.shape
        first = self.num_columns
        columns = np.arange(first, first + prod(shape), dtype=np.int32).reshape(shape)
        block = Variables(cast("Any", self), [Terms.of_columns(columns)], np.broadcast_to(0.0, shape))
        block.name, block.first, block.integer = name, first, integer
        block.lower, block.upper, block.element_names = lower, upper, ()
        self._variables[name] = block
        self._compiled.clear()
        return block

    def add_constraints(
        self,
        name: str,
        constraint: Relation | LinearExpression,
        *,
        lower: ArrayLike | None = None,
        upper: ArrayLike | None = None,
    ) -> Constraints:
        """Add a block of constraints, one row for each element.

        Parameters
        ----------
        name
            Unique among the blocks of constraints.
        constraint
            A comparison (``lhs <= rhs``, ``>=``, ``==``), or an expression when bounds are given.
        lower, upper
            Numbers or arrays that broadcast to the expression's shape, for ranged rows.
        """
        where = f"constraints {name!r}"
        checked_name(name, self._constraints, "constraints")
        if isinstance(constraint, Relation):
            if lower is not None or upper is not None:
                raise ModelError(f"{where}: a comparison has its bounds already\nMaybe pass its left side alone")
            expression = constraint.difference
            low, high = np.asarray(constraint.lower), np.asarray(constraint.upper)
        else:
            if not isinstance(constraint, LinearExpression):
                raise ModelError(f"{where}: needs a comparison of expressions, got {type(constraint).__name__}")
            expression = constraint
            low = checked_bound(-np.inf if lower is None else lower, expression.shape, f"{where}: lower", np.inf)
            high = checked_bound(np.inf if upper is None else upper, expression.shape, f"{where}: upper", -np.inf)
        block = self._rows(name, expression, low, high, where)
        self._constraints[name] = block
        self._compiled.clear()
        return block

    def _rows(self, name: str, expression: LinearExpression, lower: Any, upper: Any, where: str) -> Constraints:
        self._require_own(expression, where)
        terms = merged(expression.parts, expression.shape)
        if not np.all(np.isfinite(terms.coefficients)):
            worst = int(np.flatnonzero(~np.isfinite(terms.coefficients))[0])
            row = int(np.searchsorted(terms.starts.ravel(), worst, side="right")) - 1
            place = ",".join(str(int(i)) for i in np.unravel_index(row, expression.shape)) if expression.shape else ""
            raise ModelError(f"{where}[{place}]: a coefficient is {terms.coefficients[worst]}")
        require_numbers(~np.isfinite(expression.constant), expression.constant, f"{where}: right-hand side")
        return Constraints(
            name,
            expression.shape,
            self.num_rows,
            (lower - expression.constant).ravel(),
            (upper - expression.constant).ravel(),
            terms.counts.ravel(),
            terms.columns,
            terms.coefficients,
        )

    def _require_own(self, expression: LinearExpression, where: str) -> None:
        if expression.model is not None and expression.model is not self:
            raise ModelError(f"{where}: {expression.described()} belongs to another model, {expression.model.name!r}")

    def minimise(self, expression: LinearExpression | QuadraticExpression | float) -> None:
        """Make ``expression``, a scalar, the cost to minimise."""
        self._set_objective(expression, Sense.MINIMISE)

    def maximise(self, expression: LinearExpression | QuadraticExpression | float) -> None:
        """Make ``expression``, a scalar, the value to maximise."""
        self._set_objective(expression, Sense.MAXIMISE)

    def _set_objective(self, expression: LinearExpression | QuadraticExpression | float, sense: Sense) -> None:
        objective = as_quadratic(expression, "objective")
        self._require_own(objective.linear, "objective")
        if objective.linear.size != 1:
            raise ModelError(f"objective: must be a scalar, got shape {objective.shape}\nMaybe take its .sum()")
        numbers = [objective.coefficients, objective.linear.constant.ravel()]
        numbers += [part.flat()[1] for part in objective.linear.parts]
        if not all(np.all(np.isfinite(array)) for array in numbers):
            names = objective.described()
            raise ModelError(f"objective: a coefficient of {names} is not a finite number")
        self._objective, self._sense = objective, sense
        self._compiled.clear()

    def add_ordered_set(
        self, name: str, members: LinearExpression, order: int, weights: ArrayLike | None = None
    ) -> None:
        """Allow at most ``order`` nonzero variables (2: adjacent ones) along the last axis of ``members``.

        ``weights`` give the order along that axis and increase; by default 1, 2, ...
        """
        where = f"ordered set {name!r}"
        checked_name(name, self._ordered_sets, "ordered set")
        self._require_own(members, where)
        self._ordered_sets[name] = ordered_sets_of(members, order, weights, where)
        self._compiled.clear()

    def add_indicator(self, name: str, binary: LinearExpression, constraint: Relation, active: bool = True) -> None:
        """Require ``constraint`` wherever ``binary`` is 1 (0 when not ``active``); they broadcast together."""
        where = f"indicator {name!r}"
        checked_name(name, self._indicators, "indicator")
        if not isinstance(constraint, Relation):
            raise ModelError(f"{where}: needs a comparison of expressions, got {type(constraint).__name__}")
        self._require_own(binary, where)
        switches = binary.columns()
        for column in np.unique(switches).tolist():
            self._require_binary(column, where)
        try:
            shape = np.broadcast_shapes(switches.shape, constraint.shape)
        except ValueError as error:
            raise ModelError(f"{where}: shapes {switches.shape} and {constraint.shape} do not align") from error
        expression = constraint.difference.broadcast_to(shape)
        rows = self._rows(name, expression, np.float64(constraint.lower), np.float64(constraint.upper), where)
        self._indicators[name] = indicators_of(np.broadcast_to(switches, shape).ravel(), rows, bool(active))
        self._compiled.clear()

    def _require_binary(self, column: int, where: str) -> None:
        (name,) = self.block_names_of(np.array([column], np.int32))
        block = self._variables[name]
        position = column - block.first
        if (
            not block.integer.ravel()[position]
            or block.lower.ravel()[position] < 0
            or block.upper.ravel()[position] > 1
        ):
            raise ModelError(f"{where}: {name!r} must be binary\nMaybe lower=0, upper=1, integer=True")

    # compiling it

    def compile(self, names: bool = False) -> MixedIntegerProgram:
        """Return the whole model as one program by columns; the answer is kept until the model changes.

        Parameters
        ----------
        names
            Whether to name every column and row, as in ``commit[3,7]``. Costs time and memory.
        """
        if names not in self._compiled:
            self._compiled[names] = self._compile(names)
        return self._compiled[names]

    def _compile(self, names: bool) -> MixedIntegerProgram:
        variables, constraints = list(self._variables.values()), list(self._constraints.values())
        num_columns = self.num_columns
        matrix = constraint_matrix(constraints, num_columns)
        column_names = distinct_names(variables, "variable") if names else ()
        row_names = distinct_names(constraints, "constraint") if names else ()
        try:
            return MixedIntegerProgram(
                name=self.name,
                sense=self._sense,
                cost=linear_cost(self._objective, num_columns),
                matrix=matrix,
                row_lower=joined([block.lower for block in constraints]),
                row_upper=joined([block.upper for block in constraints]),
                lower=joined([block.lower for block in variables]),
                upper=joined([block.upper for block in variables]),
                integer=joined([block.integer for block in variables]).astype(np.bool_),
                offset=float(self._objective.linear.constant.sum()),
                hessian=hessian(self._objective, num_columns),
                ordered_sets=tuple(one for block in self._ordered_sets.values() for one in block),
                indicators=tuple(one for block in self._indicators.values() for one in block),
                column_names=column_names,
                row_names=row_names,
            )
        except InstanceError as error:
            raise ModelError(f"model {self.name!r}: {error}") from error

    # from and to other forms

    @classmethod
    def from_program(cls, program: MixedIntegerProgram) -> Self:
        """A model with one block ``columns`` and one block ``rows``, to which more can be added."""
        model = cls(program.name or "model", program.sense)
        columns = model._append_variables("columns", program.lower, program.upper, program.integer)
        columns.element_names = program.column_names
        model._constraints["rows"] = constraints_of(program)
        model._objective = objective_of(program, columns)
        if program.ordered_sets:
            model._ordered_sets["ordered_sets"] = list(program.ordered_sets)
        if program.indicators:
            model._indicators["indicators"] = list(program.indicators)
        model._compiled[bool(program.column_names or program.row_names)] = program
        return model

    @classmethod
    def from_mps(cls, path: str | Path) -> Self:
        """Read an MPS file; the model has one block ``columns`` and one block ``rows`` with the file's names."""
        return cls.from_program(cast("MixedIntegerProgram", read(path, format="mps")))

    def to_mps(self, path: str | Path) -> None:
        """Write an MPS file with names such as ``commit[3,7]``."""
        write(self.compile(names=True), path, format="mps")

    @classmethod
    def from_pyomo(cls, pyomo_model: Any) -> PyomoImport:
        """Read a Pyomo model; the answer is a model whose ``load`` puts values and duals back into it.

        Linear and quadratic objectives, linear constraints, ordered sets; what is fixed becomes a constant and
        what is inactive is left out.
        """
        from apportion.models.conversion.pyomo import import_model

        return import_model(pyomo_model)

    def to_pyomo(self) -> Any:
        """The same model as a Pyomo ``ConcreteModel`` with one indexed component for each block."""
        from apportion.models.conversion.pyomo import export_model

        return export_model(cast("Any", self))

    @classmethod
    def from_mathopt(cls, mathopt_model: Any) -> Self:
        """Read a model of OR-Tools MathOpt, columns and rows in the order of their ids."""
        from apportion.models.conversion.mathopt import import_program

        return cls.from_program(import_program(mathopt_model))

    def to_mathopt(self) -> Any:
        """The same model as an OR-Tools MathOpt ``Model`` with names such as ``commit[3,7]``."""
        from apportion.models.conversion.mathopt import export_program

        return export_program(self.compile(names=True))

    # values in and out

    def split(self, values: ArrayLike) -> dict[str, Floats]:
        """Values by column, shape (n,), as one array for each block of variables."""
        array = self._vector(values, self.num_columns, "values")
        return {name: array[b.first : b.last].reshape(b.shape) for name, b in self._variables.items()}

    def split_rows(self, row_values: ArrayLike) -> dict[str, Floats]:
        """Values by row, shape (m,), such as duals, as one array for each block of constraints."""
        array = self._vector(row_values, self.num_rows, "row values")
        return {name: array[b.first : b.last].reshape(b.shape) for name, b in self._constraints.items()}

    def pack(self, values: Mapping[str, ArrayLike]) -> Floats:
        """One array per block as values by column, shape (n,); NaN where a block is missing."""
        packed = np.full(self.num_columns, np.nan)
        for name, value in values.items():
            if name not in self._variables:
                raise ModelError(f"values {name!r}: no such block of variables\nMaybe one of {list(self._variables)}")
            block = self._variables[name]
            array = np.asarray(value, dtype=np.float64)
            try:
                packed[block.first : block.last] = np.broadcast_to(array, block.shape).ravel()
            except ValueError as error:
                raise ModelError(f"values {name!r}: shape {array.shape}, the block has {block.shape}") from error
        return packed

    def evaluate(
        self, expression: LinearExpression | QuadraticExpression, values: Mapping[str, Any] | NDArray[Any]
    ) -> NDArray[np.float64]:
        """The value of each element of ``expression`` at a point, given by column or by block."""
        objective = as_quadratic(expression, "evaluate")
        self._require_own(objective.linear, "evaluate")
        point = self.pack(values) if isinstance(values, Mapping) else self._vector(values, self.num_columns, "values")
        return objective.value_at(point)

    @staticmethod
    def _vector(values: ArrayLike, size: int, what: str) -> Floats:
        array = np.asarray(values, dtype=np.float64)
        if array.shape != (size,):
            raise ModelError(f"{what}: must have shape ({size},), got {array.shape}")
        return array


def _as_sense(sense: Sense | str, name: str) -> Sense:
    try:
        return Sense(sense)
    except ValueError as error:
        raise ModelError(f"model {name!r}: unknown sense {sense!r}\nMaybe 'minimise' or 'maximise'") from error
