"""Seeded mixed-integer programs of the families that heuristics and branching rules are measured on.

Set cover, auctions, facility location and independent set follow Gasse, Chételat, Ferroni, Charlin and Lodi (2019);
generalised assignment type D and multi-dimensional knapsack follow Chu and Beasley (1997, 1998).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from apportion.instances.core import Sense
from apportion.instances.errors import OptionError
from apportion.instances.program import MixedIntegerProgram, SparseColumns

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]


class Rows:
    """Rows collected as blocks of triples, then sorted into columns once."""

    def __init__(self) -> None:
        self._triples: list[tuple[_Ints, _Ints, _Floats]] = []
        self._lower: list[_Floats] = []
        self._upper: list[_Floats] = []
        self.count = 0

    def add(self, rows: ArrayLike, columns: ArrayLike, values: ArrayLike, lower: ArrayLike, upper: ArrayLike) -> None:
        """Add a block: ``rows`` count from 0 within it; ``lower`` and ``upper`` have one entry per row."""
        low = np.asarray(lower, np.float64)
        row, column, value = np.broadcast_arrays(np.asarray(rows), np.asarray(columns), np.asarray(values, np.float64))
        self._triples.append((row.ravel() + self.count, column.ravel(), value.ravel()))
        self._lower.append(low)
        self._upper.append(np.broadcast_to(np.asarray(upper, np.float64), low.shape))
        self.count += len(low)

    def program(
        self,
        name: str,
        cost: _Floats,
        upper: ArrayLike = 1.0,
        integer: ArrayLike = True,
        sense: Sense = Sense.MINIMISE,
    ) -> MixedIntegerProgram:
        """Compile; columns start at 0."""
        size = len(cost)
        rows, columns, values = (np.concatenate(parts) for parts in zip(*self._triples, strict=True))
        order = np.lexsort((rows, columns))
        starts = np.concatenate(([0], np.cumsum(np.bincount(columns, minlength=size))))
        matrix = SparseColumns(starts.astype(np.int32), rows[order].astype(np.int32), values[order].copy())
        return MixedIntegerProgram(
            name=name,
            sense=sense,
            cost=cost,
            matrix=matrix,
            row_lower=np.concatenate(self._lower),
            row_upper=np.concatenate(self._upper),
            lower=np.zeros(size),
            upper=np.array(np.broadcast_to(np.asarray(upper, np.float64), (size,))),
            integer=np.array(np.broadcast_to(np.asarray(integer, np.bool_), (size,))),
        )


def set_cover(seed: int = 0, rows: int = 500, columns: int = 1000, density: float = 0.05) -> MixedIntegerProgram:
    """Cover every row at least once; every column covers a row, every row has at least two columns."""
    random = np.random.default_rng(seed)
    covers = random.random((rows, columns)) < density
    covers[np.arange(columns) % rows, np.arange(columns)] = True
    for short in np.flatnonzero(covers.sum(axis=1) < 2):
        covers[short, random.choice(columns, 2, replace=False)] = True
    block = Rows()
    row, column = np.nonzero(covers)
    block.add(row, column, 1.0, np.ones(rows), np.inf)
    cost = random.integers(1, 101, columns).astype(np.float64)
    return block.program(f"set-cover-{rows}x{columns}-s{seed}", cost)


def auction(seed: int = 0, items: int = 100, bids: int = 500, largest: int = 8) -> MixedIntegerProgram:
    """Accept bids on bundles of neighbouring items, each item sold once, for the most money."""
    random = np.random.default_rng(seed)
    worth = random.integers(1, 101, items).astype(np.float64)
    row, column, price = [], [], np.zeros(bids)
    for bid in range(bids):
        size = int(random.integers(1, largest + 1))
        near = (int(random.integers(items)) + random.permutation(3 * largest)[:size]) % items
        bundle = np.unique(near)
        private = worth[bundle] + random.uniform(-30, 30, len(bundle))
        price[bid] = np.round(max(1.0, private.sum()) + len(bundle) ** 1.2)
        row.append(bundle)
        column.append(np.full(len(bundle), bid))
    block = Rows()
    rows = np.concatenate(row)
    used, renumbered = np.unique(rows, return_inverse=True)
    block.add(renumbered, np.concatenate(column), 1.0, np.full(len(used), -np.inf), 1.0)
    return block.program(f"auction-{items}x{bids}-s{seed}", price, sense=Sense.MAXIMISE)


def capacitated_facility(
    seed: int = 0, customers: int = 100, facilities: int = 100, ratio: float = 5.0, single: bool = False
) -> MixedIntegerProgram:
    """Open facilities and serve all demand within their capacity; ``single`` serves each customer from one."""
    random = np.random.default_rng(seed)
    demand = random.integers(5, 36, customers).astype(np.float64)
    capacity = random.integers(10, 161, facilities).astype(np.float64)
    fixed = np.round(random.uniform(0, 90, facilities) + random.uniform(100, 110, facilities) * np.sqrt(capacity))
    capacity = np.ceil(capacity * ratio * demand.sum() / capacity.sum())
    where, place = random.random((customers, 2)), random.random((facilities, 2))
    distance = np.sqrt(((where[:, None] - place[None]) ** 2).sum(axis=2))
    cost = np.concatenate((fixed, (np.round(10 * demand[:, None] * distance, 2)).ravel()))
    return facility_program(f"facility-{customers}x{facilities}-s{seed}", capacity, demand, cost, single=single)


def facility_program(
    name: str, capacity: _Floats, demand: _Floats, cost: _Floats, *, single: bool
) -> MixedIntegerProgram:
    """Capacitated facility location: openings first, then the share of each customer (row) by facility (column).

    ``cost`` holds the fixed costs, then the cost of serving the whole demand, customer by customer.
    """
    facilities, customers = len(capacity), len(demand)
    share = facilities + np.arange(customers * facilities).reshape(customers, facilities)
    customer = np.repeat(np.arange(customers), facilities)
    facility = np.tile(np.arange(facilities), customers)
    block = Rows()
    block.add(customer, share.ravel(), 1.0, np.ones(customers), np.ones(customers))
    block.add(
        np.concatenate((facility, np.arange(facilities))),
        np.concatenate((share.ravel(), np.arange(facilities))),
        np.concatenate((demand[customer], -capacity)),
        np.full(facilities, -np.inf),
        0.0,
    )
    links = np.arange(customers * facilities)
    block.add(
        np.concatenate((links, links)),
        np.concatenate((share.ravel(), facility)),
        np.concatenate((np.ones(len(links)), -np.ones(len(links)))),
        np.full(len(links), -np.inf),
        0.0,
    )
    integer = np.concatenate((np.ones(facilities, np.bool_), np.full(customers * facilities, single)))
    return block.program(name, cost, integer=integer)


def generalised_assignment(seed: int = 0, agents: int = 20, jobs: int = 200) -> MixedIntegerProgram:
    """Type D: every job on one agent, tight capacities, cost and use inversely correlated."""
    random = np.random.default_rng(seed)
    use = random.integers(1, 101, (agents, jobs)).astype(np.float64)
    cost = 111.0 - use + random.integers(-10, 11, (agents, jobs))
    capacity = np.ceil(0.8 * use.sum(axis=1) / agents)
    return assignment_program(f"assignment-{agents}x{jobs}-s{seed}", cost, use, capacity)


def assignment_program(name: str, cost: _Floats, use: _Floats, capacity: _Floats) -> MixedIntegerProgram:
    """Generalised assignment; ``cost`` and ``use`` have shape (agents, jobs)."""
    agents, jobs = cost.shape
    columns = np.arange(agents * jobs)
    block = Rows()
    block.add(columns % jobs, columns, 1.0, np.ones(jobs), np.ones(jobs))
    block.add(columns // jobs, columns, use.ravel(), np.full(agents, -np.inf), capacity)
    return block.program(name, cost.ravel())


def independent_set(seed: int = 0, nodes: int = 500, affinity: int = 4) -> MixedIntegerProgram:
    """The most nodes of a Barabási-Albert graph without an edge between them, by edges and a greedy set of cliques."""
    random = np.random.default_rng(seed)
    ends: list[int] = list(range(affinity))
    edges = []
    for node in range(affinity, nodes):
        chosen: list[int] = []
        while len(chosen) < affinity:
            other = ends[int(random.integers(len(ends)))]
            if other not in chosen:
                chosen.append(other)
        edges += [(node, other) for other in chosen]
        ends += chosen + [node] * affinity
    pairs = np.array(edges)
    block = Rows()
    row = np.repeat(np.arange(len(pairs)), 2)
    block.add(row, pairs.ravel(), 1.0, np.full(len(pairs), -np.inf), 1.0)
    return block.program(f"independent-set-{nodes}-s{seed}", np.ones(nodes), sense=Sense.MAXIMISE)


def multi_knapsack(seed: int = 0, rows: int = 10, columns: int = 250, tightness: float = 0.5) -> MixedIntegerProgram:
    """Chu and Beasley's: correlated profits, capacities at ``tightness`` of the total use."""
    random = np.random.default_rng(seed)
    use = random.integers(1, 1001, (rows, columns)).astype(np.float64)
    profit = np.round(use.mean(axis=0) + 500 * random.random(columns))
    return knapsack_program(f"multi-knapsack-{rows}x{columns}-s{seed}", profit, use, np.floor(tightness * use.sum(1)))


def knapsack_program(name: str, profit: _Floats, use: _Floats, capacity: _Floats) -> MixedIntegerProgram:
    """Multi-dimensional knapsack; ``use`` has shape (rows, columns)."""
    rows, columns = use.shape
    row, column = np.divmod(np.arange(rows * columns), columns)
    kept = use.ravel() != 0.0
    block = Rows()
    block.add(row[kept], column[kept], use.ravel()[kept], np.full(rows, -np.inf), capacity)
    return block.program(name, profit, sense=Sense.MAXIMISE)


def lot_sizing(seed: int = 0, products: int = 20, periods: int = 30) -> MixedIntegerProgram:
    """Several products share a machine with set-up times: produce, store, set up.

    The first three periods ask for little, so that early stock can be built.
    """
    random = np.random.default_rng(seed)
    demand = random.integers(0, 61, (products, periods)).astype(np.float64)
    demand[:, :3] = np.floor(demand[:, :3] / 4)
    setup_time = random.integers(2, 9, products).astype(np.float64)
    capacity = np.ceil(1.15 * (demand.sum(axis=0).mean() + 0.6 * setup_time.sum()))
    size = products * periods
    make = np.arange(size).reshape(products, periods)
    store, setup = make + size, make + 2 * size
    product, period = np.divmod(np.arange(size), periods)
    later = period > 0
    block = Rows()
    block.add(
        np.concatenate((np.arange(size), np.arange(size), np.arange(size)[later])),
        np.concatenate((make.ravel(), store.ravel(), store.ravel()[np.flatnonzero(later) - 1])),
        np.concatenate((np.ones(size), -np.ones(size), np.ones(int(later.sum())))),
        demand.ravel(),
        demand.ravel(),
    )
    block.add(
        np.concatenate((period, period)),
        np.concatenate((make.ravel(), setup.ravel())),
        np.concatenate((np.ones(size), setup_time[product])),
        np.full(periods, -np.inf),
        capacity,
    )
    left = np.cumsum(demand[:, ::-1], axis=1)[:, ::-1].ravel()
    most = np.minimum(left, capacity)
    block.add(
        np.concatenate((np.arange(size), np.arange(size))),
        np.concatenate((make.ravel(), setup.ravel())),
        np.concatenate((np.ones(size), -most)),
        np.full(size, -np.inf),
        0.0,
    )
    holding = random.integers(1, 6, products).astype(np.float64)[product]
    fixed = random.integers(50, 301, products).astype(np.float64)[product]
    cost = np.concatenate((np.zeros(size), holding, fixed))
    upper = np.concatenate((np.full(2 * size, np.inf), np.ones(size)))
    integer = np.concatenate((np.zeros(2 * size, np.bool_), np.ones(size, np.bool_)))
    return block.program(f"lot-sizing-{products}x{periods}-s{seed}", cost, upper, integer)


def bin_packing(seed: int = 0, items: int = 60, capacity: int = 100) -> MixedIntegerProgram:
    """The fewest bins for items of 20 to 70 % of a bin; as many bins as first fit needs, and two."""
    random = np.random.default_rng(seed)
    size = np.sort(random.integers(capacity // 5, (7 * capacity) // 10 + 1, items))[::-1].astype(np.float64)
    return packing_program(f"bin-packing-{items}-s{seed}", size, float(capacity))


def packing_program(name: str, size: _Floats, capacity: float) -> MixedIntegerProgram:
    """Bin packing by assignment, with as many bins as first fit decreasing needs, and two."""
    room: list[float] = []
    for weight in np.sort(size)[::-1]:
        fits = next((bin_ for bin_, left in enumerate(room) if left >= weight), None)
        if fits is None:
            room.append(capacity - weight)
        else:
            room[fits] -= weight
    bins, items = len(room) + 2, len(size)
    inside = bins + np.arange(items * bins)
    item, bin_ = np.divmod(np.arange(items * bins), bins)
    block = Rows()
    block.add(item, inside, 1.0, np.ones(items), np.ones(items))
    block.add(
        np.concatenate((bin_, np.arange(bins))),
        np.concatenate((inside, np.arange(bins))),
        np.concatenate((size[item], np.full(bins, -capacity))),
        np.full(bins, -np.inf),
        0.0,
    )
    cost = np.concatenate((np.ones(bins), np.zeros(items * bins)))
    return block.program(name, cost)


def fixed_charge_network(seed: int = 0, nodes: int = 30, arcs: int = 200, commodities: int = 20) -> MixedIntegerProgram:
    """Route commodities over arcs that cost a fixed charge once they are open; a ring keeps all of it reachable."""
    random = np.random.default_rng(seed)
    ring = np.column_stack((np.arange(nodes), (np.arange(nodes) + 1) % nodes))
    tail = random.integers(0, nodes, max(0, arcs - nodes))
    head = (tail + random.integers(1, nodes, len(tail))) % nodes
    arc = np.concatenate((ring, np.column_stack((tail, head))))
    source = random.integers(0, nodes, commodities)
    target = (source + random.integers(1, nodes, commodities)) % nodes
    amount = random.integers(5, 31, commodities).astype(np.float64)
    capacity = random.integers(40, 121, len(arc)).astype(np.float64)
    capacity[:nodes] = amount.sum()
    unit = random.integers(1, 11, len(arc)).astype(np.float64)
    unit[:nodes] += 10
    fixed = random.integers(50, 301, len(arc)).astype(np.float64)
    return network_program(
        f"network-{nodes}x{len(arc)}x{commodities}-s{seed}", nodes, arc, unit, capacity, fixed, source, target, amount
    )


def network_program(
    name: str,
    nodes: int,
    arc: NDArray[np.int64],
    unit: _Floats,
    capacity: _Floats,
    fixed: _Floats,
    source: NDArray[np.int64],
    target: NDArray[np.int64],
    amount: _Floats,
) -> MixedIntegerProgram:
    """Multi-commodity fixed-charge network design with strong links; ``arc`` has shape (arcs, 2), tails and heads."""
    arcs, commodities = len(arc), len(amount)
    count = arcs * commodities
    commodity, edge = np.divmod(np.arange(count), arcs)
    flow = arcs + np.arange(count)
    balance = np.zeros((commodities, nodes))
    balance[np.arange(commodities), source] += amount
    balance[np.arange(commodities), target] -= amount
    block = Rows()
    block.add(
        np.concatenate((commodity * nodes + arc[edge, 0], commodity * nodes + arc[edge, 1])),
        np.concatenate((flow, flow)),
        np.concatenate((np.ones(count), -np.ones(count))),
        balance.ravel(),
        balance.ravel(),
    )
    block.add(
        np.concatenate((edge, np.arange(arcs))),
        np.concatenate((flow, np.arange(arcs))),
        np.concatenate((np.ones(count), -capacity)),
        np.full(arcs, -np.inf),
        0.0,
    )
    block.add(
        np.concatenate((np.arange(count), np.arange(count))),
        np.concatenate((flow, edge)),
        np.concatenate((np.ones(count), -np.minimum(capacity[edge], amount[commodity]))),
        np.full(count, -np.inf),
        0.0,
    )
    cost = np.concatenate((fixed, np.tile(unit, commodities)))
    upper = np.concatenate((np.ones(arcs), np.full(count, np.inf)))
    integer = np.concatenate((np.ones(arcs, np.bool_), np.zeros(count, np.bool_)))
    return block.program(name, cost, upper, integer)


FAMILIES: dict[str, Callable[..., MixedIntegerProgram]] = {
    "set-cover": set_cover,
    "auction": auction,
    "facility": capacitated_facility,
    "assignment": generalised_assignment,
    "independent-set": independent_set,
    "multi-knapsack": multi_knapsack,
    "lot-sizing": lot_sizing,
    "bin-packing": bin_packing,
    "network": fixed_charge_network,
}
"""Family -> its generator, called with ``seed`` and sizes by keyword."""


def benchmark_program(family: str, seed: int = 0, **sizes: float) -> MixedIntegerProgram:
    """Generate a program of ``family``; the same family, seed and sizes give the same program."""
    if family not in FAMILIES:
        raise OptionError(f"no family of programs is called {family!r}\nMaybe one of {', '.join(FAMILIES)}")
    return FAMILIES[family](seed=seed, **sizes)
