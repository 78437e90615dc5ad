"""Policies: pure functions of a snapshot that say where one arriving task goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from apportion.instances.cluster import ClusterPlacement
from apportion.instances.errors import OptionError
from apportion.solvers.online import kernels
from apportion.solvers.online.snapshot import Choice, Request, Snapshot
from apportion.solvers.online.workload import SharePrices, TypicalTasks, Worth, accepted

RULES: dict[str, int] = {
    "least-loss": kernels.LEAST_LOSS,
    "fgd": kernels.FGD,
    "best-fit": kernels.BEST_FIT,
    "dot-product": kernels.DOT_PRODUCT,
    "packing": kernels.PACKING,
    "clustering": kernels.CLUSTERING,
    "random": kernels.RANDOM,
}
"""The rules by name: ours first, then those of the FGD paper."""


class Policy(Protocol):
    """Where a task goes: ``choose(snapshot, request)``; None when it fits nowhere."""

    def choose(self, snapshot: Snapshot, request: Request) -> Choice | None:
        """Decide, without changing anything."""
        ...


@dataclass(frozen=True, eq=False)
class RulePolicy:
    """The first node with the best score by one rule; no task that fits is refused.

    Scores are remembered in the snapshot and computed again for nodes that have changed, which does not alter choices.

    Parameters
    ----------
    rule
        A value of :data:`RULES`.
    typical
        The typical tasks of FGD.
    worth
        What room is worth, for the least-loss rule.
    seed
        Of the random rule.
    """

    rule: int
    typical: TypicalTasks
    worth: Worth
    seed: int = 0

    @classmethod
    def named(cls, name: str, workload: ClusterPlacement, seed: int = 0) -> RulePolicy:
        """The rule called ``name`` that knows the distribution of the tasks of ``workload``.

        Examples
        --------
        >>> from apportion.instances.generate.cluster import generate_cluster
        >>> cluster = generate_cluster(seed=1)
        >>> RulePolicy.named("least-loss", cluster).choose(Snapshot.of_cluster(cluster), Request(1000, 64, 1, 400))
        Choice(node=0, gpus=(0,))
        """
        if name not in RULES:
            raise OptionError(f"unknown rule {name!r}\nMaybe one of {', '.join(RULES)}")
        typical = TypicalTasks.of(workload.tasks, tuple(sorted(set(workload.nodes.gpu_types))))
        return cls(RULES[name], typical, Worth.of(SharePrices.of(workload.tasks)), seed)

    def choose(self, snapshot: Snapshot, request: Request) -> Choice | None:
        """The best node, and on it the GPUs: for a share the rule's, otherwise the first that nobody uses."""
        if snapshot.kinds != self.typical.kinds:
            message = f"the policy knows the GPU types {self.typical.kinds}, the cluster has {snapshot.kinds}"
            raise OptionError(f"{message}\nMaybe make it from this cluster")
        rows = snapshot.remembered(self, request)
        typical = self.typical
        node = kernels.best_node(
            self.rule,
            request.cpu_milli,
            request.memory_mib,
            request.num_gpus,
            request.gpu_milli,
            accepted(request.allowed_types, snapshot.kinds),
            snapshot.cpu_free,
            snapshot.memory_free,
            snapshot.gpu_free,
            snapshot.num_gpus,
            snapshot.kind,
            snapshot.groups,
            snapshot.version,
            typical.cpu_milli,
            typical.num_gpus,
            typical.gpu_milli,
            typical.accepts,
            typical.popularity,
            self.worth.cpu_price,
            self.worth.room,
            self.seed,
            snapshot.count,
            rows.seen,
            rows.scores,
            rows.gpu_of,
            snapshot.work,
        )
        if node < 0:
            return None
        if request.is_share:
            return Choice(int(node), (int(rows.gpu_of[node]),))
        return Choice(int(node), snapshot.first_untouched(int(node), request.num_gpus))
