from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from apportion.instances.errors import InstanceError, OptionError
from apportion.instances.generate.benchmark_programs import benchmark_program
from apportion.instances.generate.series import SERIES, series_program
from apportion.instances.program import MixedIntegerProgram
from apportion.learned.advisors.simple import NearestAdvisor, RelaxationAdvisor, UnanimousAdvisor, advice_of
from apportion.learned.memory import Memory, sketch_of
from apportion.solvers.advisor import Advice, Advisor
from contract.programs import CASES

SIZES = {"customers": 9, "facilities": 4}


def day(seed: int, **changed: float) -> MixedIntegerProgram:
    return series_program("facility-day", seed, **(SIZES | changed))


def remembered(days: int = 3) -> Memory:
    programs = [day(seed) for seed in range(days)]
    random = np.random.default_rng(0)
    return Memory.of(programs, [np.rint(random.random(program.num_columns)) for program in programs])


def test_the_same_day_is_nearest() -> None:
    memory = remembered(5)
    for seed in range(5):
        assert memory.nearest(day(seed), 2)[0] == seed
        assert seed not in memory.nearest(day(seed), 5, without=seed)


def test_a_slight_change_stays_near() -> None:
    same, near, far = day(1, spread=0.2), day(1, spread=0.21), day(2, spread=0.2)
    distances = [float(np.linalg.norm(sketch_of(same) - sketch_of(other))) for other in (same, near, far)]
    assert distances[0] == 0.0
    assert distances[0] < distances[1] < distances[2]


@pytest.mark.parametrize(
    "other", [lambda: day(1, facilities=5), lambda: benchmark_program("set-cover", 1, rows=4, columns=6)]
)
def test_another_structure_is_not_known(other: Callable[[], MixedIntegerProgram]) -> None:
    memory, program = remembered(), other()
    assert memory.knows(day(77))
    assert not memory.knows(program)
    for advisor in (UnanimousAdvisor(memory), NearestAdvisor(memory)):
        assert not advisor.advise(program).fix
    with pytest.raises(InstanceError, match="differs in structure"):
        Memory.of([day(1), program], [np.zeros(1), np.zeros(1)])


def test_usual_values_leave_out_the_day() -> None:
    memory, program = remembered(3), day(1)
    usual = memory.usual(program, without=1)
    assert usual.mean[program.integer] == pytest.approx((memory.values[0] + memory.values[2]) / 2)
    assert (usual.certainty[~program.integer] == 0.0).all()
    alone = remembered(1)
    assert (alone.usual(day(0), without=0).certainty == 0.0).all()


def test_it_is_stored_and_read_back() -> None:
    memory = remembered()
    again = Memory.stored(memory.arrays(), "w")
    assert (again.values == memory.values).all()
    assert (again.sketches == memory.sketches).all()
    assert again.knows(day(9))
    arrays = memory.arrays()
    with pytest.raises(InstanceError, match=r"memory.values.*is missing"):
        Memory.stored({name: arrays[name] for name in arrays if name != "memory.values"}, "w")
    with pytest.raises(InstanceError, match="fit together"):
        Memory.stored(arrays | {"memory.sketches": np.full((3, 64), np.nan)}, "w")
    with pytest.raises(InstanceError, match="none to remember"):
        Memory.of([], [])


def test_unanimous_and_nearest() -> None:
    program = day(0)
    programs = [day(seed) for seed in range(3)]
    values = np.zeros((3, program.num_columns))
    values[:, 1], values[0, 2], values[2, 3] = 1.0, 1.0, 1.0
    memory = Memory.of(programs, list(values))
    assert UnanimousAdvisor(memory).advise(day(5)).fix == {0: 0.0, 1: 1.0}
    assert NearestAdvisor(memory, days=1).advise(day(0)).fix == {0: 0.0, 1: 1.0, 2: 1.0, 3: 0.0}


def test_the_relaxation_speaks_of_whole_values() -> None:
    program = benchmark_program("multi-knapsack", 1, rows=2, columns=20)
    fixed = RelaxationAdvisor().advise(program).fix
    assert 15 <= len(fixed) < 20
    assert set(fixed.values()) <= {0.0, 1.0}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_advice_on_anything_is_advice_or_none(case: Callable[[], MixedIntegerProgram]) -> None:
    program = case.build()  # type: ignore[attr-defined]
    advisors: list[Advisor] = [RelaxationAdvisor(), UnanimousAdvisor(remembered()), NearestAdvisor(remembered())]
    for advisor in advisors:
        assert isinstance(advisor.advise(program), Advice)


def test_no_number_is_no_advice() -> None:
    program = day(1)
    confidence = np.array([np.nan, 0.9, 0.95, 0.2])
    assert list(advice_of(program, np.array([1.0, 1.0, 0.0, 1.0]), confidence, 0.5).fix.items()) == [(2, 0.0), (1, 1.0)]


@pytest.mark.parametrize("series", SERIES)
def test_series_repeat_and_change(series: str) -> None:
    first, again, other = (series_program(series, seed) for seed in (1, 1, 2))
    assert (first.cost == again.cost).all()
    assert (first.matrix.rows == other.matrix.rows).all()
    assert any(
        not np.array_equal(getattr(first, name), getattr(other, name)) for name in ("cost", "row_lower", "row_upper")
    )
    assert (series_program(series, 1, base=5).cost != first.cost).any()


def test_unknown_series() -> None:
    with pytest.raises(OptionError, match="Maybe one of"):
        series_program("weather")
