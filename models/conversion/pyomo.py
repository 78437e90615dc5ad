"""Array models to and from Pyomo, with the way back for values and duals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf, isfinite, isnan
from typing import Any

import numpy as np
import pyomo.environ as pyo
from numpy.typing import ArrayLike
from pyomo.common.errors import PyomoException
from pyomo.common.gc_manager import PauseGC
from pyomo.core.expr.numeric_expr import LinearExpression as PyomoLinear
from pyomo.core.staleflag import StaleFlagManager
from pyomo.repn.linear import LinearRepnVisitor
from pyomo.repn.quadratic import QuadraticRepnVisitor
from pyomo.repn.util import OrderedVarRecorder, VarRecorder, categorize_valid_components
from scipy import sparse

from apportion.instances.core import Sense
from apportion.instances.errors import ModelError
from apportion.instances.program import Floats, MixedIntegerProgram, SparseColumns, SpecialOrderedSet
from apportion.models.algebra.blocks import Constraints, Variables
from apportion.models.algebra.model import Model

_PASSIVE = frozenset({pyo.Block, pyo.Var, pyo.Param, pyo.Expression, pyo.Set, pyo.RangeSet, pyo.Suffix})
_READ = frozenset({pyo.Constraint, pyo.Objective, pyo.SOSConstraint})
_ADVICE = "a transformation first, such as pyo.TransformationFactory('gdp.bigm').apply_to(model)"


class PyomoImport(Model):
    """A Pyomo model as an array model; :meth:`load` puts values and duals back where they came from.

    ``columns`` and ``rows`` are its Pyomo variables and constraints in the order of the program.
    """

    pyomo_model: Any
    columns: tuple[Any, ...]
    rows: tuple[Any, ...]

    def compile(self, names: bool = False) -> MixedIntegerProgram:
        """Return the program; ``names`` asks for Pyomo's own names."""
        if names and not self._variables["columns"].element_names:
            self._name_elements()
        return super().compile(names)

    def _name_elements(self) -> None:
        from dataclasses import replace

        self._variables["columns"].element_names = tuple(variable.name for variable in self.columns)
        names = tuple(constraint.name for constraint in self.rows)
        self._constraints["rows"] = replace(self._constraints["rows"], element_names=names)

    def start(self) -> Floats:
        """The values that the Pyomo variables hold now, NaN where they hold none, shape (n,)."""
        packed = np.full(self.num_columns, np.nan)
        packed[: len(self.columns)] = [np.nan if v.value is None else float(v.value) for v in self.columns]
        return packed

    def load(
        self, values: ArrayLike, row_duals: ArrayLike | None = None, reduced_costs: ArrayLike | None = None
    ) -> None:
        """Put a solution into the Pyomo model.

        Parameters
        ----------
        values
            By column, shape (n,). Values of integer variables are rounded.
        row_duals
            By row, shape (m,): go to the suffix ``dual`` where the model declares one that imports.
        reduced_costs
            By column: go to the suffix ``rc`` in the same way.
        """
        column_values = self._vector(values, self.num_columns, "values")[: len(self.columns)]
        integer = self._variables["columns"].integer
        StaleFlagManager.mark_all_as_stale()
        rounded = np.where(integer, np.round(column_values), column_values)
        for variable, value in zip(self.columns, rounded.tolist(), strict=True):
            variable.set_value(value, skip_validation=True)
        if row_duals is not None:
            self._load_suffix("dual", self.rows, self._vector(row_duals, self.num_rows, "row duals"))
        if reduced_costs is not None:
            self._load_suffix("rc", self.columns, self._vector(reduced_costs, self.num_columns, "reduced costs"))

    def _load_suffix(self, name: str, components: Iterable[Any], values: Floats) -> None:
        suffix = self.pyomo_model.component(name)
        if suffix is None or suffix.ctype is not pyo.Suffix or not suffix.import_enabled():
            return
        suffix.clear()
        for component, value in zip(components, values.tolist(), strict=False):
            suffix[component] = value


def import_model(pyomo_model: Any) -> PyomoImport:
    """Read a Pyomo model.

    Raises
    ------
    ModelError
        For active components that a program cannot hold, nonlinear constraints, objectives that are neither
        linear nor quadratic, or more than one active objective; names the component.
    """
    _require_readable(pyomo_model)
    found: dict[int, Any] = {}
    recorder = VarRecorder(found, True)
    try:
        with PauseGC():
            objective = _Objective(pyomo_model, OrderedVarRecorder(found, {}, True))
            rows = _Rows(pyomo_model, recorder)
            sets = list(_ordered_sets(pyomo_model, recorder))
    except (PyomoException, ArithmeticError, ValueError, TypeError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"Pyomo model {pyomo_model.name!r}: {error}") from error
    columns = tuple(found.values())
    position = {identity: j for j, identity in enumerate(found)}
    integer, lower, upper = _domains(columns)
    program = MixedIntegerProgram(
        name=pyomo_model.name if pyomo_model.name != "unknown" else "pyomo",
        sense=objective.sense,
        cost=objective.cost(position),
        matrix=rows.matrix(position),
        row_lower=np.array(rows.lower, np.float64),
        row_upper=np.array(rows.upper, np.float64),
        lower=lower,
        upper=upper,
        integer=integer,
        offset=objective.offset,
        hessian=objective.hessian(position),
        ordered_sets=tuple(
            SpecialOrderedSet(order, tuple(position[i] for i in members), weights) for order, members, weights in sets
        ),
    )
    model = PyomoImport.from_program(program)
    model.pyomo_model, model.columns, model.rows = pyomo_model, columns, tuple(rows.constraints)
    return model


def _require_readable(pyomo_model: Any) -> None:
    if not getattr(pyomo_model, "is_constructed", lambda: False)():
        raise ModelError(f"Pyomo model {pyomo_model.name!r}: is abstract\nMaybe its create_instance() first")
    _, unknown = categorize_valid_components(pyomo_model, active=True, sort=True, valid=_PASSIVE, targets=_READ)
    for kind, components in unknown.items():
        name = components[0].name
        raise ModelError(f"Pyomo component {name!r}: a {kind.__name__} has no place in a program\nMaybe {_ADVICE}")


class _Rows:
    """The active constraints as runs of (variable, coefficient)."""

    def __init__(self, pyomo_model: Any, recorder: VarRecorder) -> None:
        self.constraints: list[Any] = []
        self.lower: list[float] = []
        self.upper: list[float] = []
        self._counts: list[int] = []
        self._variables: list[int] = []
        self._coefficients: list[float] = []
        visitor = LinearRepnVisitor({}, var_recorder=recorder)
        for constraint in pyomo_model.component_data_objects(pyo.Constraint, active=True, descend_into=True):
            self._add(constraint, visitor)

    def _add(self, constraint: Any, visitor: LinearRepnVisitor) -> None:
        lower, body, upper = constraint.to_bounded_expression(evaluate_bounds=True)
        form: Any = visitor.walk_expression(body)
        if form.nonlinear is not None:
            raise ModelError(f"Pyomo constraint {constraint.name!r}: is not linear in its free variables")
        constant = form.constant
        self.constraints.append(constraint)
        self.lower.append(-inf if lower is None else lower - constant)
        self.upper.append(inf if upper is None else upper - constant)
        self._counts.append(len(form.linear))
        self._variables.extend(form.linear)
        self._coefficients.extend(form.linear.values())
        if isnan(constant):
            raise ModelError(f"Pyomo constraint {constraint.name!r}: its constant part is not a number")

    def matrix(self, position: dict[int, int]) -> SparseColumns:
        """The coefficients by columns."""
        values = np.array(self._coefficients, np.float64)
        ends = np.cumsum([0, *self._counts])
        if not np.all(np.isfinite(values)):
            row = int(np.searchsorted(ends, np.flatnonzero(~np.isfinite(values))[0], side="right")) - 1
            raise ModelError(f"Pyomo constraint {self.constraints[row].name!r}: a coefficient is not a finite number")
        indices = np.fromiter(map(position.__getitem__, self._variables), np.int32, len(values))
        shape = (len(self.constraints), len(position))
        return _sparse_columns(sparse.csr_array((values, indices, ends), shape=shape).tocsc())


class _Objective:
    """The one active objective, or none."""

    def __init__(self, pyomo_model: Any, recorder: OrderedVarRecorder) -> None:
        active = list(pyomo_model.component_data_objects(pyo.Objective, active=True, descend_into=True))
        if len(active) > 1:
            names = ", ".join(repr(objective.name) for objective in active)
            raise ModelError(f"Pyomo objectives {names}: only one may be active\nMaybe deactivate() the others")
        self.sense = Sense.MINIMISE
        self.offset = 0.0
        self._linear: dict[int, float] = {}
        self._quadratic: dict[tuple[int, int], float] = {}
        for objective in active:
            form: Any = QuadraticRepnVisitor({}, var_recorder=recorder).walk_expression(objective.expr)
            if form.nonlinear is not None:
                raise ModelError(f"Pyomo objective {objective.name!r}: is neither linear nor quadratic")
            self.sense = Sense.MINIMISE if objective.sense == pyo.minimize else Sense.MAXIMISE
            self.offset = float(form.constant)
            self._linear, self._quadratic = form.linear, form.quadratic or {}
            numbers = (self.offset, *self._linear.values(), *self._quadratic.values())
            if not all(map(isfinite, numbers)):
                raise ModelError(f"Pyomo objective {objective.name!r}: a coefficient is not a finite number")

    def cost(self, position: dict[int, int]) -> Floats:
        """The linear coefficients by column."""
        cost = np.zeros(len(position))
        indices = np.fromiter(map(position.__getitem__, self._linear), np.int32, len(self._linear))
        cost[indices] = np.fromiter(self._linear.values(), np.float64, len(self._linear))
        return cost

    def hessian(self, position: dict[int, int]) -> SparseColumns | None:
        """The lower triangle of Q, None when there are no products."""
        if not self._quadratic:
            return None
        pairs = np.array([(position[i], position[j]) for i, j in self._quadratic], np.int32)
        values = np.fromiter(self._quadratic.values(), np.float64) * np.where(pairs[:, 0] == pairs[:, 1], 2.0, 1.0)
        shape = (len(position), len(position))
        matrix = sparse.coo_array((values, (pairs.max(axis=1), pairs.min(axis=1))), shape=shape).tocsc()
        matrix.sum_duplicates()
        return _sparse_columns(matrix)


def _sparse_columns(matrix: Any) -> SparseColumns:
    return SparseColumns(
        matrix.indptr.astype(np.int32, copy=False), matrix.indices.astype(np.int32, copy=False), matrix.data
    )


def _ordered_sets(pyomo_model: Any, recorder: VarRecorder) -> Iterator[tuple[int, tuple[int, ...], tuple[float, ...]]]:
    for ordered in pyomo_model.component_data_objects(pyo.SOSConstraint, active=True, descend_into=True):
        if ordered.level not in (1, 2):
            raise ModelError(f"Pyomo ordered set {ordered.name!r}: level {ordered.level} is neither 1 nor 2")
        items = sorted(ordered.get_items(), key=lambda item: item[1])
        for variable, _ in items:
            if variable.fixed:
                raise ModelError(f"Pyomo ordered set {ordered.name!r}: variable {variable.name!r} in it is fixed")
            if id(variable) not in recorder.var_map:
                recorder.add(variable)
        yield ordered.level, tuple(id(v) for v, _ in items), tuple(float(weight) for _, weight in items)


def _domains(columns: tuple[Any, ...]) -> tuple[Any, Floats, Floats]:
    integer = np.zeros(len(columns), np.bool_)
    lower, upper = np.full(len(columns), -inf), np.full(len(columns), inf)
    for j, variable in enumerate(columns):
        low, high = variable.bounds
        if low is not None:
            lower[j] = low
        if high is not None:
            upper[j] = high
        if not variable.is_continuous():
            if not variable.is_integer():
                raise ModelError(f"Pyomo variable {variable.name!r}: its domain is neither an interval nor integers")
            integer[j] = True
    return integer, lower, upper


def export_model(model: Model) -> Any:
    """Return an array model as a ``ConcreteModel`` with one indexed component for each block.

    A block of constraints that shares its name with a block of variables gets ``_rows`` appended.
    """
    program = model.compile()
    if program.indicators:
        raise ModelError(f"model {model.name!r}: Pyomo has no indicator constraints\nMaybe bounds with a big constant")
    target = pyo.ConcreteModel(name=model.name)
    columns = [data for block in model.variables.values() for data in _add_variables(target, block)]
    for rows in model.constraints.values():
        _add_constraints(target, rows, columns)
    for number, ordered in enumerate(program.ordered_sets):
        members = [columns[j] for j in ordered.columns]
        weights = dict(enumerate(ordered.weights))
        component = pyo.SOSConstraint(var=pyo.Reference(dict(enumerate(members))), sos=ordered.order, weights=weights)
        target.add_component(f"ordered_set_{number}", component)
    sense = pyo.minimize if program.sense is Sense.MINIMISE else pyo.maximize
    target.add_component(_free_name(target, "objective"), pyo.Objective(expr=_objective(program, columns), sense=sense))
    return target


def read_values(model: Model, pyomo_model: Any) -> Floats:
    """The values that a model made by :func:`export_model` holds, by column of ``model``, NaN where it has none."""
    packed = np.full(model.num_columns, np.nan)
    for name, block in model.variables.items():
        component = pyomo_model.component(name)
        if component is None:
            component = pyomo_model.component(f"{name}_block")
        if component is None:
            raise ModelError(f"values {name!r}: the Pyomo model has no component of that name")
        packed[block.first : block.last] = [np.nan if v.value is None else v.value for v in component.values()]
    return packed


def _free_name(target: Any, name: str, ending: str = "_block") -> str:
    return f"{name}{ending}" if hasattr(target, name) else name


def _index_sets(shape: tuple[int, ...]) -> list[range]:
    return [range(length) for length in shape]


def _add_variables(target: Any, block: Variables) -> list[Any]:
    component: Any = pyo.Var(*_index_sets(block.shape))
    target.add_component(_free_name(target, block.name), component)
    columns = list(component.values())
    bounds = zip(block.lower.ravel().tolist(), block.upper.ravel().tolist(), block.integer.ravel(), strict=True)
    for variable, (lower, upper, integer) in zip(columns, bounds, strict=True):
        variable.domain = pyo.Integers if integer else pyo.Reals
        variable.setlb(None if lower == -inf else lower)
        variable.setub(None if upper == inf else upper)
    return columns


def _add_constraints(target: Any, block: Constraints, columns: list[Any]) -> None:
    component: Any = pyo.Constraint(*_index_sets(block.shape))
    target.add_component(_free_name(target, block.name, "_rows"), component)
    indices = list(np.ndindex(block.shape)) if block.shape else [None]
    ends = np.cumsum([0, *block.counts]).tolist()
    members, coefficients = block.columns.tolist(), block.coefficients.tolist()
    for row, (lower, upper) in enumerate(zip(block.lower.tolist(), block.upper.tolist(), strict=True)):
        run = slice(ends[row], ends[row + 1])
        body = PyomoLinear(linear_coefs=coefficients[run], linear_vars=[columns[j] for j in members[run]])
        index = indices[row]
        key = index[0] if index is not None and len(index) == 1 else index
        component.add(key, _relation(body, lower, upper))


def _relation(body: Any, lower: float, upper: float) -> Any:
    if not body.args:
        return pyo.Constraint.Feasible if lower <= 0.0 <= upper else pyo.Constraint.Infeasible
    if lower == upper:
        return body == lower
    return (None if lower == -inf else lower, body, None if upper == inf else upper)


def _objective(program: MixedIntegerProgram, columns: list[Any]) -> Any:
    used = np.flatnonzero(program.cost).tolist()
    linear = PyomoLinear(
        constant=program.offset, linear_coefs=program.cost[used].tolist(), linear_vars=[columns[j] for j in used]
    )
    if program.hessian is None:
        return linear
    first = np.repeat(np.arange(program.num_columns), np.diff(program.hessian.starts)).tolist()
    entries = zip(first, program.hessian.rows.tolist(), program.hessian.values.tolist(), strict=True)
    return linear + sum((0.5 if i == j else 1.0) * value * columns[i] * columns[j] for i, j, value in entries)
