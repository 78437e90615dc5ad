"""Slow and obvious answers to small cutting and assignment problems, and files of larger ones."""

from __future__ import annotations

import itertools
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def fewest_bins(sizes: list[int], capacity: int) -> int:
    """Bins for the items, by trying every maximal filling with the first item left."""

    @cache
    def best(items: tuple[int, ...]) -> int:
        if not items:
            return 0
        rest = items[1:]
        fewest = len(items)
        for mask in range(1 << len(rest)):
            inside = [rest[i] for i in range(len(rest)) if mask >> i & 1]
            if items[0] + sum(inside) <= capacity:
                outside = tuple(rest[i] for i in range(len(rest)) if not mask >> i & 1)
                fewest = min(fewest, 1 + best(outside))
        return fewest

    return best(tuple(sorted(sizes, reverse=True)))


def cheapest_assignment(cost: Floats, use: Ints, capacity: Ints) -> float:
    """The least cost over every assignment; infinite when none fits."""
    agents, jobs = cost.shape
    best = np.inf
    for choice in itertools.product(range(agents), repeat=jobs):
        load = np.zeros(agents)
        np.add.at(load, list(choice), use[list(choice), range(jobs)])
        if (load <= capacity).all():
            best = min(best, float(cost[list(choice), range(jobs)].sum()))
    return best


def cuts_all(patterns: tuple[tuple[int, tuple[int, ...]], ...], lengths: Ints, demands: Ints, capacity: int) -> bool:
    """Whether the patterns fit and give exactly the demand."""
    made = np.zeros(len(lengths), np.int64)
    for times, inside in patterns:
        if sum(int(lengths[i]) for i in inside) > capacity:
            return False
        for i in inside:
            made[i] += times
    return bool((made == demands).all())


def assignment_cost(agents: tuple[int, ...], cost: Floats, use: Floats, capacity: Floats) -> float:
    """The cost of an assignment; infinite when an agent is overloaded."""
    chosen = np.array(agents)
    jobs = np.arange(len(chosen))
    for agent in range(len(capacity)):
        if use[agent, jobs[chosen == agent]].sum() > capacity[agent]:
            return np.inf
    return float(cost[chosen, jobs].sum())


def falkenauer(path: Path) -> list[tuple[str, Ints, int, int]]:
    """Name, sizes, capacity and best known of each problem; sizes in tenths are made whole."""
    words = path.read_text(encoding="utf-8").split()
    problems, at = [], 1
    for _ in range(int(words[0])):
        capacity, items, known = float(words[at + 1]), int(words[at + 2]), int(words[at + 3])
        sizes = np.array([float(w) for w in words[at + 4 : at + 4 + items]])
        scale = 1 if (sizes == np.floor(sizes)).all() else 10
        problems.append((words[at], np.rint(scale * sizes).astype(np.int64), int(scale * capacity), known))
        at += 4 + items
    return problems


def schwerin_waescher(path: Path) -> list[tuple[str, Ints, Ints, int]]:
    """Name, lengths, demands and capacity of each problem of a .BPP file."""
    problems = []
    for block in path.read_text(encoding="latin-1").split("'")[1:]:
        if block.strip().startswith("BPP"):
            name = " ".join(block.split())
            continue
        numbers = [int(float(w)) for w in block.split()]
        if numbers:
            pairs = np.array(numbers[2 : 2 + 2 * numbers[0]], np.int64).reshape(-1, 2)
            problems.append((name, pairs[:, 0], pairs[:, 1], numbers[1]))
    return problems


def read_gap(path: Path) -> tuple[Floats, Floats, Floats]:
    """Costs, resources and capacities."""
    numbers = np.array(path.read_text(encoding="utf-8").split(), np.float64)
    agents, jobs = int(numbers[0]), int(numbers[1])
    cost, use = numbers[2 : 2 + 2 * agents * jobs].reshape(2, agents, jobs)
    return cost, use, numbers[2 + 2 * agents * jobs :][:agents]
