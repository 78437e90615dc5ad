"""The same branching rules inside SCIP."""

from __future__ import annotations

from math import floor, inf
from typing import Any

import numpy as np
from pyscipopt import Branchrule
from pyscipopt.scip import PY_SCIP_BRANCHDIR, PY_SCIP_RESULT

from apportion.instances.program import MixedIntegerProgram
from apportion.solvers.backends.base import BackendAnswer
from apportion.solvers.backends.callbacks import Guard
from apportion.solvers.backends.scip import Scip
from apportion.solvers.branching.protocol import BranchingRule, Floats, Node, Probe, Snapshot, ask
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions

_UNLIMITED = 2**31 - 1
_INFINITE = 1e20
_FIRST = 10**7
_DOWN, _UP = PY_SCIP_BRANCHDIR.DOWNWARDS, PY_SCIP_BRANCHDIR.UPWARDS


def run_scip(
    program: MixedIntegerProgram,
    options: SolveOptions,
    monitor: Monitor,
    rule: BranchingRule,
    start: Floats | None = None,
    *,
    tighten: bool = True,
) -> BackendAnswer:
    """Solve ``program`` with SCIP, which asks ``rule`` at every node with a fractional linear program.

    Parameters
    ----------
    program, options, monitor, start
        As for :class:`~apportion.solvers.backends.scip.Scip`.
    rule
        The branching rule; what it raises is raised here.
    tighten
        Whether a child that a probe shows to be empty tightens the node. Without it that child is only cut off, as
        SCIP's own ``vanillafullstrong`` does.
    """

    def include(model: Any, variables: list[Any], guard: Guard) -> None:
        plugin = _Plugin(rule, len(variables), guard, tighten=tighten)
        model.includeBranchrule(plugin, "apportion", "asks a rule of Python", _FIRST, -1, 1.0)

    return Scip(plugins=include).run(program, options, monitor, start)


class _Plugin(Branchrule):  # type: ignore[misc]
    """Shows a node of SCIP to a rule and carries out what it says."""

    def __init__(self, rule: BranchingRule, num_columns: int, guard: Guard, *, tighten: bool) -> None:
        self._rule = rule
        self._guard = guard
        self._tighten = tighten
        self._columns = {f"x{j}": j for j in range(num_columns)}
        self._probed: dict[int, int] = {}

    def branchexeclp(self, allowaddcons: bool) -> dict[str, Any]:  # noqa: ARG002 (SCIP calls it)
        """Called by SCIP."""
        results: list[Any] = []
        self._guard.run(lambda: results.append(self._branch()))
        if self._guard.failed:
            self.model.interruptSolve()
            return {"result": PY_SCIP_RESULT.DIDNOTRUN}
        return {"result": results[0]}

    def _branch(self) -> Any:
        model = self.model
        variables, values, _, _, many, _ = model.getLPBranchCands()
        session = _Session(model, variables[:many], np.array(values[:many], np.float64), self._probed)
        node = session.node([self._column(variable) for variable in variables[:many]])
        try:
            position = ask(self._rule, node)
        finally:
            session.close()
        if self._tighten:
            result = session.tightened()
            if result is not None:
                return result
        session.split(position)
        return PY_SCIP_RESULT.BRANCHED

    def _column(self, variable: Any) -> int:
        """The column of the user's program; presolve prefixes names with ``t_``."""
        return self._columns.get(variable.name.rsplit("t_", 1)[-1], -1)


class _Session:
    """One decision: the candidates, probes of their children, and what follows from them."""

    def __init__(self, model: Any, variables: list[Any], values: Floats, probed: dict[int, int]) -> None:
        self._model, self._variables, self._values, self._probed = model, variables, values, probed
        self._objective = float(model.getLPObjVal())
        cutoff = float(model.getCutoffbound())
        self._cutoff = inf if cutoff >= _INFINITE else cutoff
        self._probes: dict[int, Probe] = {}
        self._open = False

    def node(self, columns: list[int]) -> Node:
        """What the rule sees."""
        model, variables = self._model, self._variables
        counts = [
            [
                v.getNBranchings(_DOWN) + self._probed.get(v.ptr(), 0),
                v.getNBranchings(_UP) + self._probed.get(v.ptr(), 0),
            ]
            for v in variables
        ]
        pseudo = [[model.getVarPseudocost(v, _DOWN), model.getVarPseudocost(v, _UP)] for v in variables]
        return Node(
            number=int(model.getNTotalNodes()) - 1,
            depth=int(model.getDepth()),
            objective=self._objective,
            bound=float(model.getLowerbound()),
            cutoff=self._cutoff,
            candidates=np.array(columns, np.int64),
            values=self._values,
            costs=np.array([v.getObj() for v in variables], np.float64),
            reduced_costs=np.array([model.getVarRedcost(v) for v in variables], np.float64),
            lower=np.array([v.getLbLocal() for v in variables], np.float64),
            upper=np.array([v.getUbLocal() for v in variables], np.float64),
            pseudo_costs=np.array(pseudo, np.float64),
            counts=np.array(counts, np.int64),
            mean_iterations=float(model.getNLPIterations()) / max(1, int(model.getNLPs())),
            probe=self._probe,
            snapshot=self._snapshot,
        )

    def close(self) -> None:
        """End SCIP's strong branching when a probe has begun it."""
        if self._open:
            self._model.endStrongbranch()
            self._open = False

    def _probe(self, position: int, iterations: int) -> Probe:
        known = self._probes.get(position)
        if known is not None and known.exact:
            return known
        if not self._open:
            self._model.startStrongbranch()
            self._open = True
        variable, objective = self._variables[position], self._objective
        found = self._model.getVarStrongbranch(variable, iterations or _UNLIMITED)
        down, up, down_valid, up_valid, down_empty, up_empty, _, _, failed = found
        if failed:
            return Probe(objective, objective, exact=False)
        exact = bool(down_valid and up_valid)
        children = inf if down_empty else max(down, objective), inf if up_empty else max(up, objective)
        self._learn(position, children, exact=exact)
        self._probes[position] = Probe(*children, exact=exact)
        return self._probes[position]

    def _learn(self, position: int, children: tuple[float, float], *, exact: bool) -> None:
        if not exact:
            return
        variable, value = self._variables[position], float(self._values[position])
        self._probed[variable.ptr()] = self._probed.get(variable.ptr(), 0) + 1
        for objective, moved in zip(children, (floor(value) - value, floor(value) + 1 - value), strict=True):
            if objective < inf:
                self._model.updateVarPseudocost(variable, moved, objective - self._objective, 1.0)

    def _snapshot(self) -> Snapshot:
        variables = self._model.getVars(transformed=True)
        parts = [(v.getLPSol(), self._model.getVarRedcost(v), v.getLbLocal(), v.getUbLocal()) for v in variables]
        values, reduced_costs, lower, upper = np.array(parts, np.float64).T.copy()
        return Snapshot(values, reduced_costs, lower, upper, np.zeros(0))

    def tightened(self) -> Any:
        """Leave out children that a probe has shown to be empty; None when there are none."""
        moved = False
        for position, probe in self._probes.items():
            if not probe.exact or inf not in (probe.down, probe.up):
                continue
            if probe.down == probe.up:
                return PY_SCIP_RESULT.CUTOFF
            variable, value = self._variables[position], float(self._values[position])
            tighten = self._model.tightenVarLb if probe.down == inf else self._model.tightenVarUb
            infeasible, tighter = tighten(variable, floor(value) + (1.0 if probe.down == inf else 0.0))
            if infeasible:
                return PY_SCIP_RESULT.CUTOFF
            moved = moved or bool(tighter)
        return PY_SCIP_RESULT.REDUCEDDOM if moved else None

    def split(self, position: int) -> None:
        """Make the two children and tell SCIP the bounds that a probe has proven."""
        model = self._model
        down, _, up = model.branchVarVal(self._variables[position], float(self._values[position]))
        probe = self._probes.get(position)
        if probe is None or not probe.exact:
            return
        for child, bound in ((down, probe.down), (up, probe.up)):
            if child is not None:
                model.updateNodeLowerbound(child, min(bound, self._cutoff, _INFINITE))
