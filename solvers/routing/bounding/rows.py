"""The rows of the column master: rounded capacity cuts and subset-row cuts with limited memory, and their separation.

A capacity cut asks that at least ``ceil(q(S) / Q)`` routes enter a set S. A subset-row cut of three clients S says
that at most one route serves two of them: a route counts 1 for each second visit to S, and forgets an odd visit where
it leaves the memory of the cut, which weakens the cut and keeps labelling cheap (Pecin et al. 2017). Both hold for
every plan.

References
----------
Jepsen, M., Petersen, B., Spoorendonk, S., Pisinger, D. (2008). Subset-row inequalities applied to the vehicle-routing
problem with time windows. Operations Research 56(2), 497-511.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from apportion.instances.program import Floats
from apportion.instances.routing import VehicleRouting
from apportion.solvers.routing.bounding import kernels
from apportion.solvers.routing.bounding.kernels import Flags, Ints

_LEAST_ENTRY = 0.03
_LEAST_TRIPLE = 0.05
_MOST_LOADS = 6.0


@dataclass(frozen=True, eq=False)
class Row:
    """A cut: ``inside`` (n + 1,) its clients, ``memory`` where it remembers (None for a capacity cut)."""

    inside: Flags
    memory: Flags | None
    right_side: float


def flattened(routes: list[tuple[int, ...]]) -> tuple[Ints, Ints]:
    """Routes end to end, and where each begins."""
    starts = np.concatenate([[0], np.cumsum([len(route) for route in routes])]).astype(np.int32)
    flat = np.fromiter((client for route in routes for client in route), np.int32, int(starts[-1]))
    return flat, starts


def coefficients(rows: list[Row], routes: list[tuple[int, ...]]) -> Floats:
    """What each route counts in each row; shape (routes, rows)."""
    flat, starts = flattened(routes)
    result = np.zeros((len(routes), len(rows)))
    by_kind = [position for position, row in enumerate(rows) if row.memory is None]
    if by_kind:
        part = np.zeros((len(routes), len(by_kind)))
        kernels.entries(flat, starts, np.array([rows[position].inside for position in by_kind]), part)
        result[:, by_kind] = part
    by_kind = [position for position, row in enumerate(rows) if row.memory is not None]
    if by_kind:
        part = np.zeros((len(routes), len(by_kind)))
        inside = np.array([rows[position].inside for position in by_kind])
        memory = np.array([rows[position].memory for position in by_kind])
        kernels.second_visits(flat, starts, inside, memory, part)
        result[:, by_kind] = part
    return result


def flows(size: int, routes: list[tuple[int, ...]], values: Floats) -> Floats:
    """How much of the routes uses each pair of locations side by side; symmetric, shape (size, size)."""
    used = np.zeros((size, size))
    for route, value in zip(routes, values.tolist(), strict=True):
        stops = np.array((0, *route, 0))
        np.add.at(used, (stops[:-1], stops[1:]), value)
    return used + used.T


def capacity_cuts(instance: VehicleRouting, routes: list[tuple[int, ...]], values: Floats, most: int) -> list[Row]:
    """Capacity cuts that ``values`` of ``routes`` violate, the most violated first."""
    size = instance.num_clients + 1
    used = flows(size, routes, values)
    support = used.copy()
    support[0] = support[:, 0] = 0.0
    graph = sparse.csr_matrix(support)
    sets = np.zeros((size, size), np.bool_)
    violations = np.zeros(size)
    count = kernels.grow_cuts(
        graph.indptr.astype(np.int32),
        graph.indices.astype(np.int32),
        graph.data.astype(np.float64),
        np.array(instance.demand),
        float(instance.capacity),
        _MOST_LOADS * float(instance.capacity),
        -1.0,
        sets,
        violations,
        np.zeros(size),
        np.zeros(size, np.bool_),
    )
    candidates = sets[:count]
    kernels.improve_sets(used, np.array(instance.demand), float(instance.capacity), candidates)
    candidates = np.unique(np.concatenate([candidates, ~candidates & (np.arange(size) > 0)]), axis=0)
    needed = np.ceil(candidates @ instance.demand / max(instance.capacity, 1e-9) - 1e-9)
    weights = candidates.astype(np.float64)
    crossing = weights @ used.sum(axis=1) - ((weights @ used) * weights).sum(axis=1)
    short = needed - crossing / 2.0
    order = np.argsort(-short, kind="stable")[:most]
    return [Row(candidates[i].copy(), None, float(needed[i])) for i in order if short[i] > _LEAST_ENTRY]


def triple_cuts(
    size: int, routes: list[tuple[int, ...]], values: Floats, known: dict[frozenset[int], Row], most: int, each: int
) -> list[Row]:
    """Violated subset-row cuts with the least memory that shows it; a cut in ``known`` comes back with more memory.

    At most ``most`` cuts and ``each`` of them over one client.
    """
    used = [(route, value) for route, value in zip(routes, values.tolist(), strict=True) if value > 1e-6]
    visits = np.zeros((len(used), size), np.int32)
    for position, (route, _) in enumerate(used):
        np.add.at(visits[position], list(route), 1)
    amount = np.array([value for _, value in used])
    some = np.minimum(visits, 1).astype(np.float64)
    together = (some * amount[:, None]).T @ some
    np.fill_diagonal(together, ((visits >= 2) * amount[:, None]).sum(axis=0))
    found, by = np.zeros((100_000, 3), np.int32), np.zeros(100_000)
    count = kernels.violated_triples(visits, amount, together, _LEAST_TRIPLE, found, by)
    shares = np.zeros(size, np.int64)
    cuts: list[Row] = []
    for position in np.argsort(-by[:count], kind="stable").tolist():
        triple = found[position]
        if len(cuts) >= most or (shares[triple] >= each).any():
            continue
        row = _remembering(size, triple, used, known.get(frozenset(triple.tolist())))
        if row is not None:
            shares[triple] += 1
            cuts.append(row)
    return cuts


def _remembering(size: int, triple: Ints, used: list[tuple[tuple[int, ...], float]], known: Row | None) -> Row | None:
    inside = np.zeros(size, np.bool_)
    inside[triple] = True
    memory = inside.copy() if known is None or known.memory is None else known.memory.copy()
    before = int(memory.sum())
    for route, _ in used:
        opened = -1
        for place, client in enumerate(route):
            if inside[client]:
                if opened >= 0:
                    memory[list(route[opened : place + 1])] = True
                    opened = -1
                else:
                    opened = place
    if known is not None and int(memory.sum()) == before:
        return None
    return Row(inside, memory, 1.0)
