from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.generate.benchmark_programs import benchmark_program
from apportion.instances.program import Floats, MixedIntegerProgram, VariableValues
from apportion.models.checking import check
from apportion.solvers.backends import backend_named
from apportion.solvers.events import Monitor
from apportion.solvers.neighbourhoods.choice import Arm, Bandit, inherit, resize
from apportion.solvers.neighbourhoods.pieces import Declared, all_pieces
from apportion.solvers.neighbourhoods.situation import Mask, Restriction, Root, Situation, Structure
from apportion.solvers.neighbourhoods.subproblem import restricted
from apportion.solvers.options import SolveOptions
from apportion.solvers.status import Status

FAMILIES = {
    "set-cover": {"rows": 30, "columns": 60},
    "multi-knapsack": {"rows": 4, "columns": 40},
    "lot-sizing": {"products": 3, "periods": 6},
    "facility": {"customers": 8, "facilities": 6},
    "assignment": {"agents": 3, "jobs": 12},
    "bin-packing": {"items": 10},
}
PIECES = {piece.name: piece for piece in all_pieces()}


@cache
def family(name: str) -> tuple[MixedIntegerProgram, tuple[Floats, Floats], Root]:
    """A program, two feasible points and its relaxation."""
    program = benchmark_program(name, 5, **FAMILIES[name])
    found = []
    for cost in (program.cost, np.where(np.arange(program.num_columns) % 3, program.cost, 0.0)):
        options = SolveOptions(gap=0.5)
        answer = backend_named("highs").run(replace(program, cost=cost), options, Monitor(program.sense))
        assert answer.values is not None
        found.append(np.where(program.integer, np.rint(answer.values), answer.values))
    relaxed = backend_named("highs").run(program.relaxed(), SolveOptions(), Monitor(program.sense))
    assert relaxed.values is not None
    assert relaxed.reduced_costs is not None
    return program, (found[0], found[1]), Root(relaxed.values, relaxed.reduced_costs, relaxed.bounds.primal)


def situation(name: str, size: int, seed: int, *, with_root: bool = True) -> Situation:
    program, (incumbent, other), root = family(name)
    structure = Structure(program)
    free = np.zeros(program.num_columns, np.bool_)
    free[structure.integers] = True
    objective = program.offset + float(program.cost @ incumbent)
    rng = np.random.default_rng(seed)
    known = root if with_root else None
    return Situation(program, structure, incumbent, objective, (other,), known, free, size, rng)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("piece", PIECES)
@given(size=st.integers(1, 40), seed=st.integers(0, 10**6))
@settings(max_examples=4, deadline=None)
def test_fixed_columns_stay_at_the_incumbent_and_answers_hold(name: str, piece: str, size: int, seed: int) -> None:
    moment = situation(name, size, seed)
    restriction = PIECES[piece].restrict(moment)
    if restriction is None:
        return
    program, incumbent = moment.program, moment.incumbent
    part = restricted(program, moment.structure, incumbent, restriction)
    fixed = program.integer & ~restriction.free
    assert not set(np.flatnonzero(fixed)) & set(part.columns.tolist())
    assert set(np.flatnonzero(~program.integer)) <= set(part.columns.tolist())
    if restriction.radius is None and piece != "constraint graph":
        assert restriction.free.sum() <= max(size, 1)
    answer = backend_named("highs").run(part.program, SolveOptions(), Monitor(part.program.sense))
    if answer.values is None:
        assert restriction.step is not None or piece == "constraint graph"
        return
    lifted = part.lifted(answer.values)
    assert np.array_equal(lifted[fixed], incumbent[fixed])
    verdict = check(program, VariableValues.from_array(program, lifted))
    assert verdict.ok
    sign = program.sense.sign
    if restriction.step is None:
        assert verdict.objective == pytest.approx(answer.bounds.primal)
        assert sign * verdict.objective <= sign * moment.objective + 2e-4 * abs(moment.objective)
    else:
        assert sign * (moment.objective - verdict.objective) >= restriction.step - 1e-4
    if restriction.radius is not None:
        binary = program.integer & (program.lower == 0.0) & (program.upper == 1.0)
        assert np.abs(lifted - incumbent)[binary].sum() <= restriction.radius + 1e-6


@pytest.mark.parametrize("name", FAMILIES)
def test_the_incumbent_is_a_plan_of_every_part_at_the_same_cost(name: str) -> None:
    moment = situation(name, 10, 1)
    restriction = PIECES["mutation"].restrict(moment)
    assert restriction is not None
    part = restricted(moment.program, moment.structure, moment.incumbent, restriction)
    assert part.start is not None
    verdict = check(part.program, VariableValues.from_array(part.program, part.start))
    assert verdict.ok
    assert verdict.objective == pytest.approx(moment.objective)
    assert np.array_equal(part.lifted(part.start), moment.incumbent)


def test_all_free_is_the_whole_program_and_none_free_only_its_continuous_part() -> None:
    moment = situation("lot-sizing", 10, 1)
    program = moment.program
    everything = np.ones(program.num_columns, np.bool_)
    whole = restricted(program, moment.structure, moment.incumbent, Restriction(everything)).program
    for field in ("cost", "lower", "upper", "row_lower", "row_upper", "integer"):
        assert np.array_equal(getattr(whole, field), getattr(program, field))
    rest = restricted(program, moment.structure, moment.incumbent, Restriction(~everything)).program
    assert not rest.integer.any()
    assert rest.num_columns == int((~program.integer).sum())
    answer = backend_named("highs").run(rest, SolveOptions(), Monitor(rest.sense))
    assert answer.status is Status.OPTIMAL


def test_without_a_relaxation_or_a_pool_some_have_nothing_to_say() -> None:
    moment = replace(situation("set-cover", 10, 1, with_root=False), pool=())
    silent = {name for name, piece in PIECES.items() if piece.restrict(moment) is None}
    assert silent == {"rins", "rens", "crossover"}


def test_same_seed_same_neighbourhood() -> None:
    for piece in PIECES.values():
        first, second = (piece.restrict(situation("facility", 12, 9)) for _ in range(2))
        assert first is not None
        assert second is not None
        assert np.array_equal(first.free, second.free)


class _Half:
    """A neighbourhood of a problem: the first half of the columns, given without a look at integrality."""

    name = "half"

    def __init__(self, length: int | None = None) -> None:
        self.length = length

    def free(self, incumbent: Floats, rng: np.random.Generator) -> Mask:
        incumbent[:] = -1.0
        return np.arange(self.length or len(incumbent)) < len(incumbent) // 2


def test_a_declared_neighbourhood_is_kept_to_integers_and_cannot_touch_the_incumbent() -> None:
    moment = situation("lot-sizing", 10, 1)
    before = moment.incumbent.copy()
    restriction = Declared(_Half()).restrict(moment)
    assert restriction is not None
    assert not restriction.free[~moment.program.integer].any()
    assert np.array_equal(moment.incumbent, before)
    assert Declared(_Half(3)).restrict(moment) is None


def test_the_bandit_tries_all_and_then_prefers_what_pays() -> None:
    bandit, rng = Bandit(["poor", "rich", "never"]), np.random.default_rng(0)
    drawn = []
    for _ in range(600):
        index = bandit.draw(rng)
        drawn.append(index)
        bandit.learn(index, (0.001, 0.05, 0.0)[index], 1.0)
    assert drawn[:3] == [0, 1, 2]
    counts = np.bincount(drawn, minlength=3)
    assert counts[1] > 350
    assert counts.min() > 20
    assert bandit.arms[2].wins == 0


def test_sizes_follow_the_difficulty() -> None:
    arm = Arm("any", share=0.2)
    resize(arm, finished=True, improved=False)
    wider = arm.share
    resize(arm, finished=False, improved=False)
    assert wider > 0.2 > 0.0
    assert arm.share < wider
    for _ in range(100):
        resize(arm, finished=True, improved=False)
    assert arm.share == 1.0
    for _ in range(100):
        resize(arm, finished=False, improved=False)
    assert arm.share == pytest.approx(0.01, rel=0.5)


def test_a_new_arm_learns_from_the_others() -> None:
    arms = [Arm("easy", tries=2, share=0.4), Arm("hard", tries=1, share=0.1), Arm("new"), Arm("old", tries=1)]
    for arm in arms[2:]:
        inherit(arm, arms[:2])
    assert arms[2].share == pytest.approx(0.2)
    assert arms[3].share == Arm("any").share
