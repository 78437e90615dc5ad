"""Seeded rules on a cluster: racks and islands, gangs of equal workers, queues with quotas, running tasks, MIG."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from apportion.instances.cluster import ClusterPlacement, Nodes, Tasks
from apportion.instances.cluster_rules import (
    MIG_MODELS,
    MIG_SLICES,
    Affinity,
    Gang,
    NodeRule,
    PlacementRules,
    Queue,
    Quota,
    TaskRule,
)
from apportion.instances.errors import OptionError

_LEVELS = ("island", "rack", "fabric")
_ISLAND, _RACK, _FABRIC = 2, 4, 16
_WORKERS, _WORKER_ODDS = (1, 2, 4, 8, 16), (0.2, 0.3, 0.25, 0.15, 0.1)
_GPUS, _GPU_ODDS = (1, 2, 4, 8), (0.1, 0.15, 0.25, 0.5)
_MODEL, _KIND = "h100-80gb", "H100"
_GPUS_PER_NODE, _CPU_PER_GPU, _MEMORY_PER_GPU = 8, 24_000, 262_144


def generate_gangs(
    seed: int = 0,
    nodes: int = 32,
    load: float = 1.3,
    singles: float = 0.15,
    queues: int = 3,
    mig: float = 0.0,
) -> ClusterPlacement:
    """Make a training cluster: nodes of eight GPUs in islands, racks and fabrics, and gangs that ask for them.

    Parameters
    ----------
    seed
        Same seed and sizes, same instance.
    nodes
        How many; two in an island, four in a rack, sixteen in a fabric.
    load
        GPU demand over GPU capacity.
    singles
        The part of the demand that comes from tasks without a gang, some of which share a GPU.
    queues
        How many queues with equal quotas share the cluster in one cohort; 0 for none.
    mig
        The part of the single tasks that ask for a MIG profile.

    Examples
    --------
    >>> cluster = generate_gangs(seed=1, nodes=8)
    >>> cluster.capacity_gpus, len(cluster.rules.gangs) > 3, cluster.is_plain
    (64, True, False)
    """
    if not (nodes >= 1 and 0 < load < np.inf and 0 <= singles <= 1 and queues >= 0 and 0 <= mig <= 1):
        raise OptionError("cluster-placement: nodes and load must be positive, fractions between 0 and 1")
    random = np.random.default_rng(seed)
    machines = _machines(nodes)
    wanted = load * nodes * _GPUS_PER_NODE
    rows: list[tuple[str, int, int]] = []
    rules: dict[str, TaskRule] = {}
    gangs: list[Gang] = []
    names = [f"team-{q}" for q in range(queues)]
    asked = 0.0
    while asked < wanted * (1 - singles):
        gang, per_worker = _gang(random, len(gangs), nodes)
        queue = str(random.choice(names)) if names else ""
        rule = TaskRule(queue=queue, priority=int(random.integers(2)), labels=(gang.name,))
        rows += [(task, per_worker, 1000) for task in gang.tasks]
        rules |= dict.fromkeys(gang.tasks, rule)
        gangs.append(gang)
        asked += len(gang.tasks) * per_worker
    while asked < wanted:
        name = f"single-{len(rows)}"
        profile = str(random.choice(list(MIG_MODELS[_MODEL]))) if random.random() < mig else ""
        milli = int(random.choice((250, 500, 1000)))
        if profile:
            milli = MIG_MODELS[_MODEL][profile][0] * 1000 // MIG_SLICES
        rows.append((name, 1, milli))
        rules[name] = TaskRule(queue=str(random.choice(names)) if names else "", mig_profile=profile)
        asked += milli / 1000
    return ClusterPlacement(
        f"gangs-{nodes}-s{seed}",
        machines,
        _tasks(rows),
        PlacementRules(
            _LEVELS,
            {name: _node_rule(i) for i, name in enumerate(machines.names)},
            rules,
            tuple(gangs),
            _queues(names, nodes * _GPUS_PER_NODE),
            _spread(gangs, random, rules),
            {_KIND: _MODEL} if mig else {},
        ),
    )


def _machines(count: int) -> Nodes:
    gpus = np.full(count, _GPUS_PER_NODE)
    names = [f"node-{i:03d}" for i in range(count)]
    return Nodes.build(names, gpus * _CPU_PER_GPU, gpus * _MEMORY_PER_GPU, gpus, [_KIND] * count)


def _node_rule(place: int) -> NodeRule:
    domains = (f"island-{place // _ISLAND}", f"rack-{place // _RACK}", f"fabric-{place // _FABRIC}")
    return NodeRule(domains, 900.0, 600.0)


def _gang(random: np.random.Generator, number: int, nodes: int) -> tuple[Gang, int]:
    """A gang and the GPUs of each worker; the larger it is, the wider the levels that it tolerates and prefers."""
    workers = min(int(random.choice(_WORKERS, p=_WORKER_ODDS)), nodes)
    per_worker = int(random.choice(_GPUS, p=_GPU_ODDS))
    across = -(-workers * per_worker // _GPUS_PER_NODE)
    preferred = "node" if across == 1 else "island" if across <= _ISLAND else "rack" if across <= _RACK else "fabric"
    wider = ("node", *_LEVELS)
    worst = wider[min(wider.index(preferred) + int(random.integers(1, 3)), len(wider) - 1)]
    name = f"gang-{number}"
    strict = across <= _FABRIC
    gang = Gang(name, tuple(f"{name}-{w}" for w in range(workers)), worst if strict else "", preferred)
    return gang, per_worker


def _tasks(rows: list[tuple[str, int, int]]) -> Tasks:
    parts = np.array([gpus * milli for _, gpus, milli in rows], np.int64)
    return Tasks.build(
        [name for name, _, _ in rows],
        parts * 16,
        parts * 200,
        [gpus for _, gpus, _ in rows],
        [milli for _, _, milli in rows],
    )


def _queues(names: list[str], gpus: int) -> tuple[Queue, ...]:
    if not names:
        return ()
    share = float(gpus // len(names))
    return (Queue("all"), *(Queue(name, (Quota(share, "", share / 2),), "all") for name in names))


def _spread(gangs: list[Gang], random: np.random.Generator, rules: dict[str, TaskRule]) -> tuple[Affinity, ...]:
    """Two small gangs that must not share a rack."""
    small = [gang for gang in gangs if len(gang.tasks) <= _ISLAND]
    if len(small) < 2:
        return ()
    one, other = (small[int(i)] for i in random.choice(len(small), 2, replace=False))
    for gang, label in ((one, "replica-a"), (other, "replica-b")):
        for task in gang.tasks:
            rules[task] = replace(rules[task], labels=(*rules[task].labels, label))
    return (Affinity("replica-a", "replica-b", "rack"),)
