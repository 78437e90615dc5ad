"""The method of constraint models that users bring: CP-SAT as it is, watched and checked."""

from __future__ import annotations

from typing import cast

from apportion.instances.constraint_model import ConstraintModel, WholeNumbers
from apportion.instances.errors import CapabilityError
from apportion.solvers.advisor import Advisor
from apportion.solvers.backends import backend_named
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.result import Answer


def solve_constraint_model(
    instance: ConstraintModel,
    options: SolveOptions,
    monitor: Monitor,
    _advisor: Advisor | None = None,
) -> Answer[WholeNumbers]:
    """Solve a ``CpModel`` with CP-SAT. A start replaces the hint of the model, for this solve alone.

    Raises
    ------
    CapabilityError
        When another backend is asked for.
    """
    if options.backend not in (None, "cp-sat"):
        raise CapabilityError(f"{options.backend} cannot express a constraint model\nMaybe backend 'cp-sat'")
    backend_named("cp-sat")
    from apportion.solvers.backends.cp_sat import solve_cp_model

    model = instance.model
    if options.start is not None:
        model = model.clone()
        model.clear_hints()
        hint = model.Proto().solution_hint
        start = cast("WholeNumbers", options.start)
        hint.vars.extend(range(len(start.values)))
        hint.values.extend(start.values)
    found = solve_cp_model(model, options, monitor)
    return Answer(
        status=found.status,
        bounds=found.bounds,
        plan=None if found.solution is None else WholeNumbers(found.solution),
        limit=found.limit,
        counts=found.counts,
        native_status=f"cp-sat: {found.native_status}",
        native=found,
    )
