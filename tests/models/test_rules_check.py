"""Every rule beyond fitting is checked by name and amount, and every term of an aim is measured."""

from __future__ import annotations

import pytest

from apportion.instances.cluster import ClusterPlacement, Nodes, PlacedTask, Placement, Tasks
from apportion.instances.cluster_rules import (
    Affinity,
    Gang,
    NodeRule,
    PlacementRules,
    Position,
    Queue,
    Quota,
    TaskRule,
)
from apportion.models.checking import check

NAMES = ["n0", "n1", "n2"]
CLUSTER = ClusterPlacement(
    "rules",
    Nodes.build(NAMES, [64000] * 3, [1000] * 3, [4, 4, 4], ["A", "A", "B"]),
    Tasks.build(
        ["g0", "g1", "x", "y", "m", "k", "run", "fix", "new", "s"],
        [1000] * 10,
        [1] * 10,
        [2, 2, 1, 1, 1, 1, 1, 1, 4, 1],
        [1000, 1000, 1000, 1000, 250, 500, 1000, 1000, 1000, 500],
    ),
    PlacementRules(
        ("rack",),
        {"n0": NodeRule(("r0",), 100, 50), "n1": NodeRule(("r0",), 100, 50), "n2": NodeRule(("r1",), 100, 50)},
        {
            "x": TaskRule(labels=("x",), queue="q"),
            "y": TaskRule(labels=("y",), queue="q"),
            "m": TaskRule(mig_profile="2g.10gb"),
            "k": TaskRule(mig_profile="3g.20gb"),
            "run": TaskRule(preemptible=True, current=Position("n2", (0,)), migration_cost=3.0, priority=1),
            "fix": TaskRule(current=Position("n2", (1,))),
            "new": TaskRule(priority=5, value=7.0),
        },
        (Gang("g", ("g0", "g1"), "rack", "node"),),
        (Queue("q", (Quota(1.0),), "lab"), Queue("lab", (Quota(0.5),))),
        (Affinity("x", "y", "rack"),),
        {"A": "a100-40gb"},
    ),
)
RUN, FIX = PlacedTask("run", "n2", (0,), 1000), PlacedTask("fix", "n2", (1,), 1000)
TOGETHER = Affinity("x", "y", "rack", apart=False)


def placed(*entries: PlacedTask) -> Placement:
    return Placement((RUN, FIX, *entries))


def test_a_good_plan_is_measured() -> None:
    plan = placed(
        PlacedTask("g0", "n0", (0, 1), 1000),
        PlacedTask("g1", "n1", (0, 1), 1000),
        PlacedTask("m", "n0", (2,), 250, 0),
        PlacedTask("k", "n0", (2,), 500, 4),
    )
    verdict = check(CLUSTER, plan)
    assert verdict.ok, verdict.violations
    assert verdict.objective == verdict.measures["value"] == pytest.approx(4 + 0.75 + 2 + 1)
    assert verdict.measures["topology"] == 1
    assert verdict.measures["migrations"] == 0
    assert verdict.measures["fragmentation"] == pytest.approx(12 - 6.75)
    assert verdict.measures["energy"] == pytest.approx(300 + 50 * 6.75)


@pytest.mark.parametrize(
    ("rule", "amount", "plan"),
    [
        ("gang_incomplete", 1, placed(PlacedTask("g0", "n0", (0, 1), 1000))),
        ("gang_spread", 1, placed(PlacedTask("g0", "n0", (0, 1), 1000), PlacedTask("g1", "n2", (2, 3), 1000))),
        ("anti_affinity", 1, placed(PlacedTask("x", "n0", (0,), 1000), PlacedTask("y", "n1", (0,), 1000))),
        ("quota", 0.5, placed(PlacedTask("x", "n0", (0,), 1000), PlacedTask("y", "n2", (2,), 1000))),
        ("mig_profile", 1, placed(PlacedTask("m", "n2", (2,), 250, 0))),
        ("mig_profile", 1, placed(PlacedTask("s", "n0", (2,), 500, 0))),
        ("mig_start", 1, placed(PlacedTask("m", "n0", (2,), 250, 6))),
        ("mig_start", 1, placed(PlacedTask("m", "n0", (2,), 250))),
        ("mig_overlap", 2, placed(PlacedTask("m", "n0", (2,), 250, 2), PlacedTask("k", "n0", (2,), 500, 0))),
        ("mig_mixed", 1, placed(PlacedTask("m", "n0", (2,), 250, 2), PlacedTask("s", "n0", (2,), 500))),
        ("stopped", 1, Placement((RUN,))),
        ("moved", 1, Placement((RUN, PlacedTask("fix", "n2", (2,), 1000)))),
        ("stopped_for_nothing", 1, Placement((FIX,))),
    ],
)
def test_every_rule_is_checked(rule: str, amount: float, plan: Placement) -> None:
    found = {violation.rule: violation.amount for violation in check(CLUSTER, plan).violations}
    assert found[rule] == pytest.approx(amount)
    # two in the queue are more than its quota wherever they are
    assert set(found) <= {rule, "quota"}


def test_a_task_may_be_stopped_for_one_that_matters_more() -> None:
    rules = CLUSTER.rules
    small = Tasks.build(["run", "new"], [1, 1], [1, 1], [1, 4], [1000, 1000])
    part = PlacementRules(rules.levels, rules.nodes, {name: rules.tasks[name] for name in ("run", "new")})
    cluster = ClusterPlacement("stop", CLUSTER.nodes, small, part)
    verdict = check(cluster, Placement((PlacedTask("new", "n2", (0, 1, 2, 3), 1000),)))
    assert verdict.ok
    assert verdict.measures["migrations"] == 3.0
    assert verdict.objective == 7.0
    elsewhere = check(cluster, Placement((PlacedTask("new", "n0", (0, 1, 2, 3), 1000),)))
    assert [violation.rule for violation in elsewhere.violations] == ["stopped_for_nothing"]


def test_tasks_that_belong_together() -> None:
    rules = PlacementRules(
        ("rack",), CLUSTER.rules.nodes, {n: TaskRule(labels=(n,)) for n in "xy"}, affinities=(TOGETHER,)
    )
    tasks = Tasks.build(["x", "y"], [1, 1], [1, 1], [1, 1], [1000, 1000])
    cluster = ClusterPlacement("near", CLUSTER.nodes, tasks, rules)
    near = Placement((PlacedTask("x", "n0", (0,), 1000), PlacedTask("y", "n1", (0,), 1000)))
    assert check(cluster, near).ok
    far = Placement((PlacedTask("x", "n0", (0,), 1000), PlacedTask("y", "n2", (0,), 1000)))
    assert [violation.rule for violation in check(cluster, far).violations] == ["affinity"]
