"""Seeded programs of the four families on which learned branching is measured, at its "easy" sizes by default.

They follow the distributions of Gasse, Chételat, Ferroni, Charlin and Lodi (2019): set cover after Balas and Ho (1980),
combinatorial auctions after the arbitrary scheme of Leyton-Brown, Pearson and Shoham (2000, section 4.3), capacitated
facility location after Cornuejols, Sridharan and Thizy (1991), independent set after Bergman, Cire, van Hoeve and
Hooker (2016). Same distributions, other random numbers: no instance equals a published one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from apportion.instances.core import Sense
from apportion.instances.errors import OptionError
from apportion.instances.generate.benchmark_programs import Rows
from apportion.instances.program import MixedIntegerProgram

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]
_Booleans = NDArray[np.bool_]

_HIGHEST = 100.0
_DEVIATION = 0.5
_ADDITIVITY = 0.2
_BUDGET = 1.5
_RESALE = 0.5


def set_cover(seed: int = 0, rows: int = 500, columns: int = 1000, density: float = 0.05) -> MixedIntegerProgram:
    """``rows * columns * density`` entries; every column covers at least two rows, every row has a column."""
    random = np.random.default_rng(seed)
    entries = int(rows * columns * density)
    if entries < max(rows, 2 * columns):
        raise OptionError(f"density {density:g} is too small for {rows} x {columns}\nMaybe {2 / rows:g} or more")
    sizes = np.full(columns, 2)
    while sizes.sum() < entries:
        open_columns = np.flatnonzero(sizes < rows)
        drawn = random.choice(open_columns, entries - int(sizes.sum()))
        sizes = np.minimum(sizes + np.bincount(drawn, minlength=columns), rows)
    covers = np.zeros((rows, columns), np.bool_)
    uncovered = random.permutation(rows).tolist()
    for column in range(columns):
        first = [uncovered.pop() for _ in range(min(int(sizes[column]), len(uncovered)))]
        others = np.setdiff1d(np.arange(rows), first)
        covers[first, column] = True
        covers[random.choice(others, int(sizes[column]) - len(first), replace=False), column] = True
    row, column_of = np.nonzero(covers)
    block = Rows()
    block.add(row, column_of, 1.0, np.ones(rows), np.inf)
    cost = random.integers(1, 101, columns).astype(np.float64)
    return block.program(f"easy-set-cover-{rows}x{columns}-s{seed}", cost)


def auction(seed: int = 0, items: int = 100, bids: int = 500, most_substitutes: int = 5) -> MixedIntegerProgram:
    """Bidders name a bundle and substitutes for it, of which they want one; each item is sold once."""
    random = np.random.default_rng(seed)
    values = 1.0 + (_HIGHEST - 1.0) * random.random(items)
    fit = np.triu(random.random((items, items)), 1)
    fit = fit + fit.T
    fit /= fit.sum(axis=1)
    bundles: list[_Ints] = []
    prices: list[float] = []
    groups: list[int] = []
    while len(bundles) < bids:
        offers = _bidder(random, values, fit, min(most_substitutes + 1, bids - len(bundles)))
        group = len(bundles) if len(offers) > 2 else -1
        for bundle, price in offers:
            bundles.append(bundle)
            prices.append(price)
            groups.append(group)
    return _auction_program(f"easy-auction-{items}x{bids}-s{seed}", bundles, np.array(prices), np.array(groups))


def _bidder(random: np.random.Generator, values: _Floats, fit: _Floats, most: int) -> list[tuple[_Ints, float]]:
    """The bundles of one bidder and their prices, the bundle that it wants most first."""
    interests = random.random(len(values))
    private = values + _HIGHEST * _DEVIATION * (2.0 * interests - 1.0)
    first = int(random.choice(len(values), p=interests / interests.sum()))
    size = min(int(random.geometric(0.1)), len(values))
    bundle = _bundle(random, first, size, interests, fit)
    price = _price(bundle, private)
    if price < 0.0:
        return []
    offers = [(bundle, price)]
    substitutes = [_bundle(random, int(item), size, interests, fit) for item in bundle]
    priced = sorted(((_price(other, private), other) for other in substitutes), key=lambda pair: -pair[0])
    for cost, other in priced:
        known = any(np.array_equal(other, taken) for taken, _ in offers)
        fair = 0.0 <= cost <= _BUDGET * price and values[other].sum() >= _RESALE * values[bundle].sum()
        if fair and not known and len(offers) < most:
            offers.append((other, cost))
    return offers


def _bundle(random: np.random.Generator, first: int, size: int, interests: _Floats, fit: _Floats) -> _Ints:
    """``size`` items with ``first``, each drawn by interest and fit.

    The published generator picks rows of ``fit`` by a mask of zeros and ones, and so compares with the items 0 and 1
    in place of the bundle. That makes bidders want the same items; it is kept, since it makes the instances what they
    are (with the fit of the bundle itself SCIP needs twenty times as many nodes).
    """
    inside = np.zeros(len(interests), np.bool_)
    inside[first] = True
    while inside.sum() < size:
        share = inside.mean()
        weight = ~inside * interests * (share * fit[1] + (1.0 - share) * fit[0])
        inside[int(random.choice(len(interests), p=weight / weight.sum()))] = True
    return np.flatnonzero(inside).astype(np.int64)


def _price(bundle: _Ints, private: _Floats) -> float:
    return float(private[bundle].sum() + len(bundle) ** (1.0 + _ADDITIVITY))


def _auction_program(name: str, bundles: list[_Ints], prices: _Floats, groups: _Ints) -> MixedIntegerProgram:
    """Each item once; of the bids of a group one."""
    lengths = [len(bundle) for bundle in bundles]
    column = np.repeat(np.arange(len(bundles)), lengths)
    grouped = np.flatnonzero(groups >= 0)
    group = np.unique(groups[grouped], return_inverse=True)[1]
    items, row = np.unique(np.concatenate(bundles), return_inverse=True)
    block = Rows()
    block.add(
        np.concatenate((row, len(items) + group)),
        np.concatenate((column, grouped)),
        1.0,
        np.full(len(items) + (int(group.max()) + 1 if len(group) else 0), -np.inf),
        1.0,
    )
    return block.program(name, prices, sense=Sense.MAXIMISE)


def facility(seed: int = 0, customers: int = 100, facilities: int = 100, ratio: float = 5.0) -> MixedIntegerProgram:
    """Open facilities for shares of the demand; the total capacity and the links tighten the relaxation."""
    random = np.random.default_rng(seed)
    where, place = random.random((customers, 2)), random.random((facilities, 2))
    demand = random.integers(5, 36, customers).astype(np.float64)
    capacity = random.integers(10, 161, facilities).astype(np.float64)
    fixed = random.integers(100, 111, facilities) * np.sqrt(capacity) + random.integers(0, 91, facilities)
    capacity = np.floor(capacity * ratio * demand.sum() / capacity.sum())
    distance = np.sqrt(((where[:, None] - place[None]) ** 2).sum(axis=2))
    share = facilities + np.arange(customers * facilities)
    customer, facility_of = np.divmod(np.arange(customers * facilities), facilities)
    opened, links = np.arange(facilities), np.arange(customers * facilities)
    block = Rows()
    block.add(customer, share, 1.0, np.ones(customers), np.inf)
    block.add(
        np.concatenate((facility_of, opened)),
        np.concatenate((share, opened)),
        np.concatenate((demand[customer], -capacity)),
        np.full(facilities, -np.inf),
        0.0,
    )
    block.add(np.zeros(facilities, np.int64), opened, capacity, np.array([demand.sum()]), np.inf)
    block.add(
        np.concatenate((links, links)),
        np.concatenate((share, facility_of)),
        np.concatenate((np.ones(len(links)), -np.ones(len(links)))),
        np.full(len(links), -np.inf),
        0.0,
    )
    cost = np.concatenate((np.floor(fixed), (10.0 * demand[:, None] * distance).ravel()))
    integer = np.concatenate((np.ones(facilities, np.bool_), np.zeros(len(links), np.bool_)))
    return block.program(f"easy-facility-{customers}x{facilities}-s{seed}", cost, integer=integer)


def independent_set(seed: int = 0, nodes: int = 500, affinity: int = 4) -> MixedIntegerProgram:
    """The most nodes of a Barabási-Albert graph; a row per clique of a greedy partition, and per edge outside them."""
    random = np.random.default_rng(seed)
    joined = _preferential(random, nodes, affinity)
    cliques = _greedy_cliques(joined)
    covered = np.zeros_like(joined)
    for clique in cliques:
        covered[np.ix_(clique, clique)] = True
    edges = np.argwhere(np.triu(joined & ~covered, 1))
    groups = [clique for clique in cliques if len(clique) > 1] + list(edges)
    block = Rows()
    row = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    block.add(row, np.concatenate(groups), 1.0, np.full(len(groups), -np.inf), 1.0)
    return block.program(f"easy-independent-set-{nodes}-s{seed}", np.ones(nodes), sense=Sense.MAXIMISE)


def _preferential(random: np.random.Generator, nodes: int, affinity: int) -> _Booleans:
    """The adjacency of a graph whose nodes come one by one and join ``affinity`` others, by their degree."""
    joined = np.zeros((nodes, nodes), np.bool_)
    degree = np.zeros(nodes)
    for node in range(affinity, nodes):
        if node == affinity:
            others = np.arange(affinity)
        else:
            others = random.choice(node, affinity, replace=False, p=degree[:node] / degree[:node].sum())
        joined[node, others] = joined[others, node] = True
        degree[others] += 1
        degree[node] = affinity
    return joined


def _greedy_cliques(joined: _Booleans) -> list[_Ints]:
    """Cliques that partition the nodes: the node of highest degree first, with all that still fit, by degree."""
    degree = joined.sum(axis=1)
    left = np.argsort(-degree, kind="stable").tolist()
    cliques = []
    while left:
        clique = [left.pop(0)]
        candidates = [node for node in left if joined[node, clique[0]]]
        while candidates:
            clique.append(candidates[0])
            candidates = [node for node in candidates[1:] if joined[node, clique[-1]]]
        inside = set(clique)
        left = [node for node in left if node not in inside]
        cliques.append(np.array(clique, np.int64))
    return cliques


FAMILIES: dict[str, Callable[..., MixedIntegerProgram]] = {
    "set-cover": set_cover,
    "auction": auction,
    "independent-set": independent_set,
    "facility": facility,
}
"""Family -> its generator, called with ``seed`` and sizes by keyword."""


def branching_program(family: str, seed: int = 0, **sizes: float) -> MixedIntegerProgram:
    """Generate a program of ``family``; the same family, seed and sizes give the same program."""
    if family not in FAMILIES:
        raise OptionError(f"no family of programs is called {family!r}\nMaybe one of {', '.join(FAMILIES)}")
    return FAMILIES[family](seed=seed, **sizes)
