"""Rules beyond fitting: gangs and topology, affinity, quotas of queues, MIG slices, running tasks, several aims."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import isfinite
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apportion.instances.validation import FaultList

NODE_LEVEL = "node"
"""The narrowest level of every topology: each node is a domain of its own."""
MOST_VALUE = 1e9
"""The largest value, cost, power or weight."""
MIG_SLICES = 8
"""Memory slices of one GPU in MIG mode."""
_FORTY: Mapping[str, tuple[int, tuple[int, ...]]] = {
    "1g.5gb": (1, (0, 1, 2, 3, 4, 5, 6)),
    "1g.10gb": (2, (0, 2, 4, 6)),
    "2g.10gb": (2, (0, 2, 4)),
    "3g.20gb": (4, (0, 4)),
    "4g.20gb": (4, (0,)),
    "7g.40gb": (8, (0,)),
}
_EIGHTY: Mapping[str, tuple[int, tuple[int, ...]]] = {
    "1g.10gb": (1, (0, 1, 2, 3, 4, 5, 6)),
    "1g.20gb": (2, (0, 2, 4, 6)),
    "2g.20gb": (2, (0, 2, 4)),
    "3g.40gb": (4, (0, 4)),
    "4g.40gb": (4, (0,)),
    "7g.80gb": (8, (0,)),
}
MIG_MODELS: Mapping[str, Mapping[str, tuple[int, tuple[int, ...]]]] = {
    "a100-40gb": _FORTY,
    "a100-80gb": _EIGHTY,
    "h100-80gb": _EIGHTY,
}
"""GPU model -> profile -> memory slices that an instance takes, and the slices at which it may start (NVIDIA's table of
MIG placements). With these starts no valid set of instances ever needs more than the seven compute slices."""
TERMS: Mapping[str, int] = {
    "value": 1,
    "tasks": 1,
    "fragmentation": -1,
    "packing": -1,
    "topology": -1,
    "migrations": -1,
    "energy": -1,
}
"""What an aim may count, +1 for what should be large: value of the placed tasks; placed tasks; idle GPUs on nodes that
run something; nodes that run something; levels by which gangs spread beyond the preferred one; cost of moved and
stopped tasks; watts."""
Aim = tuple[tuple[str, float], ...]
"""Terms with their weights; they are added up."""
DEFAULT_AIMS: tuple[Aim, ...] = (
    (("value", 1.0),),
    (("tasks", 1.0),),
    (("migrations", 1.0), ("topology", 1.0)),
    (("packing", 1.0),),
)


@dataclass(frozen=True)
class NodeRule:
    """What a node has beside its size: its domain of each level, and what it draws in watts, idle and per busy GPU."""

    domains: tuple[str, ...] = ()
    idle_watts: float = 0.0
    gpu_watts: float = 0.0


@dataclass(frozen=True)
class Position:
    """Where a task runs now: node, GPUs, and the first memory slice of a MIG instance."""

    node: str
    gpus: tuple[int, ...] = ()
    start_slice: int | None = None


@dataclass(frozen=True)
class TaskRule:
    """What a task has beside its needs.

    Parameters
    ----------
    queue
        Whose quota it uses; empty for none.
    labels
        What affinities speak of.
    value
        What placing it is worth; its GPUs times ``1 + priority`` when None.
    priority
        A running task may be stopped only for one of higher priority that comes to its node.
    preemptible
        Whether it may be moved or stopped once it runs.
    current
        Where it runs now; None when it waits.
    migration_cost
        What moving or stopping it costs.
    mig_profile
        The MIG profile of its one GPU, such as ``"2g.20gb"``; empty for none.
    """

    queue: str = ""
    labels: tuple[str, ...] = ()
    value: float | None = None
    priority: int = 0
    preemptible: bool = False
    current: Position | None = None
    migration_cost: float = 1.0
    mig_profile: str = ""


@dataclass(frozen=True)
class Gang:
    """Tasks that run all or not at all.

    All of them lie in one domain of ``worst_level`` (empty: anywhere). When they do not lie in one domain of
    ``preferred_level``, each level from there on that does not hold them costs 1.
    """

    name: str
    tasks: tuple[str, ...]
    worst_level: str = ""
    preferred_level: str = ""


@dataclass(frozen=True)
class Quota:
    """GPUs of a type (empty: of all types) that a queue may use, and how many more it may borrow (None: any number)."""

    nominal_gpus: float
    gpu_type: str = ""
    borrowing_gpus: float | None = None


@dataclass(frozen=True)
class Queue:
    """A queue or cohort: what its subtree uses is at most the nominal quotas in it and what it may borrow.

    Only a queue with a ``parent`` can borrow: what others below that parent leave unused.
    """

    name: str
    quotas: tuple[Quota, ...] = ()
    parent: str = ""


@dataclass(frozen=True)
class Affinity:
    """How tasks with ``label`` and tasks with ``other`` lie to each other, in domains of ``level``.

    With ``apart`` no domain holds a task of one and another task of the other. Otherwise every domain with a task of
    ``label`` also holds one of ``other``; with the same label twice all such tasks lie in one domain.
    """

    label: str
    other: str
    level: str = NODE_LEVEL
    apart: bool = True


@dataclass(frozen=True)
class PlacementRules:
    """All rules beyond fitting. What is left out does not bind; :attr:`is_plain` says that nothing does.

    Parameters
    ----------
    levels
        Names of the topology's levels above ``"node"``, from narrow to wide, such as ``("island", "rack", "fabric")``.
    nodes, tasks
        By name, those that have something special.
    gangs, queues, affinities
        See there.
    mig_models
        GPU type -> model of :data:`MIG_MODELS`, for the types whose GPUs may be partitioned.
    aims
        What counts, the first most (each is kept before the next is looked at); empty for :data:`DEFAULT_AIMS`.

    Examples
    --------
    >>> PlacementRules().is_plain
    True
    >>> PlacementRules(gangs=(Gang("g", ("a", "b"), worst_level="node"),)).is_plain
    False
    """

    levels: tuple[str, ...] = ()
    nodes: Mapping[str, NodeRule] = field(default_factory=dict)
    tasks: Mapping[str, TaskRule] = field(default_factory=dict)
    gangs: tuple[Gang, ...] = ()
    queues: tuple[Queue, ...] = ()
    affinities: tuple[Affinity, ...] = ()
    mig_models: Mapping[str, str] = field(default_factory=dict)
    aims: tuple[Aim, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether there is no rule at all: the objective is then that of the plain problem."""
        return not (self.tasks or self.gangs or self.queues or self.affinities or self.aims)

    @property
    def all_levels(self) -> tuple[str, ...]:
        """``"node"`` and the others."""
        return (NODE_LEVEL, *self.levels)

    @property
    def chosen_aims(self) -> tuple[Aim, ...]:
        """What counts, in this order."""
        return self.aims or DEFAULT_AIMS

    def task(self, name: str) -> TaskRule:
        """The rule of a task, the usual one when it has none."""
        return self.tasks.get(name, _USUAL_TASK)

    def node(self, name: str) -> NodeRule:
        """The rule of a node, the usual one when it has none."""
        return self.nodes.get(name, _USUAL_NODE)

    def domain(self, node: str, level: str) -> str:
        """The domain of a node at a level."""
        return node if level == NODE_LEVEL else self.node(node).domains[self.levels.index(level)]

    def restrict(self, nodes: Iterable[str], tasks: Iterable[str]) -> PlacementRules:
        """The rules for some nodes and tasks: gangs keep the members that are left."""
        kept_nodes, kept_tasks = set(nodes), set(tasks)
        gangs = [replace(gang, tasks=tuple(t for t in gang.tasks if t in kept_tasks)) for gang in self.gangs]
        rules = {name: rule for name, rule in self.tasks.items() if name in kept_tasks}
        gone = {n for n, rule in rules.items() if rule.current is not None and rule.current.node not in kept_nodes}
        return replace(
            self,
            nodes={name: rule for name, rule in self.nodes.items() if name in kept_nodes},
            tasks={name: replace(rule, current=None) if name in gone else rule for name, rule in rules.items()},
            gangs=tuple(gang for gang in gangs if gang.tasks),
        )


_USUAL_TASK, _USUAL_NODE = TaskRule(), NodeRule()


@dataclass(frozen=True)
class Sizes:
    """What the check of rules needs to know of nodes and tasks: by name, in their order."""

    gpu_type: Mapping[str, str]
    node_gpus: Mapping[str, int]
    task_gpus: Mapping[str, int]
    task_milli: Mapping[str, int]


def check_rules(faults: FaultList, rules: PlacementRules, sizes: Sizes) -> None:
    """Record every fault of ``rules``: names that are unknown, cyclic queues, domains that do not nest, and so on."""
    _check_levels(faults, rules, sizes)
    _check_gangs(faults, rules, sizes)
    _check_queues(faults, rules)
    _check_tasks(faults, rules, sizes)
    _check_affinities(faults, rules)
    _check_aims(faults, rules)


def _known(faults: FaultList, place: str, name: str, among: Iterable[str], what: str) -> bool:
    names = list(among)
    found = name in names
    faults.require(found, place, f"is no {what}", name, f"one of {', '.join(names[:8])}" if names else "")
    return found


def _number(faults: FaultList, place: str, value: float | None, lower: float = 0.0) -> None:
    good = value is None or (isfinite(value) and lower <= value <= MOST_VALUE)
    faults.require(good, place, f"must be a number from {lower:g} to {MOST_VALUE:g}", value)


def _check_levels(faults: FaultList, rules: PlacementRules, sizes: Sizes) -> None:
    faults.unique("levels", rules.all_levels)
    above: list[dict[str, str]] = [{} for _ in rules.levels]
    for name, rule in rules.nodes.items():
        place = f"nodes[{name!r}]"
        if not _known(faults, place, name, sizes.gpu_type, "node"):
            continue
        _number(faults, f"{place}.idle_watts", rule.idle_watts)
        _number(faults, f"{place}.gpu_watts", rule.gpu_watts)
    for name in sizes.gpu_type if rules.levels else ():
        domains = rules.node(name).domains
        if len(domains) != len(rules.levels) or not all(domains):
            faults.add(f"nodes[{name!r}].domains", f"must name its {', '.join(rules.levels)}", domains)
            continue
        for level, (inner, outer) in enumerate(pairwise(domains)):
            first = above[level].setdefault(inner, outer)
            if first != outer:
                text = f"{rules.levels[level]} {inner} lies in two of the level above, {first} and {outer}"
                faults.add(f"nodes[{name!r}].domains", text)


def _check_gangs(faults: FaultList, rules: PlacementRules, sizes: Sizes) -> None:
    faults.unique("gangs", [gang.name for gang in rules.gangs])
    of_task: dict[str, str] = {}
    order = {level: i for i, level in enumerate(rules.all_levels)}
    for gang in rules.gangs:
        place = f"gangs[{gang.name!r}]"
        faults.require(bool(gang.tasks), f"{place}.tasks", "must not be empty")
        for task in gang.tasks:
            _known(faults, f"{place}.tasks", task, sizes.task_gpus, "task")
            other = of_task.setdefault(task, gang.name)
            twice = gang.tasks.count(task) > 1
            faults.require(other == gang.name and not twice, f"{place}.tasks", "names a task twice", task)
        for field_name, level in (("worst_level", gang.worst_level), ("preferred_level", gang.preferred_level)):
            if level:
                _known(faults, f"{place}.{field_name}", level, rules.all_levels, "level")
        worst, preferred = order.get(gang.worst_level), order.get(gang.preferred_level)
        if worst is not None and preferred is not None and preferred > worst:
            faults.add(f"{place}.preferred_level", f"is wider than the worst level {gang.worst_level}", preferred)


def _check_queues(faults: FaultList, rules: PlacementRules) -> None:
    parent = {queue.name: queue.parent for queue in rules.queues}
    faults.unique("queues", [queue.name for queue in rules.queues])
    for queue in rules.queues:
        place = f"queues[{queue.name!r}]"
        if queue.parent:
            _known(faults, f"{place}.parent", queue.parent, parent, "queue")
        faults.unique(f"{place}.quotas", [quota.gpu_type for quota in queue.quotas])
        for quota in queue.quotas:
            _number(faults, f"{place}.nominal_gpus", quota.nominal_gpus)
            _number(faults, f"{place}.borrowing_gpus", quota.borrowing_gpus)
    on_cycle: set[str] = set()
    for name, above in parent.items():
        path, here = [name], above
        while here and here in parent and here not in path:
            path.append(here)
            here = parent[here]
        if here == name and name not in on_cycle:
            on_cycle.update(path)
            faults.add(f"queues[{name!r}].parent", f"the cohorts are cyclic: {' -> '.join([*path, name])}")


def _check_tasks(faults: FaultList, rules: PlacementRules, sizes: Sizes) -> None:
    queues = [queue.name for queue in rules.queues]
    profiles = {p for model in rules.mig_models.values() for p in MIG_MODELS.get(model, {})}
    for kind, model in rules.mig_models.items():
        _known(faults, f"mig_models[{kind!r}]", model, MIG_MODELS, "model with MIG")
    for name, rule in rules.tasks.items():
        place = f"tasks[{name!r}]"
        if not _known(faults, place, name, sizes.task_gpus, "task"):
            continue
        if rule.queue:
            _known(faults, f"{place}.queue", rule.queue, queues, "queue")
        _number(faults, f"{place}.value", rule.value)
        _number(faults, f"{place}.migration_cost", rule.migration_cost)
        _number(faults, f"{place}.priority", rule.priority)
        if rule.mig_profile:
            hint = "mig_models says which GPU types may be partitioned"
            known = rule.mig_profile in profiles
            faults.require(known, f"{place}.mig_profile", "is a profile of no GPU here", rule.mig_profile, hint)
            one = sizes.task_gpus[name] == 1
            faults.require(one, f"{place}.num_gpus", "must be 1 for a MIG profile", sizes.task_gpus[name])
        if rule.current is not None:
            _check_position(faults, f"{place}.current", rule, rule.current, name, sizes)


def _check_position(faults: FaultList, place: str, rule: TaskRule, current: Position, name: str, sizes: Sizes) -> None:
    if not _known(faults, f"{place}.node", current.node, sizes.gpu_type, "node"):
        return
    right = len(set(current.gpus)) == len(current.gpus) == sizes.task_gpus[name]
    faults.require(right, f"{place}.gpus", f"must be {sizes.task_gpus[name]} different GPUs", current.gpus)
    inside = all(0 <= gpu < sizes.node_gpus[current.node] for gpu in current.gpus)
    faults.require(inside, f"{place}.gpus", f"are not all on node {current.node}", current.gpus)
    good = (current.start_slice is not None) == bool(rule.mig_profile)
    faults.require(good, f"{place}.start_slice", "must be given for a MIG profile, and only there", current.start_slice)


def _check_affinities(faults: FaultList, rules: PlacementRules) -> None:
    having: dict[str, set[str]] = {}
    for name, rule in rules.tasks.items():
        for label in rule.labels:
            having.setdefault(label, set()).add(name)
    for number, affinity in enumerate(rules.affinities):
        place = f"affinities[{number}]"
        _known(faults, f"{place}.level", affinity.level, rules.all_levels, "level")
        both = having.get(affinity.label, set()) & having.get(affinity.other, set())
        if affinity.label != affinity.other and both:
            faults.add(place, "speaks of two labels that one task has", min(both))


def _check_aims(faults: FaultList, rules: PlacementRules) -> None:
    for number, aim in enumerate(rules.aims):
        faults.require(bool(aim), f"aims[{number}]", "must not be empty")
        faults.unique(f"aims[{number}]", [term for term, _ in aim])
        for term, weight in aim:
            _known(faults, f"aims[{number}]", term, TERMS, "term")
            _number(faults, f"aims[{number}].{term}", weight, 1e-9)
