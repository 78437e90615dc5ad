"""The stream of arrivals of the published protocol."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.errors import OptionError
from apportion.instances.generate.arrivals import inflated_arrivals
from apportion.instances.generate.cluster import generate_cluster
from apportion.solvers.online.snapshot import Request


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), ratio=st.floats(0.3, 2.0))
def test_demand_approaches_the_target(seed: int, ratio: float) -> None:
    cluster = generate_cluster(seed=1, nodes=10, tasks=60)
    arrivals = inflated_arrivals(cluster, ratio, seed)
    wanted = ratio * cluster.capacity_gpus
    # the last draw that is stopped by its share may ask for several GPUs
    assert wanted - 8 <= arrivals.demand_gpus <= wanted + 7
    assert sorted(arrivals.nodes.names) == sorted(cluster.nodes.names)


def test_originals_come_first_and_copies_are_of_them() -> None:
    cluster = generate_cluster(seed=1, nodes=10, tasks=60, load=1.0)
    arrivals = inflated_arrivals(cluster, 1.3, 7)
    assert sorted(arrivals.tasks.names[:60]) == sorted(cluster.tasks.names)
    kinds = Counter(Request.of(cluster.tasks, t) for t in range(60))
    assert all(Request.of(arrivals.tasks, t) in kinds for t in range(len(arrivals.tasks)))
    assert len(arrivals.tasks) > 60


def test_the_seed_decides() -> None:
    cluster = generate_cluster(seed=1, nodes=10, tasks=60)
    one, same, other = (inflated_arrivals(cluster, 1.3, seed) for seed in (1, 1, 2))
    assert one.tasks.names == same.tasks.names
    assert one.nodes.names == same.nodes.names
    assert one.tasks.names != other.tasks.names


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("nan"), float("inf")])
def test_a_ratio_out_of_range_is_refused(ratio: float) -> None:
    with pytest.raises(OptionError, match="ratio"):
        inflated_arrivals(generate_cluster(seed=1), ratio)
