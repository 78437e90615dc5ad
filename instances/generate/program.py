"""Seeded mixed-integer programs of four classic kinds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from apportion.instances.core import Sense
from apportion.instances.errors import OptionError
from apportion.instances.program import Floats, MixedIntegerProgram, SparseColumns


def generate_program(seed: int = 0, kind: str = "set-cover", **sizes: int) -> MixedIntegerProgram:
    """Generate a mixed-integer program.

    Parameters
    ----------
    seed
        The same seed and sizes give the same program, byte by byte.
    kind
        ``"set-cover"`` (sizes ``elements``, ``sets``), ``"knapsack"`` (``items``, ``resources``),
        ``"facility"`` (``sites``, ``clients``) or ``"assignment"`` (``workers``, ``jobs``).
    **sizes
        Positive whole numbers; small by default.

    Examples
    --------
    >>> generate_program(seed=1, kind="knapsack", items=5, resources=2).num_rows
    2
    """
    if kind not in KINDS:
        raise OptionError(f"unknown kind of program {kind!r}\nMaybe one of {', '.join(KINDS)}")
    make, defaults = KINDS[kind]
    for name, size in sizes.items():
        if name not in defaults:
            raise OptionError(f"{kind} has no size {name!r}\nMaybe one of {', '.join(defaults)}")
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise OptionError(f"{kind}: {name} must be a whole number of at least 1, got {size!r}")
    chosen = {**defaults, **sizes}
    text = "-".join(str(size) for size in chosen.values())
    return make(f"{kind}-{text}-s{seed}", np.random.default_rng(seed), *chosen.values())


def _set_cover(name: str, rng: np.random.Generator, elements: int, sets: int) -> MixedIntegerProgram:
    """Cover every element by chosen sets at least cost; each set holds about 5 % of the elements."""
    member = rng.random((elements, sets)) < max(0.05, 2.0 / sets)
    owner = rng.integers(sets, size=elements)
    member[np.arange(elements), owner] = True
    size = member.sum(axis=0)
    cost = np.round(size * rng.uniform(0.5, 1.5, sets) + 1.0, 1)
    names = tuple(f"choose[{j}]" for j in range(sets)), tuple(f"cover[{i}]" for i in range(elements))
    return _binary(name, Sense.MINIMISE, cost, member.astype(float), (1.0, np.inf), names)


def _knapsack(name: str, rng: np.random.Generator, items: int, resources: int) -> MixedIntegerProgram:
    """Pack the most valuable items into several knapsacks at once, each filled to half of all."""
    weight = rng.integers(5, 100, size=(resources, items)).astype(float)
    value = np.round(weight.mean(axis=0) + rng.uniform(0, 30, items), 1)
    capacity = np.floor(weight.sum(axis=1) / 2)
    names = tuple(f"pack[{j}]" for j in range(items)), tuple(f"capacity[{i}]" for i in range(resources))
    return _binary(name, Sense.MAXIMISE, value, weight, (-np.inf, capacity), names)


def _facility(name: str, rng: np.random.Generator, sites: int, clients: int) -> MixedIntegerProgram:
    """Open sites and serve clients from open ones: opening is binary, the shares served are continuous."""
    site, client = rng.random((sites, 2)), rng.random((clients, 2))
    demand = rng.integers(5, 36, size=clients).astype(float)
    distance = np.hypot(*(site[:, None, :] - client[None, :, :]).transpose(2, 0, 1))
    capacity = np.ceil(rng.uniform(2.0, 4.0, sites) * demand.sum() / sites)
    capacity[0] += max(0.0, np.ceil(demand.sum() - capacity.sum()))
    opening = np.round(rng.uniform(0.5, 1.5, sites) * np.sqrt(capacity) * 2.0, 1)
    share = sites + np.arange(sites * clients).reshape(sites, clients)
    entries = [(j, share[i, j], 1.0) for j in range(clients) for i in range(sites)]
    entries += [(clients + i, share[i, j], float(demand[j])) for i in range(sites) for j in range(clients)]
    entries += [(clients + i, i, -float(capacity[i])) for i in range(sites)]
    first = clients + sites
    entries += [(first + i * clients + j, share[i, j], 1.0) for i in range(sites) for j in range(clients)]
    entries += [(first + i * clients + j, i, -1.0) for i in range(sites) for j in range(clients)]
    num_rows, num_columns = first + sites * clients, sites + sites * clients
    served = np.arange(num_rows) < clients
    open_names = [f"open[{i}]" for i in range(sites)]
    pairs = [f"[{i},{j}]" for i in range(sites) for j in range(clients)]
    row_names = [f"served[{j}]" for j in range(clients)] + [f"capacity[{i}]" for i in range(sites)]
    return MixedIntegerProgram(
        name=name,
        sense=Sense.MINIMISE,
        cost=np.concatenate((opening, np.round(distance * demand, 2).ravel())),
        matrix=_columns(entries, num_columns),
        row_lower=np.where(served, 1.0, -np.inf),
        row_upper=np.where(served, 1.0, 0.0),
        lower=np.zeros(num_columns),
        upper=np.ones(num_columns),
        integer=np.arange(num_columns) < sites,
        column_names=tuple(open_names + [f"serve{pair}" for pair in pairs]),
        row_names=tuple(row_names + [f"only_open{pair}" for pair in pairs]),
    )


def _assignment(name: str, rng: np.random.Generator, workers: int, jobs: int) -> MixedIntegerProgram:
    """Give every job to one worker within the workers' hours (the generalised assignment problem)."""
    hours = rng.integers(5, 25, size=(workers, jobs)).astype(float)
    cost = np.round(30.0 - hours + rng.uniform(-5, 5, (workers, jobs)), 1)
    limit = np.ceil(0.8 * hours.sum(axis=1) / workers)
    holder = rng.integers(workers, size=jobs)
    needed = np.bincount(holder, hours[holder, np.arange(jobs)], workers)
    limit = np.maximum(limit, needed)
    matrix = np.zeros((jobs + workers, workers * jobs))
    column = np.arange(workers * jobs).reshape(workers, jobs)
    matrix[np.tile(np.arange(jobs), workers), column.ravel()] = 1.0
    matrix[jobs + np.repeat(np.arange(workers), jobs), column.ravel()] = hours.ravel()
    lower = np.concatenate((np.ones(jobs), np.full(workers, -np.inf)))
    upper = np.concatenate((np.ones(jobs), limit))
    columns = tuple(f"assign[{i},{j}]" for i in range(workers) for j in range(jobs))
    rows = tuple([f"done[{j}]" for j in range(jobs)] + [f"hours[{i}]" for i in range(workers)])
    return _binary(name, Sense.MINIMISE, cost.ravel(), matrix, (lower, upper), (columns, rows))


def _binary(
    name: str,
    sense: Sense,
    cost: Floats,
    matrix: Floats,
    bounds: tuple[Floats | float, Floats | float],
    names: tuple[tuple[str, ...], tuple[str, ...]],
) -> MixedIntegerProgram:
    """A program in binary variables from a dense matrix."""
    num_rows, num_columns = matrix.shape
    column, row = np.nonzero(matrix.T)
    return MixedIntegerProgram(
        name=name,
        sense=sense,
        cost=cost,
        matrix=SparseColumns(_starts(column, num_columns), row.astype(np.int32), matrix[row, column]),
        row_lower=np.broadcast_to(bounds[0], num_rows),
        row_upper=np.broadcast_to(bounds[1], num_rows),
        lower=np.zeros(num_columns),
        upper=np.ones(num_columns),
        integer=np.ones(num_columns, np.bool_),
        column_names=names[0],
        row_names=names[1],
    )


def _columns(entries: list[tuple[int, int, float]], num_columns: int) -> SparseColumns:
    """A matrix by columns from (row, column, value)."""
    row, column = np.array([e[0] for e in entries]), np.array([e[1] for e in entries])
    order = np.lexsort((row, column))
    values = np.array([e[2] for e in entries])[order]
    return SparseColumns(_starts(column, num_columns), row[order].astype(np.int32), values)


def _starts(
    column: np.ndarray[tuple[int], np.dtype[np.int64]], num_columns: int
) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    counts = np.bincount(column, minlength=num_columns)
    return np.concatenate(([0], np.cumsum(counts))).astype(np.int32)


_Maker = Callable[..., MixedIntegerProgram]
KINDS: dict[str, tuple[_Maker, dict[str, int]]] = {
    "set-cover": (_set_cover, {"elements": 60, "sets": 120}),
    "knapsack": (_knapsack, {"items": 30, "resources": 5}),
    "facility": (_facility, {"sites": 8, "clients": 20}),
    "assignment": (_assignment, {"workers": 5, "jobs": 20}),
}
"""Kind -> its maker and the names and defaults of its sizes."""
