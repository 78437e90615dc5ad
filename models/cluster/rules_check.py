"""The independent check of the rules beyond fitting, and what each aim of a plan amounts to; from the data alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from apportion.instances.cluster import ClusterPlacement, PlacedTask
from apportion.instances.cluster_rules import MIG_MODELS, TERMS, Affinity, Gang, Quota
from apportion.models.verdict import Violation

_WHOLE = 1000
_NEGLIGIBLE = 1e-9


@dataclass(frozen=True, eq=False)
class _Placed:
    """The placed tasks that the instance knows, by name, and the columns of the instance by name."""

    instance: ClusterPlacement
    at: dict[str, PlacedTask]
    gpus: dict[str, int]
    milli: dict[str, int]
    kind: dict[str, str]

    @classmethod
    def of(cls, instance: ClusterPlacement, entries: list[PlacedTask]) -> _Placed:
        tasks, nodes = instance.tasks, instance.nodes
        return cls(
            instance,
            {entry.task: entry for entry in entries},
            {name: int(n) for name, n in zip(tasks.names, tasks.num_gpus, strict=True)},
            {name: int(n) for name, n in zip(tasks.names, tasks.gpu_milli, strict=True)},
            dict(zip(nodes.names, nodes.gpu_types, strict=True)),
        )

    def demand(self, task: str) -> float:
        """GPUs that a task asks for."""
        return self.gpus[task] * self.milli[task] / _WHOLE

    def domain(self, task: str, level: str) -> str:
        """Where a placed task lies at a level."""
        return self.instance.rules.domain(self.at[task].node, level)


def rule_violations(instance: ClusterPlacement, entries: list[PlacedTask]) -> list[Violation]:
    """What a plan breaks beyond fitting.

    Rules: ``gang_incomplete``, ``gang_spread``, ``affinity``, ``anti_affinity``, ``quota``, ``mig_profile``,
    ``mig_start``, ``mig_overlap``, ``mig_mixed``, ``stopped``, ``moved``, ``stopped_for_nothing``.
    """
    placed = _Placed.of(instance, entries)
    return [
        *_gangs(placed),
        *_affinities(placed),
        *_quotas(placed),
        *_mig(placed),
        *_running(placed),
    ]


def _gangs(placed: _Placed) -> Iterator[Violation]:
    for gang in placed.instance.rules.gangs:
        here = [task for task in gang.tasks if task in placed.at]
        if here and len(here) < len(gang.tasks):
            yield Violation("gang_incomplete", gang.name, len(gang.tasks) - len(here), "tasks")
        if gang.worst_level:
            spread = {placed.domain(task, gang.worst_level) for task in here}
            if len(spread) > 1:
                yield Violation("gang_spread", f"{gang.name}, {gang.worst_level}", len(spread) - 1, "domains")


def _affinities(placed: _Placed) -> Iterator[Violation]:
    labels = {name: rule.labels for name, rule in placed.instance.rules.tasks.items() if name in placed.at}
    for affinity in placed.instance.rules.affinities:
        found: dict[str, tuple[list[str], list[str]]] = {}
        for task, has in labels.items():
            sides = found.setdefault(placed.domain(task, affinity.level), ([], []))
            for side, label in enumerate((affinity.label, affinity.other)):
                if label in has:
                    sides[side].append(task)
        yield from _apart(affinity, found) if affinity.apart else _together(affinity, found)


def _apart(affinity: Affinity, found: dict[str, tuple[list[str], list[str]]]) -> Iterator[Violation]:
    for domain, (one, other) in found.items():
        pairs = [(a, b) for a in one for b in other if a != b]
        if pairs:
            a, b = pairs[0]
            yield Violation("anti_affinity", f"{affinity.level} {domain}, {a} with {b}", len(pairs), "pairs")


def _together(affinity: Affinity, found: dict[str, tuple[list[str], list[str]]]) -> Iterator[Violation]:
    if affinity.label == affinity.other:
        domains = [domain for domain, (one, _) in found.items() if one]
        if len(domains) > 1:
            yield Violation("affinity", f"label {affinity.label}, {affinity.level}", len(domains) - 1, "domains")
        return
    for domain, (one, other) in found.items():
        if one and not other:
            yield Violation("affinity", f"{affinity.level} {domain} lacks {affinity.other}", len(one), "tasks")


@dataclass(frozen=True, eq=False)
class _QuotaTree:
    """Queues below their parents with what they may use and do use, by (queue, GPU type)."""

    children: dict[str, list[str]]
    quotas: dict[tuple[str, str], Quota]
    usage: dict[tuple[str, str], float]

    def within(self, name: str, kind: str) -> tuple[float, float, bool]:
        """Usage and nominal quota in a subtree, and whether it says anything on ``kind``."""
        quota = self.quotas.get((name, kind))
        used, nominal, says = self.usage[name, kind], quota.nominal_gpus if quota else 0.0, quota is not None
        for child in self.children[name]:
            below = self.within(child, kind)
            used, nominal, says = used + below[0], nominal + below[1], says or below[2]
        return used, nominal, says

    def walk(self, name: str, kind: str, *, is_root: bool) -> Iterator[Violation]:
        """What a subtree uses too much, from the root down."""
        used, nominal, _ = self.within(name, kind)
        quota = self.quotas.get((name, kind))
        more = 0.0 if is_root else quota.borrowing_gpus if quota else None
        if more is not None and used > nominal + more + _NEGLIGIBLE:
            yield Violation("quota", f"{name}{f', {kind}' if kind else ''}", used - nominal - more, "GPUs")
        for child in self.children[name]:
            yield from self.walk(child, kind, is_root=False)


def _quotas(placed: _Placed) -> Iterator[Violation]:
    rules = placed.instance.rules
    tree = _QuotaTree(defaultdict(list), {}, defaultdict(float))
    for queue in rules.queues:
        tree.children[queue.parent].append(queue.name)
        tree.quotas.update({(queue.name, quota.gpu_type): quota for quota in queue.quotas})
    for task, entry in placed.at.items():
        if queue_name := rules.task(task).queue:
            for kind in dict.fromkeys(("", placed.kind[entry.node])):
                tree.usage[queue_name, kind] += placed.demand(task)
    for root in tree.children[""]:
        for kind in dict.fromkeys(kind for _, kind in tree.quotas):
            if tree.within(root, kind)[2]:
                yield from tree.walk(root, kind, is_root=True)


def _mig(placed: _Placed) -> Iterator[Violation]:
    rules = placed.instance.rules
    slices: dict[tuple[str, int], list[int]] = defaultdict(list)
    plain: set[tuple[str, int]] = set()
    for task, entry in placed.at.items():
        profile = rules.task(task).mig_profile
        if not profile:
            plain |= {(entry.node, gpu) for gpu in entry.gpus}
            if entry.start_slice is not None:
                yield Violation("mig_profile", f"{task} on {entry.node}", 1, "profiles")
            continue
        size, starts = MIG_MODELS.get(rules.mig_models.get(placed.kind[entry.node], ""), {}).get(profile, (0, ()))
        if not size:
            yield Violation("mig_profile", f"{task} on {entry.node}", 1, "profiles")
        elif entry.start_slice is None or entry.start_slice not in starts:
            yield Violation("mig_start", f"{task} on {entry.node}", 1, "slices")
        else:
            for gpu in entry.gpus:
                slices[entry.node, gpu] += range(entry.start_slice, entry.start_slice + size)
    for (node, gpu), taken in slices.items():
        if len(set(taken)) < len(taken):
            yield Violation("mig_overlap", f"{node}, GPU {gpu}", len(taken) - len(set(taken)), "slices")
        if (node, gpu) in plain:
            yield Violation("mig_mixed", f"{node}, GPU {gpu}", 1, "GPUs")


def _is_moved(now: PlacedTask, before: tuple[str, tuple[int, ...], int | None]) -> bool:
    node, gpus, start = before
    return now.node != node or set(now.gpus) != set(gpus) or now.start_slice != start


def _running(placed: _Placed) -> Iterator[Violation]:
    rules = placed.instance.rules
    for task, rule in rules.tasks.items():
        if rule.current is None:
            continue
        home = rule.current.node
        now = placed.at.get(task)
        if now is not None:
            moved = _is_moved(now, (home, rule.current.gpus, rule.current.start_slice))
            if moved and not rule.preemptible:
                yield Violation("moved", f"{task} from {home}", 1, "tasks")
        elif not rule.preemptible:
            yield Violation("stopped", f"{task} on {home}", 1, "tasks")
        elif not any(
            entry.node == home and rules.task(other).priority > rule.priority and not _was_at(placed, other, home)
            for other, entry in placed.at.items()
        ):
            yield Violation("stopped_for_nothing", f"{task} on {home}", 1, "tasks")


def _was_at(placed: _Placed, task: str, node: str) -> bool:
    current = placed.instance.rules.task(task).current
    return current is not None and current.node == node


def measured_terms(instance: ClusterPlacement, entries: list[PlacedTask]) -> dict[str, float]:
    """Every term of :data:`~apportion.instances.cluster_rules.TERMS` for a plan."""
    placed, rules = _Placed.of(instance, entries), instance.rules
    used = {entry.node for entry in placed.at.values()}
    busy: dict[str, float] = defaultdict(float)
    for task, entry in placed.at.items():
        busy[entry.node] += placed.demand(task)
    gpus = {name: int(n) for name, n in zip(instance.nodes.names, instance.nodes.num_gpus, strict=True)}
    value = 0.0
    for task in placed.at:
        rule = rules.task(task)
        value += placed.demand(task) * (1 + rule.priority) if rule.value is None else rule.value
    migrations = 0.0
    for task, rule in rules.tasks.items():
        if rule.current is not None:
            now = placed.at.get(task)
            before = (rule.current.node, rule.current.gpus, rule.current.start_slice)
            migrations += rule.migration_cost if now is None or _is_moved(now, before) else 0.0
    return {
        "value": value,
        "tasks": float(len(placed.at)),
        "fragmentation": sum(gpus[node] for node in used) - sum(busy.values()),
        "packing": float(len(used)),
        "topology": float(sum(_levels_too_wide(placed, gang) for gang in rules.gangs)),
        "migrations": migrations,
        "energy": sum(rules.node(node).idle_watts + rules.node(node).gpu_watts * busy[node] for node in sorted(used)),
    }


def _levels_too_wide(placed: _Placed, gang: Gang) -> int:
    here = [task for task in gang.tasks if task in placed.at]
    levels = placed.instance.rules.all_levels
    if not here or not gang.preferred_level:
        return 0
    from_here = levels[levels.index(gang.preferred_level) :]
    return sum(len({placed.domain(task, level) for task in here}) > 1 for level in from_here)


def aim_value(instance: ClusterPlacement, terms: dict[str, float], number: int = 0) -> float:
    """What the aim at a position amounts to; more is better."""
    return sum(weight * TERMS[term] * terms[term] for term, weight in instance.rules.chosen_aims[number])
