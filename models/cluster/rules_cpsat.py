"""Cluster placement with gangs, topology, affinity, quotas, MIG and running tasks, for CP-SAT.

With units of like tasks ``u``: ``x[u, n]`` of them run on node ``n``; ``y[g]`` says that gang ``g`` runs. Whole GPUs
are counted by node; only GPUs that are shared, partitioned or held by a running task are told apart. ``stay[u]`` says
that a running task stays where it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from apportion.instances.cluster import MILLI_PER_GPU, ClusterPlacement, PlacedTask, Placement
from apportion.instances.cluster_rules import MIG_SLICES, TERMS, Affinity, Gang
from apportion.models.cluster.quotas import quota_limits
from apportion.models.cluster.units import Unit, profile_on, units_of

if TYPE_CHECKING:
    from collections.abc import Callable

_SCALES = (1, 10, 100, 1000, 10_000, 100_000, 1_000_000)
_NODE_TERMS = ("packing", "fragmentation", "energy")


@dataclass(eq=False)
class RulesCp:
    """The model with its variables: see the module; keys are positions of units, nodes and GPUs."""

    instance: ClusterPlacement
    units: tuple[Unit, ...]
    model: Any
    x: dict[tuple[int, int], Any] = field(default_factory=dict)
    y: dict[str, Any] = field(default_factory=dict)
    stay: dict[int, Any] = field(default_factory=dict)
    share: dict[tuple[int, int, int], Any] = field(default_factory=dict)
    slices: dict[tuple[int, int, int, int], Any] = field(default_factory=dict)
    opened: dict[tuple[int, int], Any] = field(default_factory=dict)
    split: dict[tuple[int, int], Any] = field(default_factory=dict)
    used: dict[int, Any] = field(default_factory=dict)
    inside: dict[tuple[str, str, str], Any] = field(default_factory=dict)
    beyond: dict[tuple[str, str], Any] = field(default_factory=dict)
    on_node: dict[int, list[int]] = field(default_factory=dict)

    @property
    def num_variables(self) -> int:
        """How large the model is."""
        return len(self.model.proto.variables)

    def total(self, unit: int) -> Any:
        """How many tasks of a unit are placed."""
        return sum(self.x[unit, node] for node in self.units[unit].hosts)

    def aim(self, number: int) -> AimCp:
        """The aim at a position as a whole-numbered expression to be maximised."""
        linear: dict[int, tuple[Any, float]] = {}
        constant = 0.0
        for term, weight in self.instance.rules.chosen_aims[number]:
            parts, offset = self._term(term)
            constant += TERMS[term] * weight * offset
            for variable, amount in parts:
                before = linear.get(variable.index, (variable, 0.0))[1]
                linear[variable.index] = (variable, before + TERMS[term] * weight * amount)
        return AimCp.of([entry for _, entry in sorted(linear.items())], constant, self.model.proto)

    def _term(self, term: str) -> tuple[list[tuple[Any, float]], float]:
        """Variables with their amounts, and a constant."""
        instance, rules = self.instance, self.instance.rules
        if term == "topology":
            return [(variable, 1.0) for variable in self.beyond.values()], 0.0
        if term == "migrations":
            costs = [(self.stay[u], -self.units[u].migration_cost) for u in self.stay]
            return costs, -sum(cost for _, cost in costs)
        if term in ("value", "tasks"):
            each = [unit.value if term == "value" else 1.0 for unit in self.units]
            return [(variable, each[u]) for (u, _), variable in self.x.items()], 0.0
        names, nothing = instance.nodes.names, [0.0] * len(instance.nodes)
        idle, busy = {
            "packing": ([1.0] * len(names), nothing),
            "fragmentation": (instance.nodes.num_gpus.tolist(), [-1.0] * len(names)),
            "energy": ([rules.node(n).idle_watts for n in names], [rules.node(n).gpu_watts for n in names]),
        }[term]
        parts = [(variable, float(idle[n])) for n, variable in self.used.items()]
        each = [unit.demand_milli / MILLI_PER_GPU for unit in self.units]
        parts += [(variable, busy[n] * each[u]) for (u, n), variable in self.x.items()]
        return [(variable, amount) for variable, amount in parts if amount], 0.0

    def decode(self, value: Callable[[Any], int]) -> Placement:
        """The plan of a solution; ``value`` gives the value of a variable."""
        waiting = {u: list(unit.tasks) for u, unit in enumerate(self.units)}
        told_apart: dict[int, list[tuple[int, int, int | None]]] = {}
        for (u, node, gpu), variable in self.share.items():
            told_apart.setdefault(node, []).extend([(u, gpu, None)] * value(variable))
        for (u, node, gpu, start), variable in self.slices.items():
            told_apart.setdefault(node, []).extend([(u, gpu, start)] * value(variable))
        entries: list[PlacedTask] = []
        for node, here in sorted(self.on_node.items()):
            whole = [u for u in here if not (self.units[u].is_share or self.units[u].mig_profile)]
            counts = {u: value(self.x[u, node]) for u in whole}
            stays = [u for u in whole if self.units[u].home == node and value(self.stay[u])]
            entries += self._on_node(node, waiting, told_apart.get(node, []), stays, counts)
        order = {name: i for i, name in enumerate(self.instance.tasks.names)}
        return Placement(tuple(sorted(entries, key=lambda entry: order[entry.task])))

    def _on_node(
        self,
        node: int,
        waiting: dict[int, list[int]],
        told_apart: list[tuple[int, int, int | None]],
        stays: list[int],
        counts: dict[int, int],
    ) -> list[PlacedTask]:
        """Name the tasks of a node: those that stay and those that share, then the others on the GPUs that are left."""
        nodes, names = self.instance.nodes, self.instance.tasks.names
        chosen: list[tuple[int, tuple[int, ...], int | None]] = [(u, (gpu,), start) for u, gpu, start in told_apart]
        for u in stays:
            current = self.units[u].current
            chosen.append((u, current.gpus if current else (), None))
            counts[u] -= 1
        taken = {gpu for _, gpus, _ in chosen for gpu in gpus}
        free = [gpu for gpu in range(int(nodes.num_gpus[node])) if gpu not in taken]
        for u, count in counts.items():
            for _ in range(count):
                asked = self.units[u].num_gpus
                chosen.append((u, tuple(free[:asked]), None))
                free = free[asked:]
        return [
            PlacedTask(names[waiting[u].pop(0)], nodes.names[node], gpus, self.units[u].gpu_milli, start)
            for u, gpus, start in chosen
        ]

    def hint(self, plan: Placement) -> dict[int, int]:
        """Give a plan as a hint; returns the values by index of the variables that say where tasks are."""
        values = self.values_of(plan)
        self.model.clear_hints()
        for variable in self._placing():
            self.model.add_hint(variable, values[variable.index])
        return values

    def _placing(self) -> list[Any]:
        tables = (self.x, self.y, self.stay, self.share, self.slices, self.used, self.opened, self.split)
        return [variable for table in tables for variable in table.values()]

    def values_of(self, plan: Placement) -> dict[int, int]:
        """The variables that say where tasks are, by index, as a valid plan has them."""
        instance = self.instance
        node_at = {name: i for i, name in enumerate(instance.nodes.names)}
        unit_of = {instance.tasks.names[task]: u for u, unit in enumerate(self.units) for task in unit.tasks}
        values = {variable.index: 0 for variable in self._placing()}
        for entry in plan.placed:
            u, node = unit_of[entry.task], node_at[entry.node]
            unit = self.units[u]
            values[self.x[u, node].index] += 1
            if unit.gang:
                values[self.y[unit.gang].index] = 1
            if node in self.used:
                values[self.used[node].index] = 1
            if unit.is_share:
                values[self.share[u, node, entry.gpus[0]].index] += 1
                values[self.opened[node, entry.gpus[0]].index] = 1
            elif unit.mig_profile and entry.start_slice is not None:
                values[self.slices[u, node, entry.gpus[0], entry.start_slice].index] = 1
                values[self.split[node, entry.gpus[0]].index] = 1
            now, current = (entry.node, set(entry.gpus), entry.start_slice), unit.current
            if current is not None and now == (current.node, set(current.gpus), current.start_slice):
                values[self.stay[u].index] = 1
        return values


@dataclass(frozen=True, eq=False)
class AimCp:
    """An aim as ``sum(coefficients * variables) / scale + constant``; rounding takes at most ``slack`` from it."""

    variables: tuple[Any, ...]
    coefficients: tuple[int, ...]
    scale: int
    constant: float
    slack: float

    @classmethod
    def of(cls, linear: list[tuple[Any, float]], constant: float, proto: Any) -> AimCp:
        """Find the least scale at which every coefficient is whole, or the finest."""
        scale = next((s for s in _SCALES if all(abs(a * s - round(a * s)) < 1e-9 for _, a in linear)), _SCALES[-1])
        whole = [round(amount * scale) for _, amount in linear]
        off = [
            abs(amount - number / scale) * proto.variables[variable.index].domain[1]
            for (variable, amount), number in zip(linear, whole, strict=True)
        ]
        return cls(tuple(v for v, _ in linear), tuple(whole), scale, constant, float(sum(off)))

    @property
    def expression(self) -> Any:
        """The whole-numbered part."""
        from ortools.sat.python import cp_model

        return cp_model.LinearExpr.weighted_sum(list(self.variables), list(self.coefficients))

    def value(self, whole: float) -> float:
        """What a value of the whole-numbered part amounts to."""
        return whole / self.scale + self.constant


def rules_cp(instance: ClusterPlacement) -> RulesCp:
    """Write the constraints of ``instance``; the caller chooses the aim."""
    from ortools.sat.python import cp_model

    built = RulesCp(instance, units_of(instance), cp_model.CpModel())
    _variables(built)
    for node in range(len(instance.nodes)):
        _node(built, node)
    _counts(built)
    for gang in instance.rules.gangs:
        _topology(built, gang)
    for affinity in instance.rules.affinities:
        _apart(built, affinity) if affinity.apart else _together(built, affinity)
    _quotas(built)
    _running(built)
    return built


def _variables(built: RulesCp) -> None:
    model, rules = built.model, built.instance.rules
    terms = {term for aim in rules.chosen_aims for term, _ in aim}
    if terms & set(_NODE_TERMS):
        built.used = {n: model.new_bool_var(f"used_{n}") for n in range(len(built.instance.nodes))}
    built.y = {gang.name: model.new_bool_var(f"gang_{g}") for g, gang in enumerate(rules.gangs)}
    for u, unit in enumerate(built.units):
        for node, most in zip(unit.hosts, unit.most, strict=True):
            built.x[u, node] = model.new_int_var(0, most, f"x_{u}_{node}")
            built.on_node.setdefault(node, []).append(u)
        if unit.current is not None:
            built.stay[u] = model.new_bool_var(f"stay_{u}")
            if unit.home not in unit.hosts:
                model.add(built.stay[u] == 0)


def _node(built: RulesCp, node: int) -> None:
    """What a node holds: CPU, memory, and its GPUs."""
    model, nodes, here = built.model, built.instance.nodes, built.on_node.get(node, [])
    on = built.used.get(node, 1)
    for column, room in (("cpu_milli", nodes.cpu_milli[node]), ("memory_mib", nodes.memory_mib[node])):
        model.add(sum(getattr(built.units[u], column) * built.x[u, node] for u in here) <= int(room) * on)
    if node in built.used:
        for u in here:
            model.add(built.x[u, node] <= built.units[u].count * on)
    shares = [u for u in here if built.units[u].is_share]
    parted = [u for u in here if built.units[u].mig_profile]
    held = _held(built, node)
    gpus = range(int(nodes.num_gpus[node]))
    special: list[Any] = []
    for gpu in gpus:
        modes = _gpu(built, node, gpu, shares, parted) if shares or parted else []
        model.add(sum(modes) + sum(built.stay[u] for u in held.get(gpu, ())) <= 1)
        special += modes
    for u in shares:
        model.add(sum(built.share[u, node, gpu] for gpu in gpus) == built.x[u, node])
    for u in parted:
        starts = profile_on(built.instance, nodes.gpu_types[node], built.units[u].mig_profile)[1]
        model.add(sum(built.slices[u, node, gpu, s] for gpu in gpus for s in starts) == built.x[u, node])
    whole = sum(built.units[u].num_gpus * built.x[u, node] for u in here if u not in shares and u not in parted)
    model.add(whole + sum(special) <= len(gpus))
    if not any(built.units[u].home == node for u in here):
        # of equal GPUs the first are shared, the last are partitioned
        for gpu in gpus[1:] if shares else ():
            model.add_implication(built.opened[node, gpu], built.opened[node, gpu - 1])
        for gpu in gpus[1:] if parted else ():
            model.add_implication(built.split[node, gpu - 1], built.split[node, gpu])


def _held(built: RulesCp, node: int) -> dict[int, list[int]]:
    """The units of running tasks that hold whole GPUs of a node, by GPU."""
    held: dict[int, list[int]] = {}
    for u in built.on_node.get(node, []):
        unit = built.units[u]
        if unit.home == node and unit.current is not None and not unit.is_share and not unit.mig_profile:
            for gpu in unit.current.gpus:
                held.setdefault(gpu, []).append(u)
    return held


def _gpu(built: RulesCp, node: int, gpu: int, shares: list[int], parted: list[int]) -> list[Any]:
    """A GPU is shared, partitioned, or neither; returns the two variables that say so."""
    model, units, modes = built.model, built.units, []
    if shares:
        opened = built.opened[node, gpu] = model.new_bool_var(f"open_{node}_{gpu}")
        for u in shares:
            most = min(units[u].count, MILLI_PER_GPU // units[u].gpu_milli)
            built.share[u, node, gpu] = model.new_int_var(0, most, f"share_{u}_{node}_{gpu}")
        model.add(sum(units[u].gpu_milli * built.share[u, node, gpu] for u in shares) <= MILLI_PER_GPU * opened)
        modes.append(opened)
    if parted:
        split = built.split[node, gpu] = model.new_bool_var(f"split_{node}_{gpu}")
        covering: dict[int, list[Any]] = {}
        for u in parted:
            size, starts = profile_on(built.instance, built.instance.nodes.gpu_types[node], units[u].mig_profile)
            for start in starts:
                begun = built.slices[u, node, gpu, start] = model.new_bool_var(f"slice_{u}_{node}_{gpu}_{start}")
                for place in range(start, start + size):
                    covering.setdefault(place, []).append(begun)
        for place in range(MIG_SLICES):
            if place in covering:
                model.add(sum(covering[place]) <= split)
        modes.append(split)
    return modes


def _counts(built: RulesCp) -> None:
    """A gang runs whole or not at all; of other units no more run than there are."""
    for u, unit in enumerate(built.units):
        if unit.gang:
            built.model.add(built.total(u) == unit.count * built.y[unit.gang])
        elif unit.hosts:
            built.model.add(built.total(u) <= unit.count)


def _topology(built: RulesCp, gang: Gang) -> None:
    """Within one domain of the worst level; a variable for every level from the preferred one on that is too narrow."""
    levels = built.instance.rules.all_levels
    worst = levels.index(gang.worst_level) if gang.worst_level else len(levels)
    first = levels.index(gang.preferred_level) if gang.preferred_level else worst
    for level in levels[first:worst]:
        beyond = built.beyond[gang.name, level] = built.model.new_bool_var(f"beyond_{gang.name}_{level}")
        _one_domain(built, gang, level, beyond)
    if gang.worst_level:
        _one_domain(built, gang, gang.worst_level, 0)


def _one_domain(built: RulesCp, gang: Gang, level: str, beyond: Any) -> None:
    """The gang lies in one domain of a level, or ``beyond`` is 1."""
    members = [u for u, unit in enumerate(built.units) if unit.gang == gang.name]
    nodes: dict[str, list[int]] = {}
    for node in sorted({node for u in members for node in built.units[u].hosts}):
        nodes.setdefault(built.instance.rules.domain(built.instance.nodes.names[node], level), []).append(node)
    chosen: list[Any] = []
    for domain, inside in nodes.items():
        within = set(inside)
        most = {
            u: sum(m for n, m in zip(built.units[u].hosts, built.units[u].most, strict=True) if n in within)
            for u in members
        }
        here: Any = 0
        if all(most[u] >= built.units[u].count for u in members):
            here = built.inside[gang.name, level, domain] = built.model.new_bool_var(f"in_{gang.name}_{domain}")
            chosen.append(here)
        for u in members:
            count = sum(built.x[u, node] for node in inside if (u, node) in built.x)
            built.model.add(count <= built.units[u].count * (here + beyond))
    built.model.add(sum(chosen) + beyond == built.y[gang.name])


def _labelled(built: RulesCp, label: str, level: str) -> dict[str, list[Any]]:
    """The variables of tasks with a label, by domain."""
    found: dict[str, list[Any]] = {}
    names = built.instance.nodes.names
    for u, unit in enumerate(built.units):
        for node in unit.hosts if label in unit.labels else ():
            found.setdefault(built.instance.rules.domain(names[node], level), []).append(built.x[u, node])
    return found


def _bounded(built: RulesCp, variables: list[Any], switch: Any) -> None:
    """None of ``variables`` is positive unless ``switch`` is 1."""
    proto = built.model.proto
    for variable in variables:
        built.model.add(variable <= proto.variables[variable.index].domain[1] * switch)


def _apart(built: RulesCp, affinity: Affinity) -> None:
    """No domain holds a task of one label with another task of the other."""
    one = _labelled(built, affinity.label, affinity.level)
    if affinity.label == affinity.other:
        for variables in one.values():
            built.model.add(sum(variables) <= 1)
        return
    other = _labelled(built, affinity.other, affinity.level)
    for domain in [domain for domain in one if domain in other]:
        side = built.model.new_bool_var(f"side_{domain}")
        _bounded(built, one[domain], side)
        _bounded(built, other[domain], 1 - side)


def _together(built: RulesCp, affinity: Affinity) -> None:
    """All tasks of a label in one domain, or each with one of the other label in its domain."""
    one = _labelled(built, affinity.label, affinity.level)
    if affinity.label == affinity.other:
        switches = [built.model.new_bool_var(f"all_{domain}") for domain in one]
        for switch, variables in zip(switches, one.values(), strict=True):
            _bounded(built, variables, switch)
        built.model.add(sum(switches) <= 1)
        return
    other = _labelled(built, affinity.other, affinity.level)
    for domain, variables in one.items():
        there = built.model.new_bool_var(f"there_{domain}")
        built.model.add(there <= sum(other.get(domain, [])))
        _bounded(built, variables, there)


def _quotas(built: RulesCp) -> None:
    """What the queues of a subtree use of a GPU type stays within its limit."""
    kinds = built.instance.nodes.gpu_types
    for limit in quota_limits(built.instance.rules):
        used = [
            built.units[u].demand_milli * variable
            for (u, node), variable in built.x.items()
            if built.units[u].queue in limit.members and limit.gpu_type in ("", kinds[node])
        ]
        built.model.add(sum(used) <= limit.milli)


def _running(built: RulesCp) -> None:
    """A running task stays, or moves or stops when it may; it stops only for a newcomer of higher priority."""
    for u, stay in built.stay.items():
        unit = built.units[u]
        if unit.home in unit.hosts:
            _staying(built, u, unit)
        if not unit.preemptible:
            built.model.add(stay == 1)
            continue
        newcomers = [
            built.x[v, unit.home]
            for v in built.on_node.get(unit.home, ())
            if built.units[v].priority > unit.priority and built.units[v].home != unit.home
        ]
        built.model.add(built.total(u) + sum(newcomers) >= 1)


def _staying(built: RulesCp, u: int, unit: Unit) -> None:
    """What it means to stay: on the same node, and on the same GPUs and slices where they are told apart."""
    model, stay, home, current = built.model, built.stay[u], built.x[u, unit.home], unit.current
    model.add(stay <= home)
    if unit.num_gpus == 0 or current is None:
        model.add(stay == home)
    elif unit.is_share:
        model.add(stay == built.share[u, unit.home, current.gpus[0]])
    elif unit.mig_profile:
        model.add(stay == built.slices.get((u, unit.home, current.gpus[0], current.start_slice or 0), 0))
