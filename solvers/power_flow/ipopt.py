"""Ipopt, the interior point method in CasADi's wheel, behind the house's clock, cancel flag and statuses."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apportion.instances.errors import BackendError
from apportion.models.power_flow.nonlinear import NonlinearProgram, casadi
from apportion.solvers.backends.callbacks import Guard
from apportion.solvers.events import Monitor
from apportion.solvers.status import Limit, Status

Floats = NDArray[np.float64]

STATUS: dict[str, tuple[Status, Limit | None]] = {
    "Solve_Succeeded": (Status.FEASIBLE, Limit.METHOD),
    "Solved_To_Acceptable_Level": (Status.FEASIBLE, Limit.METHOD),
    "Feasible_Point_Found": (Status.FEASIBLE, Limit.METHOD),
    "Infeasible_Problem_Detected": (Status.NO_SOLUTION, Limit.METHOD),
    "Search_Direction_Becomes_Too_Small": (Status.NO_SOLUTION, Limit.METHOD),
    "Diverging_Iterates": (Status.NO_SOLUTION, Limit.METHOD),
    "User_Requested_Stop": (Status.NO_SOLUTION, Limit.INTERRUPTED),
    "Maximum_Iterations_Exceeded": (Status.NO_SOLUTION, Limit.ITERATIONS),
    "Restoration_Failed": (Status.NO_SOLUTION, Limit.METHOD),
    "Error_In_Step_Computation": (Status.NO_SOLUTION, Limit.METHOD),
    "Maximum_CpuTime_Exceeded": (Status.NO_SOLUTION, Limit.TIME),
    "Maximum_WallTime_Exceeded": (Status.NO_SOLUTION, Limit.TIME),
    "Not_Enough_Degrees_Of_Freedom": (Status.NO_SOLUTION, Limit.METHOD),
    "Invalid_Problem_Definition": (Status.ERROR, None),
    "Invalid_Option": (Status.ERROR, None),
    "Invalid_Number_Detected": (Status.NO_SOLUTION, Limit.METHOD),
    "Unrecoverable_Exception": (Status.ERROR, None),
    "NonIpopt_Exception_Thrown": (Status.ERROR, None),
    "Insufficient_Memory": (Status.NO_SOLUTION, Limit.MEMORY),
    "Internal_Error": (Status.ERROR, None),
    "Unknown": (Status.ERROR, None),
}
"""Every return code of Ipopt. It finds local optima: a proof has to come from elsewhere."""

_DEFAULTS: dict[str, Any] = {
    "ipopt.print_level": 0,
    "ipopt.sb": "yes",
    "ipopt.linear_solver": "mumps",
    "ipopt.tol": 1e-8,
    "ipopt.constr_viol_tol": 1e-8,
    "ipopt.bound_relax_factor": 0.0,  # a voltage beyond its limit by 1e-8 would be clipped, and break stiff balances
    "ipopt.acceptable_iter": 0,
    "ipopt.max_iter": 250,
    "print_time": False,
    "calc_lam_p": False,
    "error_on_fail": False,
    "show_eval_warnings": False,
}


@dataclass(frozen=True, eq=False)
class IpoptAnswer:
    """The last point, the multipliers of rows and columns, and why it stopped."""

    status: Status
    limit: Limit | None
    values: Floats
    objective: float
    row_duals: Floats
    column_duals: Floats
    iterations: int
    native_status: str


class Ipopt:
    """One nonlinear program with its derivatives, to be solved from several starts.

    Parameters
    ----------
    program
        The program.
    monitor
        Its clock and cancel flag are looked at in every iteration; it hears of the iterations as log lines.
    label
        What to call the program in the log.
    settings
        Further options of CasADi's ``nlpsol``, such as ``{"ipopt.max_iter": 50}``.
    """

    def __init__(
        self, program: NonlinearProgram, monitor: Monitor, label: str, settings: Mapping[str, Any] | None = None
    ) -> None:
        ca = casadi()
        self._program, self._monitor = program, monitor
        self._watch = _watch_class()(len(program.lower), len(program.row_lower), monitor, label)
        options = {**_DEFAULTS, **(settings or {}), "iteration_callback": self._watch}
        if isfinite(monitor.remaining_s):
            options["ipopt.max_wall_time"] = max(1e-3, monitor.remaining_s)
        functions = program.functions()
        options |= {name: functions[name] for name in ("grad_f", "jac_g", "hess_lag")}
        try:
            self._solver = ca.nlpsol("power", "ipopt", {name: functions[name] for name in "xfg"}, options)
        except RuntimeError as error:
            raise BackendError(f"ipopt refuses the program\n{error}") from error

    def solve(self, start: Floats, row_duals: Floats | None = None, column_duals: Floats | None = None) -> IpoptAnswer:
        """Solve from ``start``."""
        program = self._program
        given: dict[str, Any] = {
            "x0": start,
            "lbx": program.lower,
            "ubx": program.upper,
            "lbg": program.row_lower,
            "ubg": program.row_upper,
        }
        if row_duals is not None and column_duals is not None:
            given |= {"lam_g0": row_duals, "lam_x0": column_duals}
        solution = self._solver(**given)
        self._watch.guard.raise_if_failed()
        stats = self._solver.stats()
        native = str(stats.get("return_status", "Unknown"))
        status, limit = STATUS.get(native, (Status.ERROR, None))
        if limit is Limit.INTERRUPTED and not self._monitor.cancelled.is_set():
            limit = Limit.TIME
        return IpoptAnswer(
            status,
            limit,
            np.asarray(solution["x"], np.float64).ravel(),
            float(solution["f"]),
            np.asarray(solution["lam_g"], np.float64).ravel(),
            np.asarray(solution["lam_x"], np.float64).ravel(),
            int(stats.get("iter_count", 0)),
            native,
        )


@functools.cache
def _watch_class() -> type[Any]:
    """The class of the iteration callback; made late because its base is CasADi's."""
    ca = casadi()

    class Watch(ca.Callback):  # type: ignore[misc,name-defined]
        """Called by Ipopt after each iteration."""

        def __init__(self, columns: int, rows: int, monitor: Monitor, label: str) -> None:
            ca.Callback.__init__(self)
            self._columns, self._rows, self._monitor, self._label = columns, rows, monitor, label
            self._count = 0
            self.guard = Guard()
            self.construct("watch", {})

        def get_n_in(self) -> int:
            return int(ca.nlpsol_n_out())

        def get_n_out(self) -> int:
            return 1

        def get_name_in(self, index: int) -> str:
            return str(ca.nlpsol_out(index))

        def get_name_out(self, index: int) -> str:  # noqa: ARG002
            return "stop"

        def get_sparsity_in(self, index: int) -> Any:
            size = {"f": 1, "x": self._columns, "lam_x": self._columns, "g": self._rows, "lam_g": self._rows}
            return ca.Sparsity.dense(size.get(ca.nlpsol_out(index), 0), 1)

        def eval(self, arguments: list[Any]) -> list[int]:
            self._count += 1
            self.guard.run(lambda: self._tell(float(arguments[1])))
            return [int(self.guard.failed or self._monitor.should_stop)]

        def _tell(self, objective: float) -> None:
            self._monitor.log(f"{self._label}, iteration {self._count}: objective {objective:g}", "ipopt")

    return Watch
