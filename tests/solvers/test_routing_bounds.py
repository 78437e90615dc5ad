from __future__ import annotations

from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from scipy import sparse

from apportion.instances.generate.routing import generate_routing
from apportion.instances.routing import Routes, VehicleRouting
from apportion.solvers.routing.bounding import kernels
from apportion.solvers.routing.bounding.edges import EdgeRelaxation, edge_costs, ways_bound
from apportion.solvers.routing.bounds import whole
from routing_brute import optimum, tiny


def _endless() -> float:
    return inf


@settings(max_examples=50, deadline=None)
@given(tiny)
def test_every_bound_on_the_way_lies_below_the_optimum(instance: VehicleRouting) -> None:
    best = optimum(instance)
    if best == inf:
        return
    seen = [ways_bound(instance)]
    EdgeRelaxation(instance).improve(_endless, seen.append, 50, 10**6)
    assert max(seen) <= best + 1e-6
    assert whole(instance, max(seen)) <= best + 1e-9


def test_bounds_are_true_while_the_lp_lacks_edges_and_cuts() -> None:
    instance = generate_routing(1, clients=50)
    final = EdgeRelaxation(instance)
    final.improve(_endless, lambda _: None, 300, 10**6)
    early: list[float] = []
    EdgeRelaxation(instance).improve(_endless, early.append, 3, 10**6)
    assert early
    assert max(early) <= final.bound + 1e-6
    assert ways_bound(instance) <= final.bound


def test_no_time_leaves_the_bound_that_there_is() -> None:
    instance = generate_routing(1, clients=40)
    relaxation = EdgeRelaxation(instance)
    relaxation.improve(lambda: 0.0, lambda _: None, 10, 10**6)
    assert (relaxation.rounds, relaxation.bound, relaxation.converged) == (0, 0.0, False)
    relaxation.improve(_endless, lambda _: None, 10**3, 200)
    assert relaxation.pivots < 2000
    assert relaxation.bound > 0.0


def test_capacity_cuts_match_a_naive_count() -> None:
    random = np.random.default_rng(4)
    size, capacity = 9, 10.0
    demand = np.concatenate([[0.0], random.integers(1, 6, size - 1)])
    weights = np.triu(random.random((size, size)) * (random.random((size, size)) < 0.5), 1)
    weights[0] = 0.0
    weights = weights + weights.T
    support = sparse.csr_matrix(weights)
    members = np.zeros((size, size), np.bool_)
    violations = np.zeros(size)
    count = kernels.grow_cuts(
        support.indptr.astype(np.int32),
        support.indices.astype(np.int32),
        support.data,
        demand,
        capacity,
        100.0,
        0.01,
        members,
        violations,
        np.zeros(size),
        np.zeros(size, np.bool_),
    )
    assert count > 0
    for position in range(count):
        inside = np.flatnonzero(members[position])
        within = weights[np.ix_(inside, inside)].sum() / 2.0
        naive = within - len(inside) + np.ceil(demand[inside].sum() / capacity)
        assert violations[position] == pytest.approx(naive)


def test_edges_that_windows_forbid_are_gone() -> None:
    distance = np.ones((3, 3)) - np.eye(3)
    late = VehicleRouting(
        "late", distance, distance, np.zeros(3), 1.0, np.zeros(3), np.array([9.0, 1.0, 1.0]), np.full(3, 5.0)
    )
    cost = edge_costs(late)
    assert np.isinf(cost[1, 2])
    assert cost[0, 1] == 1.0


def test_whole_rounds_up_to_the_unit_of_the_distances() -> None:
    instance = generate_routing(1, clients=5, time_windows=True)
    assert whole(instance, 10.01) == pytest.approx(10.1)
    assert whole(instance, 10.1) == pytest.approx(10.1)
    assert Routes(()).routes == ()
