from __future__ import annotations

import threading
from math import inf, isfinite, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from apportion.instances.core import Instance, Sense
from apportion.instances.errors import OptionError
from apportion.instances.generate.benchmark_programs import benchmark_program
from apportion.instances.generate.branching_programs import branching_program
from apportion.instances.program import MixedIntegerProgram, VariableValues
from apportion.models.checking import check
from apportion.solvers.advisor import Advice
from apportion.solvers.backends import backend_named, refusal
from apportion.solvers.branching.host import BranchSettings
from apportion.solvers.branching.method import branch_and_bound
from apportion.solvers.branching.protocol import Node
from apportion.solvers.branching.rules import RULES, FullStrong, MostInfeasible, Random, rule_named
from apportion.solvers.branching.tree import Selection
from apportion.solvers.events import Event, EventKind, Monitor
from apportion.solvers.heuristics.arrays import problem_of
from apportion.solvers.options import SolveOptions
from apportion.solvers.registry import methods_of
from apportion.solvers.result import Answer
from apportion.solvers.solve import solve_instance
from apportion.solvers.status import Limit, Status
from contract.programs import CASES, Case, knapsack, market_split
from heuristic_twins import points, small_programs
from tiny_programs import tiny_programs

BARE = BranchSettings(presolve=False, cuts=False, heuristics=False)
SMALL: tuple[tuple[str, dict[str, int]], ...] = (
    ("set-cover", {"rows": 80, "columns": 150}),
    ("auction", {"items": 20, "bids": 60}),
    ("independent-set", {"nodes": 60}),
    ("facility", {"customers": 12, "facilities": 10}),
)


def solve(
    program: MixedIntegerProgram, parts: BranchSettings | None = None, events: list[Event] | None = None, **options: Any
) -> Answer[VariableValues]:
    chosen = SolveOptions.build(**{"gap": 0.0, **options})
    listener = None if events is None else events.append
    return branch_and_bound(program, chosen, Monitor(program.sense, listener), settings=parts)


def true_of(events: list[Event], sense: Sense, optimum: float) -> None:
    """Every claim on the stream holds for the optimum."""
    allowed = 1e-6 * max(1.0, abs(optimum))
    for event in events:
        assert sense.sign * (event.bounds.primal - optimum) >= -allowed
        assert sense.sign * (event.bounds.dual - optimum) <= allowed


def test_it_is_a_method_of_programs() -> None:
    assert "branch-and-bound" in methods_of("mixed-integer-program")


@pytest.mark.parametrize("parts", [None, BARE], ids=["all parts", "bare"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_contract_cases(case: Case, parts: BranchSettings | None) -> None:
    program = case.build()
    if refusal(program, "highs") and refusal(program, "scip"):
        pytest.skip("no backend can")
    events: list[Event] = []
    answer = solve(program, parts, events)
    assert answer.status in case.status
    if answer.status is not Status.OPTIMAL:
        assert answer.plan is None
        return
    assert answer.plan is not None
    assert answer.bounds.primal == pytest.approx(case.objective, rel=1e-6, abs=1e-6)
    assert answer.bounds.dual == pytest.approx(case.objective, rel=1e-6, abs=1e-6)
    assert check(program, answer.plan).ok
    true_of(events, program.sense, case.objective)


@given(program=small_programs())
@settings(max_examples=40, deadline=None)
def test_it_proves_the_same_as_brute_force(program: MixedIntegerProgram) -> None:
    problem = problem_of(program)
    feasible = points(problem)
    for parts in (None, BARE):
        events: list[Event] = []
        answer = solve(program, parts, events)
        if not feasible:
            assert answer.status is Status.INFEASIBLE
            continue
        best = program.sense.sign * min(float(problem.cost @ point) for point in feasible)
        assert answer.status is Status.OPTIMAL
        assert answer.bounds.primal == pytest.approx(best)
        assert answer.bounds.dual == pytest.approx(best, rel=1e-6, abs=1e-6)
        true_of(events, program.sense, best)


@given(program=tiny_programs(integer=True))
@settings(max_examples=40, deadline=None)
def test_general_integers_agree_with_enumeration(program: MixedIntegerProgram) -> None:
    problem = problem_of(program)
    costs = [float(problem.cost @ point) for point in points(problem)]
    answer = solve(program, BranchSettings(rule=MostInfeasible(), presolve=False, cuts=False, heuristics=False))
    assert (answer.status is Status.OPTIMAL) == bool(costs)
    if costs:
        best = program.sense.sign * min(costs) + program.offset
        assert answer.bounds.primal == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_random_programs_agree_with_highs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sense = list(Sense)[seed % 2]
    program = knapsack(size=12 + 2 * seed, rows=3, seed=int(rng.integers(100)), sense=sense)
    best = backend_named("highs").run(program, SolveOptions(gap=0.0), Monitor(sense)).bounds.primal
    events: list[Event] = []
    for selection in Selection:
        answer = solve(program, BranchSettings(selection=selection), events)
        assert answer.status is Status.OPTIMAL
        assert answer.bounds.primal == pytest.approx(best)
    true_of(events, sense, best)


@pytest.mark.parametrize(("family", "sizes"), SMALL, ids=[family for family, _ in SMALL])
def test_all_rules_find_the_same_optimum(family: str, sizes: dict[str, int]) -> None:
    program = branching_program(family, 3, **sizes)
    best = backend_named("highs").run(program, SolveOptions(gap=0.0), Monitor(program.sense)).bounds.primal
    for name in RULES:
        for cuts in (False, True):
            events: list[Event] = []
            answer = solve(program, BranchSettings(rule_named(name, 7), cuts=cuts), events)
            assert answer.status is Status.OPTIMAL, (name, cuts)
            assert answer.bounds.primal == pytest.approx(best, rel=1e-6)
            true_of(events, program.sense, best)


@pytest.mark.parametrize(
    ("family", "sizes"),
    [
        ("lot-sizing", {"products": 2, "periods": 5}),
        ("assignment", {"agents": 3, "jobs": 12}),
        ("multi-knapsack", {"rows": 4, "columns": 20}),
        ("network", {"nodes": 6, "arcs": 14, "commodities": 3}),
    ],
)
def test_other_families_agree_with_highs(family: str, sizes: dict[str, float]) -> None:
    program = benchmark_program(family, 4, **sizes)
    best = solve_instance(program, SolveOptions(gap=0.0))
    ours = solve_instance(program, SolveOptions(gap=0.0), method="branch-and-bound")
    assert ours.status is Status.OPTIMAL
    assert ours.objective == pytest.approx(best.objective, rel=1e-6)


def hard() -> MixedIntegerProgram:
    return knapsack(size=24, rows=5)


@pytest.mark.parametrize("limit", [0, 1, 7])
def test_node_limit(limit: int) -> None:
    program = hard()
    best = backend_named("highs").run(program, SolveOptions(gap=0.0), Monitor(program.sense)).bounds.primal
    events: list[Event] = []
    answer = solve(program, BranchSettings(Random(1), cuts=False), events, node_limit=limit)
    assert answer.limit is Limit.NODES
    assert answer.status is Status.FEASIBLE
    assert answer.counts["nodes"] == limit
    assert answer.bounds.primal <= best <= answer.bounds.dual
    true_of(events, program.sense, best)


def test_bounds_only_improve_and_nodes_are_told() -> None:
    events: list[Event] = []
    answer = solve(hard(), BranchSettings(Random(3)), events)
    duals = [event.bounds.dual for event in events if event.kind is EventKind.BOUND]
    assert len(duals) > 1
    assert duals == sorted(duals, reverse=True)
    told = [event.nodes for event in events if event.kind is EventKind.NODE]
    assert told == sorted(told)
    assert told[-1] == answer.counts["nodes"]
    assert any(event.kind is EventKind.INCUMBENT for event in events)


@pytest.mark.parametrize("kind", [EventKind.INCUMBENT, EventKind.BOUND, EventKind.NODE])
def test_cancel(kind: EventKind) -> None:
    program = market_split()
    cancelled = threading.Event()

    def listen(event: Event) -> None:
        if event.kind is kind or event.nodes >= 200:
            cancelled.set()

    monitor = Monitor(program.sense, listen, inf, cancelled)
    answer = branch_and_bound(program, SolveOptions(gap=0.0), monitor)
    assert answer.limit is Limit.INTERRUPTED
    assert answer.status in (Status.FEASIBLE, Status.NO_SOLUTION)
    assert answer.bounds.dual <= answer.bounds.primal


def test_cancel_before_it_begins() -> None:
    cancelled = threading.Event()
    cancelled.set()
    program = hard()
    answer = branch_and_bound(program, SolveOptions(), Monitor(program.sense, None, inf, cancelled))
    assert answer.limit is Limit.INTERRUPTED


def test_time_limit() -> None:
    program = market_split()
    answer = branch_and_bound(program, SolveOptions(gap=0.0), Monitor(program.sense, None, 1.0))
    assert answer.limit is Limit.TIME
    assert answer.bounds.dual <= answer.bounds.primal


def test_gap_ends_early_with_a_true_bound() -> None:
    program = hard()
    tight = solve(program)
    events: list[Event] = []
    loose = solve(program, BranchSettings(cuts=False), events, gap=0.05)
    assert loose.status is Status.OPTIMAL
    assert loose.bounds.gap <= 0.05 + 1e-9
    assert loose.counts["nodes"] <= tight.counts["nodes"] + 1
    true_of(events, program.sense, tight.bounds.primal)


def test_start_is_taken_and_never_lost() -> None:
    program = hard()
    best = solve_instance(program, SolveOptions(gap=0.0))
    events: list[Event] = []
    answer = solve(program, BARE, events, start=best.plan, node_limit=1)
    first = next(event for event in events if event.kind is EventKind.INCUMBENT)
    assert first.letter == "S"
    assert answer.bounds.primal == pytest.approx(best.objective)


def test_it_repeats_exactly() -> None:
    def trace() -> list[tuple[str, float, float, int]]:
        events: list[Event] = []
        solve(branching_program("auction", 2, items=25, bids=80), None, events, seed=5)
        return [(event.kind, event.bounds.primal, event.bounds.dual, event.nodes) for event in events]

    assert trace() == trace()


def test_advice_is_branched_on_first() -> None:
    program = branching_program("independent-set", 1, nodes=70)
    seen: list[tuple[int, ...]] = []

    class Other:
        def choose(self, node: Node) -> int:
            seen.append(tuple(node.candidates.tolist()))
            return 0

    class Adviser:
        def advise(self, instance: Instance) -> Advice:
            return Advice(branch_first=(3, 5, 8))

    settings_ = BranchSettings(Other(), presolve=False, cuts=False, heuristics=False)
    answer = branch_and_bound(program, SolveOptions(gap=0.0), Monitor(program.sense), Adviser(), settings=settings_)
    assert answer.status is Status.OPTIMAL
    assert all(not {3, 5, 8} & set(candidates) for candidates in seen)


class Answers:
    """A rule that answers whatever it is told to."""

    def __init__(self, answer: object) -> None:
        self._answer = answer

    def choose(self, node: Node) -> Any:
        return len(node.candidates) if self._answer == "beyond" else self._answer


@pytest.mark.parametrize("answer", [nan, 1.0, -1, "beyond", None, "x", True, [0]], ids=str)
@pytest.mark.parametrize("backend", ["highs", "scip"])
def test_an_illegal_choice_is_a_clear_error(answer: object, backend: str) -> None:
    program = hard()
    options = SolveOptions(gap=0.0, backend=backend)
    parts = BranchSettings(Answers(answer), presolve=False, cuts=False, heuristics=False)
    with pytest.raises(OptionError, match=r"branching rule Answers chose .*\nMaybe a position from 0 to \d+"):
        branch_and_bound(program, options, Monitor(program.sense), settings=parts)


@pytest.mark.parametrize("backend", ["highs", "scip"])
def test_what_a_rule_raises_comes_through(backend: str) -> None:
    class Broken:
        def choose(self, node: Node) -> int:
            raise ZeroDivisionError(node.number)

    program = hard()
    with pytest.raises(ZeroDivisionError):
        solve(program, BranchSettings(Broken(), presolve=False, cuts=False, heuristics=False), backend=backend)


def test_a_rule_cannot_harm_by_writing_into_its_view() -> None:
    class Vandal:
        def choose(self, node: Node) -> int:
            for array in (node.values, node.lower, node.upper, node.costs, node.reduced_costs, node.pseudo_costs):
                array[:] = nan
            snapshot = node.snapshot()
            snapshot.lower[:] = nan
            return 0

    program = branching_program("independent-set", 1, nodes=50)
    best = solve(program).bounds.primal
    vandalised = solve(program, BranchSettings(Vandal(), presolve=False, cuts=False, heuristics=False))
    assert vandalised.bounds.primal == pytest.approx(best)


def test_probes_are_bounds_of_the_children() -> None:
    """Each probe against the linear program of the child, solved from scratch."""
    program = branching_program("independent-set", 1, nodes=50)
    seen = 0

    class Prober:
        def choose(self, node: Node) -> int:
            nonlocal seen
            if node.depth or seen:
                return 0
            for position in range(min(5, len(node.candidates))):
                probe = node.probe(position, 0)
                assert node.probe(position, 0) is probe
                for side, objective in enumerate((probe.down, probe.up)):
                    child = _child(program, int(node.candidates[position]), float(side))
                    assert objective == pytest.approx(-child, abs=1e-6)
                    seen += 1
            return 0

    parts = BranchSettings(Prober(), presolve=False, cuts=False, heuristics=False, tighten=False)
    solve(program, parts, node_limit=1)
    assert seen == 10


def _child(program: MixedIntegerProgram, column: int, value: float) -> float:
    from dataclasses import replace

    lower, upper = program.lower.copy(), program.upper.copy()
    lower[column] = upper[column] = value
    relaxed = replace(program.relaxed(), lower=lower, upper=upper)
    primal = backend_named("highs").run(relaxed, SolveOptions(), Monitor(program.sense)).bounds.primal
    assert isfinite(primal)
    return primal


def test_full_strong_branching_needs_few_nodes() -> None:
    program = hard()
    nodes = {}
    for name, rule in (("full", FullStrong()), ("random", Random(1))):
        nodes[name] = solve(program, BranchSettings(rule, cuts=False)).counts["nodes"]
    assert nodes["full"] < nodes["random"]
