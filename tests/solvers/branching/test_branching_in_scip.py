from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from apportion.instances.generate.branching_programs import branching_program
from apportion.instances.program import MixedIntegerProgram
from apportion.solvers.backends import backend_named
from apportion.solvers.backends.base import BackendAnswer
from apportion.solvers.branching.host import BranchSettings
from apportion.solvers.branching.method import branch_and_bound
from apportion.solvers.branching.protocol import BranchingRule, Node
from apportion.solvers.branching.rules import RULES, FullStrong, rule_named
from apportion.solvers.branching.scip_rule import run_scip
from apportion.solvers.events import Monitor
from apportion.solvers.options import ScipOptions, Setting, SolveOptions
from apportion.solvers.status import Limit, Status
from contract.programs import knapsack

PLAIN: dict[str, Setting] = {
    "separating/maxrounds": 0,
    "separating/maxroundsroot": 0,
    "presolving/maxrounds": 0,
    "presolving/maxrestarts": 0,
    "conflict/enable": False,
}


def run(program: MixedIntegerProgram, rule: BranchingRule, *, tighten: bool = True, **options: Any) -> BackendAnswer:
    chosen = SolveOptions.build(gap=0.0, scip=ScipOptions(settings=PLAIN), **options)
    return run_scip(program, chosen, Monitor(program.sense), rule, tighten=tighten)


@pytest.mark.parametrize("seed", [1, 2])
def test_full_strong_branching_makes_the_tree_of_scip_s_own_rule(seed: int) -> None:
    program = knapsack(size=22, rows=4, seed=seed)
    settings: dict[str, Setting] = {**PLAIN, "branching/vanillafullstrong/priority": 10**6}
    options = SolveOptions(gap=0.0, scip=ScipOptions(settings=settings))
    own = backend_named("scip").run(program, options, Monitor(program.sense))
    ours = run(program, FullStrong(), tighten=False)
    assert own.counts["nodes"] > 5
    assert ours.counts["nodes"] == own.counts["nodes"]
    assert ours.bounds == own.bounds


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("tighten", [True, False])
def test_all_rules_find_the_optimum(name: str, tighten: bool) -> None:
    program = knapsack(size=18, rows=4, seed=3)
    best = backend_named("highs").run(program, SolveOptions(gap=0.0), Monitor(program.sense))
    answer = run(program, rule_named(name, 2), tighten=tighten)
    assert answer.status is Status.OPTIMAL
    assert answer.bounds.primal == pytest.approx(best.bounds.primal)


def test_both_hosts_show_the_same_root() -> None:
    """Without presolve and cuts the root has one optimum here: candidates, values and probes agree."""
    program = branching_program("auction", 3, items=30, bids=90)
    seen: list[dict[int, tuple[float, float, float]]] = []

    class Watcher:
        def choose(self, node: Node) -> int:
            if node.number == 0:
                probes = [node.probe(position, 0) for position in range(len(node.candidates))]
                assert (node.lower == 0.0).all()
                assert (node.upper == 1.0).all()
                assert node.cutoff == np.inf or node.cutoff > node.objective
                shown = zip(node.candidates.tolist(), node.values.tolist(), probes, strict=True)
                seen.append({column: (value, probe.down, probe.up) for column, value, probe in shown})
            return 0

    off: dict[str, Setting] = {**PLAIN, **_without_heuristics()}
    options = SolveOptions(gap=0.0, node_limit=1)
    bare = BranchSettings(Watcher(), presolve=False, cuts=False, heuristics=False)
    branch_and_bound(program, options, Monitor(program.sense), settings=bare)
    run_scip(program, options.with_(scip=ScipOptions(settings=off)), Monitor(program.sense), Watcher())
    ours, scip = seen
    assert set(ours) == set(scip)
    for column, shown in ours.items():
        assert shown == pytest.approx(scip[column], abs=1e-6)


def _without_heuristics() -> dict[str, Setting]:
    from pyscipopt import Model

    names = Model(defaultPlugins=True).getParams()
    return {name: -1 for name in names if name.startswith("heuristics/") and name.endswith("/freq")}


def test_snapshot_has_every_column() -> None:
    program = knapsack(size=20, rows=4)
    shapes = []

    class Watcher:
        def choose(self, node: Node) -> int:
            taken = node.snapshot()
            shapes.append((len(taken.values), len(taken.lower), len(node.candidates)))
            assert ((taken.values >= taken.lower - 1e-6) & (taken.values <= taken.upper + 1e-6)).all()
            return 0

    run(program, Watcher(), node_limit=5)
    assert shapes
    assert all(columns == bounds == program.num_columns for columns, bounds, _ in shapes)


def test_node_limit_and_method() -> None:
    program = knapsack(size=26, rows=5)
    settings = BranchSettings(rule_named("random", 1))
    options = SolveOptions(gap=0.0, backend="scip", node_limit=3, scip=ScipOptions(settings=PLAIN))
    answer = branch_and_bound(program, options, Monitor(program.sense), settings=settings)
    assert answer.limit is Limit.NODES
    assert answer.native_status == "nodelimit"
