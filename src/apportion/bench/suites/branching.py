"""The branch and bound of this package against SCIP and HiGHS on the families of learned branching."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from apportion.bench.registry import Context, Measurement, Target, spec
from apportion.instances.generate.branching_programs import branching_program
from apportion.instances.program import Floats, MixedIntegerProgram, VariableValues
from apportion.solvers.backends import backend_named
from apportion.solvers.backends.base import BackendAnswer
from apportion.solvers.branching.host import BranchSettings
from apportion.solvers.branching.method import branch_and_bound
from apportion.solvers.branching.rules import FullStrong
from apportion.solvers.events import Monitor
from apportion.solvers.options import ScipOptions, Setting, SolveOptions
from apportion.solvers.status import Status

_WALL_LIMIT_S = 240.0
_TIME_BAR = 3.0
_NODES_BAR = 1.2
_SAME = 1e-6
_TIMED: dict[str, tuple[dict[str, float], ...]] = {
    "set-cover": ({"seed": 1}, {"seed": 2}),
    "auction": ({"seed": 1}, {"seed": 2}),
    "independent-set": ({"seed": 1}, {"seed": 2}),
    "facility": ({"seed": 1, "customers": 50, "facilities": 50}, {"seed": 2, "customers": 50, "facilities": 50}),
}
_COUNTED: dict[str, dict[str, float]] = {
    "set-cover": {"rows": 200, "columns": 400},
    "auction": {"items": 50, "bids": 200},
    "independent-set": {"nodes": 120},
    "facility": {"customers": 25, "facilities": 25},
}
_COUNTED_SEEDS = range(1, 6)
_QUICK: dict[str, dict[str, float]] = {
    "set-cover": {"rows": 60, "columns": 100},
    "auction": {"items": 20, "bids": 60},
    "independent-set": {"nodes": 50},
    "facility": {"customers": 10, "facilities": 8},
}
_QUICK_SEEDS = (1, 2)

ALIKE: dict[str, Setting] = {"separating/maxrounds": 0, "presolving/maxrestarts": 0}
"""SCIP as Gasse et al. (2019) run it, and as ours works: cuts at the root alone, no restarts. The rest is default."""

BARE: dict[str, Setting] = {
    **ALIKE,
    "separating/maxroundsroot": 0,
    "presolving/maxrounds": 0,
    "conflict/enable": False,
    "branching/vanillafullstrong/priority": 10**6,
}
"""Full strong branching on the program as it is; heuristics are switched off besides."""


@dataclass(frozen=True)
class Timed:
    """What a solve ended with."""

    answer: BackendAnswer
    cpu_s: float

    @property
    def proven(self) -> bool:
        """Whether the optimum was proven in time."""
        return self.answer.status is Status.OPTIMAL

    def __str__(self) -> str:
        bounds, nodes = self.answer.bounds, self.answer.counts.get("nodes", 0)
        return f"{self.answer.status} {bounds.primal:.9g} [{bounds.dual:.9g}] {nodes} nodes {self.cpu_s:.2f} s"


@spec("solvers", "branching")
def branching(context: Context) -> Iterator[Measurement]:
    """Same optimum, CPU time, and the nodes of full strong branching."""
    _ours(branching_program("set-cover", 1, rows=30, columns=40, density=0.1), BranchSettings(), None)
    for family in _TIMED:
        yield from _time(family, context)
        yield from _count(family, context)


def _time(family: str, context: Context) -> Iterator[Measurement]:
    """CPU seconds to the proof, ours with reliability branching against SCIP's, and the optimum of all three."""
    cases = tuple({"seed": s, **_QUICK[family]} for s in _QUICK_SEEDS) if context.quick else _TIMED[family]
    agree, notes, ours_s, scip_s = [], [], [], []
    for sizes in cases:
        program = branching_program(family, **_typed(sizes))
        ours = _ours(program, BranchSettings(), None)
        scip = _scip(program, ALIKE, None) if context.wants("scip") else None
        highs = _highs(program) if context.wants("highs") else None
        agree += [_consistent(program, ours.answer, peer.answer) for peer in (scip, highs) if peer is not None]
        notes.append(f"{program.name}: ours {ours}, scip {scip}, highs {highs}")
        if ours.proven or (scip is not None and scip.proven):
            ours_s.append(ours.cpu_s if ours.proven else np.inf)
            scip_s.append(scip.cpu_s if scip is not None else np.nan)
    note = "; ".join(notes)
    share = float(np.mean(agree)) if agree else np.nan
    yield Measurement(family, "share with the same optimum", share, target=Target("ours", ">=", 1.0), note=note)
    yield Measurement(
        family,
        f"CPU s to the proof, {len(ours_s)} of {len(cases)} (geometric mean)",
        _mean(ours_s) if ours_s else np.nan,
        _mean(scip_s) if scip_s and not np.isnan(scip_s).any() else None,
        "scip, root cuts only, no restarts",
        Target("ratio", "<=", _TIME_BAR),
        cpu_s=sum(ours_s),
        note="left out: those that neither proves in time; infinite: those that only the peer proves",
    )


def _count(family: str, context: Context) -> Iterator[Measurement]:
    """Nodes of full strong branching, ours against SCIP's own, with the optimum given to both.

    Presolve, cuts, heuristics and conflict analysis are off on both sides, so that branching alone differs.
    """
    if not context.wants("scip"):
        return
    sizes = _QUICK[family] if context.quick else _COUNTED[family]
    ours, theirs, spent = [], [], 0.0
    for seed in _QUICK_SEEDS if context.quick else _COUNTED_SEEDS:
        program = branching_program(family, seed, **_typed(sizes))
        best = _best(program)
        settings = BranchSettings(FullStrong(), presolve=False, cuts=False, heuristics=False, tighten=False)
        mine = _ours(program, settings, best)
        ours.append(mine.answer.counts["nodes"])
        theirs.append(_scip(program, BARE | _without_heuristics(), best).answer.counts["nodes"])
        spent += mine.cpu_s
    yield Measurement(
        f"{family} {' '.join(f'{name}={value:g}' for name, value in sizes.items())}",
        "nodes of full strong branching (geometric mean)",
        _mean(ours),
        _mean(theirs),
        "scip, vanillafullstrong",
        Target("ratio", "<=", _NODES_BAR),
        seeds=tuple(_QUICK_SEEDS if context.quick else _COUNTED_SEEDS),
        cpu_s=spent,
        note=f"ours {ours}, scip {theirs}; the optimum is given to both",
    )


def _typed(sizes: dict[str, float]) -> dict[str, Any]:
    return dict(sizes)


def _mean(figures: list[float] | list[int]) -> float:
    return float(np.exp(np.mean(np.log(np.maximum(figures, 1e-3)))))


def _options(**more: Any) -> SolveOptions:
    return SolveOptions(gap=0.0, seed=1, **more)


def _monitor(program: MixedIntegerProgram) -> Monitor:
    return Monitor(program.sense, None, _WALL_LIMIT_S)


def _timed(solve: Callable[[], BackendAnswer]) -> Timed:
    began = time.process_time()
    answer = solve()
    return Timed(answer, time.process_time() - began)


def _ours(program: MixedIntegerProgram, settings: BranchSettings, start: Floats | None) -> Timed:
    plan = None if start is None else VariableValues.from_array(program, start)

    def solve() -> BackendAnswer:
        answer = branch_and_bound(program, _options(start=plan), _monitor(program), settings=settings)
        native: BackendAnswer = answer.native
        return native

    return _timed(solve)


def _scip(program: MixedIntegerProgram, settings: dict[str, Setting], start: Floats | None) -> Timed:
    options = _options(scip=ScipOptions(settings=settings))
    return _timed(lambda: backend_named("scip").run(program, options, _monitor(program), start))


def _highs(program: MixedIntegerProgram) -> Timed:
    return _timed(lambda: backend_named("highs").run(program, _options(), _monitor(program)))


def _without_heuristics() -> dict[str, Setting]:
    from pyscipopt import Model

    names = Model(defaultPlugins=True).getParams()
    return {name: -1 for name in names if name.startswith("heuristics/") and name.endswith("/freq")}


def _best(program: MixedIntegerProgram) -> Floats:
    """An optimum; where rounding its integers breaks a row, the start would be refused and the case would show it."""
    values = backend_named("highs").run(program, _options(), _monitor(program)).values
    if values is None:
        raise RuntimeError(f"HiGHS found no optimum of {program.name}")
    return np.where(program.integer, np.rint(values), values)


def _consistent(program: MixedIntegerProgram, ours: BackendAnswer, peer: BackendAnswer) -> bool:
    """The same optimum where both proved one; else no claim of one contradicts the other's."""
    sign = program.sense.sign
    allowed = _SAME * max(1.0, abs(ours.bounds.primal))
    crossed = (
        sign * (ours.bounds.dual - peer.bounds.primal) > allowed
        or sign * (peer.bounds.dual - ours.bounds.primal) > allowed
    )
    return not crossed
