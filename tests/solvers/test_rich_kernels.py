"""The compiled search keeps every rule that the check knows, and its costs are those of the check."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.rich_routing import RichRoute, RichRoutes, RichRouting
from apportion.models.rich_routing.check import check, drive
from apportion.solvers.rich_routing.recreate import best_place
from apportion.solvers.rich_routing.search import RichSearch
from apportion.solvers.rich_routing.segments.kernels import IS_TOUCHED, NONE
from apportion.solvers.rich_routing.state import CURRENT, IS_TIMED, NUM_REQUIRED_ABSENT
from rich_random import FEATURES, TIMED, random_rich

pytestmark = [
    pytest.mark.kernels,
    pytest.mark.filterwarnings("ignore:overflow encountered in scalar multiply:RuntimeWarning"),
]
seeds = st.integers(0, 10**6)
some_features = st.frozensets(st.sampled_from(FEATURES), max_size=4)


def _breaches(instance: RichRouting, plan: RichRoutes, missing: int) -> list[str]:
    """Violations other than the requests that the search says it leaves out."""
    verdict = check(instance, plan)
    unserved = [v for v in verdict.violations if v.rule in ("unserved", "group_unserved")]
    pairs = len(instance.pairs)
    assert len(unserved) <= 2 * missing if pairs else len(unserved) == missing
    return [str(v) for v in verdict.violations if v.rule not in ("unserved", "group_unserved")]


@settings(max_examples=40, deadline=None)
@given(seeds, some_features, st.sampled_from([0.0, 1.0, 1000.0]))
def test_every_iteration_keeps_every_rule(seed: int, features: frozenset[str], temperature: float) -> None:
    instance = random_rich(seed, 9, features)
    search = RichSearch.begin(instance, seed)
    for _ in range(8):
        search.run(5, temperature, 1.0, 0.3)
        plan, missing = search.current(), int(search.arrays.counters[NUM_REQUIRED_ABSENT])
        assert not _breaches(instance, plan, missing)
        if missing == 0:
            assert check(instance, plan).objective == pytest.approx(search.arrays.totals[CURRENT])
        assert search.arrays.slots[:, IS_TOUCHED].sum() == 0
    search.restart()
    assert search.arrays.totals[CURRENT] == pytest.approx(search.best)


@settings(max_examples=50, deadline=None)
@given(seeds, some_features, st.frozensets(st.sampled_from(TIMED), min_size=1, max_size=3))
def test_timetables_cost_what_the_check_says(seed: int, features: frozenset[str], timed: frozenset[str]) -> None:
    instance = random_rich(seed, 8, features | timed)
    search = RichSearch.begin(instance, seed)
    for _ in range(6):
        search.run(5, 10.0, 1.0, 0.3)
        plan, missing = search.current(), int(search.arrays.counters[NUM_REQUIRED_ABSENT])
        assert not _breaches(instance, plan, missing)
        if missing == 0:
            assert check(instance, plan).objective == pytest.approx(search.arrays.totals[CURRENT])
    if search.num_absent == 0:
        verdict = check(instance, search.plan())
        assert verdict.ok, verdict.violations
        assert verdict.objective == pytest.approx(search.best)


@settings(max_examples=40, deadline=None)
@given(seeds, some_features)
def test_the_cheapest_place_is_the_one_that_trying_all_finds(seed: int, features: frozenset[str]) -> None:
    instance = random_rich(seed, 6, features - {"pairs", "groups", "reloads"})
    search = RichSearch.begin(instance, 1)
    plan = search.plan()
    for number, route in enumerate(plan.routes):
        client = route.stops[0]
        rest = RichRoute(route.vehicle, route.stops[1:])
        if not rest.stops or _worse(instance, rest) is None:
            continue
        search.place(RichRoutes((rest,)))
        a, request = search.arrays, search.request_of(client)
        assert request is not None
        found = best_place(
            *(a.ways, a.seg, a.fleet, a.kinds, a.serves, a.near, a.nodes, a.slots, a.facts, a.requests, a.sequence),
            *(a.rows, a.found, a.random, a.timetable, int(a.counters[IS_TIMED]), request, True, False, NONE, np.inf),
        )
        tried = [
            RichRoute(rest.vehicle, (*rest.stops[:k], client, *rest.stops[k:])) for k in range(len(rest.stops) + 1)
        ]
        costs = [cost for cost in (_worse(instance, route) for route in tried) if cost is not None]
        assert costs, number
        assert found == pytest.approx(min(costs) - drive(instance, rest).cost, abs=1e-6)


def _worse(instance: RichRouting, route: RichRoute) -> float | None:
    """The cost of a route, None when it breaks a rule of its own."""
    verdict = check(instance, RichRoutes((route,)))
    own = [v for v in verdict.violations if v.rule not in ("unserved", "group_unserved")]
    return None if own else drive(instance, route).cost


def test_chunks_do_not_change_the_result() -> None:
    instance = random_rich(4, 12, frozenset({"fleet", "windows", "prizes"}))
    results = []
    for chunks in ([300], [100, 200], [1] * 20 + [280]):
        search = RichSearch.begin(instance, 9)
        temperature = 20.0
        for chunk in chunks:
            temperature = search.run(chunk, temperature, 0.99, 0.1)
        results.append((search.plan(), search.best, search.iterations))
    assert results[0] == results[1] == results[2]
