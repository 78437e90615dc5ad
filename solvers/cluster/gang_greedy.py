"""Greedy placement under rules: gang after gang, in the narrowest domain that holds it.

Two ways to choose a domain, at every level from the widest down to the node: the first that fits, or the fullest that
fits; when none holds all that is left, the emptiest is filled first (Kueue's topology-aware scheduling, KEP 2724).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from apportion.instances.cluster import ClusterPlacement, Placement
from apportion.models.cluster.units import Unit, units_of
from apportion.solvers.cluster.board import Board, Ints

FIRST_FIT, BEST_FIT = "first-fit", "best-fit"
ORDERS = ("given", "value", "large", "dense")
_MOST_DOMAINS = 12


def place_greedily(instance: ClusterPlacement, policy: str = BEST_FIT, order: str = "value") -> Placement | None:
    """Leave running tasks where they are and place the others; None when the running ones clash.

    Parameters
    ----------
    instance
        With or without rules.
    policy
        ``"first-fit"`` or ``"best-fit"``.
    order
        Of the gangs and single tasks: ``"given"``, by ``"value"``, by size (``"large"``), by value for their size
        (``"dense"``).

    Examples
    --------
    >>> from apportion.instances.generate.cluster import generate_cluster
    >>> cluster = generate_cluster(seed=1, nodes=4, tasks=20)
    >>> plan = place_greedily(cluster)
    >>> plan is not None and len(plan.placed) > 0
    True
    """
    greedy = _Greedy(instance, policy)
    if not greedy.board.keep_running():
        return None
    for members in greedy.in_order(order):
        greedy.place(members)
    return greedy.board.plan()


class _Greedy:
    def __init__(self, instance: ClusterPlacement, policy: str) -> None:
        self.instance, self.policy = instance, policy
        self.units: tuple[Unit, ...] = units_of(instance)
        self.board = Board(instance, self.units)
        rules, names = instance.rules, instance.nodes.names
        self.gangs = {gang.name: gang for gang in rules.gangs}
        self.levels = rules.all_levels
        self.domains: list[dict[str, list[int]]] = []
        for level in self.levels:
            found: dict[str, list[int]] = {}
            for node, name in enumerate(names):
                found.setdefault(rules.domain(name, level), []).append(node)
            self.domains.append(found)
        self.domain_of = [[rules.domain(name, level) for name in names] for level in self.levels]

    def in_order(self, order: str) -> list[list[int]]:
        """Gangs and single units, as lists of units, in the order in which they are placed."""
        groups: dict[str, list[int]] = {}
        for u, unit in enumerate(self.units):
            groups.setdefault(unit.gang or f"\n{u}", []).append(u)
        chosen = [[u for u in members if self.board.waiting[u]] for members in groups.values()]

        def key(members: list[int]) -> tuple[float, ...]:
            units = [self.units[u] for u in members]
            whole = all(unit.gang for unit in units)
            value = sum(unit.value * (unit.count if whole else 1) for unit in units)
            size = sum(unit.demand_milli * (unit.count if whole else 1) for unit in units)
            first = -max(unit.priority for unit in units)
            return {
                "given": (0.0,),
                "value": (first, -value, -size),
                "large": (first, -size, -value),
                "dense": (first, -value / max(size, 1), -size),
            }[order]

        return sorted((members for members in chosen if members), key=key)

    def place(self, members: list[int]) -> bool:
        """Place a gang, all of it or nothing, or as many tasks of a single unit as fit."""
        gang = self.gangs.get(self.units[members[0]].gang)
        if gang is None:
            u = members[0]
            self._fill(u, range(len(self.instance.nodes)), self.board.waiting[u])
            return True
        running = [unit.home for unit in self.units if unit.gang == gang.name and unit.current is not None]
        if running:
            level = self.levels.index(gang.worst_level) if gang.worst_level else None
            near = None if level is None else self.domains[level][self.domain_of[level][running[0]]]
            return self._within(members, range(len(self.instance.nodes)) if near is None else near)
        last = self.levels.index(gang.worst_level) if gang.worst_level else len(self.levels) - 1
        for level in range(last + 1):
            for domain in self._candidates(members, level):
                if self._within(members, self.domains[level][domain]):
                    return True
        return not gang.worst_level and self._within(members, range(len(self.instance.nodes)))

    def _candidates(self, members: list[int], level: int) -> list[str]:
        """Domains of a level that seem to hold a gang, the most promising first."""
        room = [(self.board.capacity(u), self.board.waiting[u]) for u in members]
        asked = sum(self.units[u].num_gpus * self.board.waiting[u] for u in members if not self._is_part(u))
        found = []
        for domain, nodes in self.domains[level].items():
            idle = int(self.board.idle[nodes].sum())
            if idle >= asked and all(int(capacity[nodes].sum()) >= count for capacity, count in room):
                found.append((idle, domain))
        if self.policy == BEST_FIT:
            found.sort(key=lambda row: row[0])
        return [domain for _, domain in found[:_MOST_DOMAINS]]

    def _is_part(self, u: int) -> bool:
        return self.units[u].is_share or bool(self.units[u].mig_profile)

    def _within(self, members: list[int], nodes: Sequence[int]) -> bool:
        """All waiting tasks of the units on ``nodes``, or nothing."""
        before = len(self.board.spots)
        for u in sorted(members, key=lambda u: -self.units[u].demand_milli):
            wanted = self.board.waiting[u]
            if self._fill(u, nodes, wanted) < wanted:
                self.board.back_to(before)
                return False
        return True

    def _fill(self, u: int, nodes: Sequence[int], wanted: int) -> int:
        """Put up to ``wanted`` tasks of a unit on ``nodes``; returns how many were."""
        capacity = self.board.capacity(u)
        return self._descend(u, np.asarray(nodes, np.int64), len(self.levels) - 1, wanted, capacity)

    def _descend(self, u: int, nodes: Ints, level: int, wanted: int, capacity: Ints) -> int:
        """Choose among the domains of a level inside ``nodes``, then among those inside each, down to the nodes."""
        if wanted == 0 or not len(nodes):
            return 0
        groups: dict[str, list[int]] = {}
        for node in nodes.tolist():
            if capacity[node]:
                groups.setdefault(self.domain_of[level][node], []).append(node)
        rooms = [(int(capacity[inside].sum()), inside) for inside in groups.values()]
        done = 0
        while rooms and done < wanted:
            left = wanted - done
            place = self._choice([room for room, _ in rooms], left)
            room, inside = rooms.pop(place)
            if level > 0:
                done += self._descend(u, np.array(inside), level - 1, min(left, room), capacity)
            else:
                done += self._on_node(u, inside[0], min(left, room))
        return done

    def _choice(self, rooms: list[int], wanted: int) -> int:
        if self.policy == FIRST_FIT:
            return 0
        enough = [(room, place) for place, room in enumerate(rooms) if room >= wanted]
        return min(enough)[1] if enough else rooms.index(max(rooms))

    def _on_node(self, u: int, node: int, wanted: int) -> int:
        done = 0
        while done < wanted and self.board.place(u, node):
            done += 1
        return done
