from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import inf, isfinite

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.bench.faults import LIES, ONLY_BY_VERIFYING, FaultyBackend
from apportion.instances.core import Sense
from apportion.instances.errors import CapabilityError
from apportion.instances.program import MixedIntegerProgram, SpecialOrderedSet
from apportion.solvers.backends import backend_named
from apportion.solvers.backends.base import BackendAnswer
from apportion.solvers.certificates import Claim, Proof, certify, compare, verify
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.root_bounds import prove_infeasible, root_bound, safe_from
from apportion.solvers.solve import solve_instance
from apportion.solvers.status import Bounds, Status
from tiny_programs import exact_integer, exact_relaxation, make_program, tiny_programs

OPTIONS = SolveOptions(gap=0.0)


def run(program: MixedIntegerProgram, backend: str = "highs") -> BackendAnswer:
    return backend_named(backend).run(program, OPTIONS, Monitor(program.sense))


def knapsack(sense: Sense = Sense.MAXIMISE) -> MixedIntegerProgram:
    """Optimum 0 + 16 of 3 values; the root relaxation gives more; zero is feasible."""
    sign = -sense.sign
    return make_program(
        [[3, 5, 4], [1, 0, 1]],
        [-inf, -inf],
        [8, 3],
        [sign * 7, sign * 9, sign * 6],
        [0, 0, 0],
        [2, 2, 2],
        integer=True,
        sense=sense,
        offset=2.0,
        row_names=("weight", "shape"),
    )


@given(tiny_programs())
@settings(max_examples=50, deadline=None)
def test_root_bound_is_valid_and_tight(program: MixedIntegerProgram) -> None:
    optimum = exact_relaxation(program)
    bound = root_bound(program, options=OPTIONS)
    if optimum is None:
        assert prove_infeasible(program)
        return
    assert bound is not None
    assert program.sense.sign * (bound - optimum) <= 0
    assert abs(bound - optimum) <= Fraction(1, 10**6)
    assert not prove_infeasible(program)


@given(tiny_programs(), st.lists(st.floats(-1.0, 1.0), min_size=3, max_size=3), st.sampled_from([1e-9, 1e-3, 10.0]))
@settings(max_examples=50, deadline=None)
def test_perturbed_duals_leave_a_valid_bound(program: MixedIntegerProgram, noise: list[float], size: float) -> None:
    optimum, answer = exact_relaxation(program), run(program)
    if optimum is None or answer.row_duals is None:
        return
    bound = safe_from(program, answer.row_duals + size * np.array(noise)[: program.num_rows], OPTIONS)
    assert bound is not None
    assert program.sense.sign * (bound - optimum) <= 0


@pytest.mark.parametrize("perturbed", [0.0, 1e-12, 1e-9, -1e-9])
def test_missing_bounds_are_repaired(perturbed: float) -> None:
    # a transport problem without upper bounds: the rows bound every column
    cost = [4.0, 2.1, 5.3, 3.7, 1.9, 2.2]
    rows = [[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1], [1, 0, 0, 1, 0, 0], [0, 1, 0, 0, 1, 0], [0, 0, 1, 0, 0, 1]]
    program = make_program(rows, [-inf, -inf, 20, 20, 20], [30, 40] + [inf] * 3, cost, [0] * 6, [inf] * 6)
    answer = run(program)
    assert answer.row_duals is not None
    bound = root_bound(program, answer.row_duals + perturbed)
    assert bound is not None
    assert 0 <= answer.bounds.primal - float(bound) <= 1e-4


def test_free_columns_are_repaired_by_rounding_the_duals_to_a_grid() -> None:
    # minimise x + y over x + y >= 1, both free: the reduced costs must vanish exactly
    program = make_program([[1, 1]], [1], [inf], [1, 1], [-inf, -inf], [inf, inf])
    assert safe_from(program, np.array([1.0 - 1e-13]), OPTIONS) == 1


def test_a_shift_towards_inner_duals_repairs_what_no_row_bounds() -> None:
    # minimise x + 3 y over x + y / 3 >= 1: nothing bounds either above
    program = make_program([[1, 1 / 3]], [1], [inf], [1, 3], [0, 0], [inf, inf])
    bound = safe_from(program, np.array([1.0 + 1e-12]), OPTIONS)
    assert bound is not None
    assert 1 - Fraction(1, 10**2) <= bound <= 1
    # x / 3 + y / 7 has duals that no grid holds
    program = make_program([[1 / 3, 1 / 7]], [1], [inf], [0.1, 0.3], [0, 0], [inf, inf])
    bound = root_bound(program, np.array([0.3 + 1e-9]))
    assert bound is not None
    assert Fraction(3, 10) - Fraction(1, 10**4) <= bound <= Fraction(3, 10) + Fraction(1, 10**15)


def test_an_unbounded_relaxation_has_no_root_bound() -> None:
    program = make_program([[1, -1]], [0], [0], [-1, 0], [0, 0], [inf, inf])
    assert root_bound(program) is None


@given(tiny_programs(integer=True))
@settings(max_examples=50, deadline=None)
def test_certificates_of_honest_answers(program: MixedIntegerProgram) -> None:
    optimum, answer = exact_integer(program), run(program)
    certificate = certify(program, answer, source="highs")
    assert certificate.ok, str(certificate)
    if optimum is None:
        assert answer.status is Status.INFEASIBLE
        assert certificate.infeasible is (exact_relaxation(program) is None)
        return
    proven = certificate.proven
    sign = program.sense.sign
    assert certificate.plan is not None
    assert isfinite(proven.dual)
    assert sign * (Fraction(proven.dual) - optimum) <= 0
    if certificate.plan.exactly_feasible:
        assert certificate.objective is not None
        assert sign * (certificate.objective - optimum) >= 0
        assert abs(certificate.objective - optimum) <= Fraction(1, 10**6)
        assert sign * (Fraction(proven.primal) - certificate.objective) >= 0


def test_what_a_certificate_says() -> None:
    program = knapsack()
    certificate = certify(program, run(program), source="highs")
    assert certificate.bound_rests_on is Proof.SOLVER
    assert str(certificate) == (
        "plan: feasible in exact arithmetic, objective 18\n"
        "bound: 18 claimed by highs; 19 proven in exact arithmetic (root relaxation)"
    )
    relaxed = program.relaxed()
    exact = certify(relaxed, run(relaxed), source="highs")
    assert exact.bound_rests_on is Proof.EXACT
    assert "proven in exact arithmetic" in str(exact)


def test_results_of_solve_are_certified_too() -> None:
    program = knapsack()
    certificate = certify(program, solve_instance(program, OPTIONS))
    assert certificate.ok
    assert certificate.claim.source == "highs"
    assert certificate.objective == 18


def test_integers_are_rounded_before_the_check() -> None:
    program = knapsack()
    answer = run(program)
    assert answer.values is not None
    nearly = replace(answer, values=answer.values + 1e-9)
    certificate = certify(program, nearly)
    assert certificate.rounded
    assert certificate.plan is not None
    assert certificate.plan.exactly_feasible


def test_infeasible_by_rows_is_proven_and_by_integers_is_claimed() -> None:
    rows = make_program([[1, 1]], [3], [inf], [1, 1], [0, 0], [1, 1])
    certificate = certify(rows, run(rows), source="highs")
    assert certificate.bound_rests_on is Proof.EXACT
    assert "no plan: proven in exact arithmetic" in str(certificate)
    parity = make_program([[2, 2]], [3], [3], [1, 1], [0, 0], [5, 5], integer=True)
    certificate = certify(parity, run(parity), source="highs")
    assert certificate.ok
    assert certificate.bound_rests_on is Proof.SOLVER
    assert "no plan: claimed by highs" in str(certificate)


@pytest.mark.parametrize("name", LIES)
@pytest.mark.parametrize("sense", list(Sense))
def test_every_lie_is_caught(name: str, sense: Sense) -> None:
    program = knapsack(sense)
    answer = FaultyBackend(LIES[name]).run(program, OPTIONS, Monitor(program.sense))
    certificate = certify(program, answer, source="faulty")
    verification = verify(program, answer, source="faulty", backend="highs", options=OPTIONS)
    assert verification.contradictions
    assert not verification.confirmed
    assert "CONTRADICTION" in str(verification)
    assert all("faulty" in line for line in verification.contradictions)
    if name in ONLY_BY_VERIFYING:
        assert certificate.bound_rests_on is Proof.SOLVER
    else:
        assert certificate.contradictions
        assert "CONTRADICTION" in str(certificate)


@pytest.mark.parametrize("name", LIES)
def test_a_lying_second_backend_cannot_confirm(name: str) -> None:
    program = knapsack()
    verification = verify(program, run(program), source="highs", backend=FaultyBackend(LIES[name]), options=OPTIONS)
    assert not verification.confirmed
    assert not verification.ok


@pytest.mark.parametrize("second", ["scip", "cp-sat"])
def test_honest_backends_confirm_each_other(second: str) -> None:
    program = knapsack()
    verification = verify(program, run(program), source="highs", backend=second, options=OPTIONS)
    assert verification.ok
    assert verification.confirmed
    assert str(verification) == f"{second} confirms highs: optimal"


def test_a_second_backend_is_chosen_that_can_express_the_program() -> None:
    program = knapsack().relaxed()
    verification = verify(program, run(program), source="highs", options=OPTIONS)
    assert verification.second.source == "scip"
    assert verification.confirmed
    sets = replace(knapsack(), ordered_sets=(SpecialOrderedSet(1, (0, 1), (1.0, 2.0)),))
    claim = Claim("scip", Status.INFEASIBLE, Bounds.unknown(sets.sense))
    with pytest.raises(CapabilityError, match="besides scip"):
        verify(sets, claim)


def test_feasible_answers_do_not_contradict_better_ones() -> None:
    program = knapsack()
    worse = Claim("first", Status.FEASIBLE, Bounds(2.0, 30.0), np.zeros(3))
    best = Claim.of(program, run(program), "second")
    verification = compare(program, worse, best)
    assert verification.ok
    assert not verification.confirmed
    assert "finds nothing against" in str(verification)


def test_unbounded_against_infeasible_is_named() -> None:
    program = knapsack()
    unknown = Bounds.unknown(program.sense)
    claims = [Claim(name, status, unknown) for name, status in (("a", Status.UNBOUNDED), ("b", Status.INFEASIBLE))]
    assert compare(program, *claims).contradictions == ("a claims unbounded, b claims infeasible",)
