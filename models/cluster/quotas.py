"""Quotas as plain limits: one for each queue or cohort and GPU type that binds."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from apportion.instances.cluster import MILLI_PER_GPU
from apportion.instances.cluster_rules import PlacementRules


@dataclass(frozen=True)
class QuotaLimit:
    """The queues ``members`` together use at most ``milli`` of GPUs of ``gpu_type`` (empty: of all types)."""

    queue: str
    gpu_type: str
    members: frozenset[str]
    milli: int


def quota_limits(rules: PlacementRules) -> tuple[QuotaLimit, ...]:
    """The limits that a tree of queues amounts to; those that cannot bind are left out.

    A subtree may use the nominal quotas in it and what its head may borrow; a root borrows nothing. A head without a
    quota of its own may borrow any amount. A tree that says nothing on a GPU type does not limit it.

    Examples
    --------
    >>> from apportion.instances.cluster_rules import Queue, Quota
    >>> rules = PlacementRules(queues=(Queue("lab"), Queue("a", (Quota(2.0, "", 1.0),), "lab"),
    ...     Queue("b", (Quota(3.0),), "lab")))
    >>> [(limit.queue, limit.milli, sorted(limit.members)) for limit in quota_limits(rules)]
    [('lab', 5000, ['a', 'b', 'lab']), ('a', 3000, ['a'])]
    """
    children: dict[str, list[str]] = {}
    for queue in rules.queues:
        children.setdefault(queue.parent, []).append(queue.name)
    quotas = {(queue.name, quota.gpu_type): quota for queue in rules.queues for quota in queue.quotas}
    subtree = {queue.name: _below(queue.name, children) for queue in rules.queues}
    root = {name: top for top in children.get("", []) for name in subtree[top]}
    limits = []
    for kind in dict.fromkeys(kind for _, kind in quotas):
        for queue in rules.queues:
            if not any((name, kind) in quotas for name in subtree[root[queue.name]]):
                continue
            nominal = sum(quotas[name, kind].nominal_gpus for name in subtree[queue.name] if (name, kind) in quotas)
            own = quotas.get((queue.name, kind))
            more = own.borrowing_gpus if own else None
            borrow = 0.0 if not queue.parent else inf if more is None else more
            if nominal + borrow < inf:
                milli = int((nominal + borrow) * MILLI_PER_GPU + 1e-6)
                limits.append(QuotaLimit(queue.name, kind, frozenset(subtree[queue.name]), milli))
    return tuple(limits)


def _below(name: str, children: dict[str, list[str]]) -> list[str]:
    found = [name]
    for child in children.get(name, ()):
        found += _below(child, children)
    return found
