"""OR-Library text files as programs: set cover, generalised assignment, facility location, knapsack, bin packing."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from apportion.instances.errors import Fault, InstanceError
from apportion.instances.files import read_text
from apportion.instances.generate.benchmark_programs import (
    Rows,
    assignment_program,
    facility_program,
    knapsack_program,
    network_program,
    packing_program,
)
from apportion.instances.program import MixedIntegerProgram

_MOST = 20_000_000


class _Numbers:
    """The numbers of a file in order; every shortage or misfit is an :class:`InstanceError` with its place."""

    def __init__(self, source: str, text: str, skip_lines: int = 0) -> None:
        self.source = source
        self._words: list[tuple[int, str]] = [
            (number, word)
            for number, line in enumerate(text.splitlines(), 1)
            if number > skip_lines
            for word in line.split()
        ]
        self._at = 0

    def fail(self, message: str, value: object = None, line: int | None = None) -> InstanceError:
        at = min(self._at, len(self._words) - 1)
        place = line if line is not None else (self._words[at][0] if self._words else 0)
        return InstanceError(self.source, [Fault(f"line {place}", message, value)])

    def take(self, count: int, what: str) -> NDArray[np.float64]:
        if count < 0 or count > _MOST:
            raise self.fail(f"asks for an impossible number of {what}", count)
        words = self._words[self._at : self._at + count]
        if len(words) < count:
            raise self.fail(f"the file ends within the {what}: {count} are due, {len(words)} are there")
        values = np.empty(count)
        for k, (line, word) in enumerate(words):
            try:
                value = float(word)
            except ValueError:
                raise self.fail(f"must be a number ({what})", word, line) from None
            if not math.isfinite(value):
                raise self.fail(f"must be a finite number ({what})", word, line)
            values[k] = value
        self._at += count
        return values

    def whole(self, what: str, least: int = 0, most: int = _MOST) -> int:
        value = float(self.take(1, what)[0])
        if value != int(value) or not least <= value <= most:
            self._at -= 1
            raise self.fail(f"{what} must be a whole number in {least}..{most}", value)
        return int(value)

    def not_negative(self, values: NDArray[np.float64], what: str) -> NDArray[np.float64]:
        if len(values) and values.min() < 0:
            raise self.fail(f"{what} must not be negative", float(values.min()))
        return values

    def end(self) -> None:
        if self._at < len(self._words):
            raise self.fail("more numbers than the header announces", self._words[self._at][1])


def read_set_cover(path: Path) -> MixedIntegerProgram:
    """Rows and columns, the costs, then per row how many columns cover it and which (from 1)."""
    numbers = _Numbers(str(path), read_text(path))
    rows, columns = numbers.whole("rows", 1), numbers.whole("columns", 1)
    cost = numbers.take(columns, "costs")
    row, column = [], []
    for i in range(rows):
        count = numbers.whole("columns of a row", 1, columns)
        listed = numbers.take(count, "columns of a row")
        if (
            listed.min() < 1
            or listed.max() > columns
            or len(np.unique(listed)) < count
            or (listed != np.rint(listed)).any()
        ):
            raise numbers.fail(f"row {i + 1} must name different columns in 1..{columns}")
        row.append(np.full(count, i))
        column.append(np.rint(listed).astype(np.int64) - 1)
    numbers.end()
    block = Rows()
    block.add(np.concatenate(row), np.concatenate(column), 1.0, np.ones(rows), np.inf)
    return block.program(_stem(path), cost)


def read_assignment(path: Path) -> MixedIntegerProgram:
    """Agents and jobs, the costs by agent, the uses by agent, the capacities; minimised."""
    numbers = _Numbers(str(path), read_text(path))
    agents, jobs = numbers.whole("agents", 1, 10_000), numbers.whole("jobs", 1, 100_000)
    cost = numbers.take(agents * jobs, "costs").reshape(agents, jobs)
    use = numbers.not_negative(numbers.take(agents * jobs, "uses"), "a use").reshape(agents, jobs)
    capacity = numbers.take(agents, "capacities")
    numbers.end()
    return assignment_program(_stem(path), cost, use, capacity)


def read_facility(path: Path, capacity: float | None = None) -> MixedIntegerProgram:
    """Facilities and customers, capacity and fixed cost each, then each customer's demand and costs.

    ``capacity`` replaces the word of that name in the files capa, capb and capc.
    """
    text = read_text(path)
    if capacity is not None:
        text = text.replace("capacity", f"{capacity:g}")
    numbers = _Numbers(str(path), text)
    facilities, customers = numbers.whole("facilities", 1, 10_000), numbers.whole("customers", 1, 100_000)
    pairs = numbers.not_negative(numbers.take(2 * facilities, "capacities and fixed costs"), "a capacity or fixed cost")
    blocks = numbers.take(customers * (1 + facilities), "demands and costs").reshape(customers, 1 + facilities)
    numbers.end()
    demand = numbers.not_negative(blocks[:, 0].copy(), "a demand")
    cost = np.concatenate((pairs[1::2], blocks[:, 1:].ravel()))
    return facility_program(_stem(path), pairs[0::2].copy(), demand, cost, single=False)


def read_single_source(path: Path) -> MixedIntegerProgram:
    """Holmberg's: facilities and customers, capacities, fixed costs, demands, then the costs by customer."""
    numbers = _Numbers(str(path), read_text(path))
    facilities, customers = numbers.whole("facilities", 1, 10_000), numbers.whole("customers", 1, 100_000)
    capacity = numbers.not_negative(numbers.take(facilities, "capacities"), "a capacity")
    fixed = numbers.take(facilities, "fixed costs")
    demand = numbers.not_negative(numbers.take(customers, "demands"), "a demand")
    cost = np.concatenate((fixed, numbers.take(customers * facilities, "costs")))
    numbers.end()
    return facility_program(_stem(path), capacity, demand, cost, single=True)


def read_multi_knapsack(path: Path, number: int = 0) -> MixedIntegerProgram:
    """Problem ``number`` (from 0) of a file: how many, then each with columns, rows, optimum, profits, uses, limits."""
    numbers = _Numbers(str(path), read_text(path))
    problems = numbers.whole("problems", 1, 10_000)
    if not 0 <= number < problems:
        raise numbers.fail(f"the file holds problems 0..{problems - 1}", number)
    found = [_one_multi_knapsack(numbers) for _ in range(number + 1)]
    return knapsack_program(f"{_stem(path)}-{number}", *found[-1])


def _one_multi_knapsack(numbers: _Numbers) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    columns, rows = numbers.whole("columns", 1, 1_000_000), numbers.whole("rows", 1, 10_000)
    numbers.take(1, "optimum")
    profit = numbers.take(columns, "profits")
    use = numbers.not_negative(numbers.take(rows * columns, "uses"), "a use").reshape(rows, columns)
    return profit, use, numbers.take(rows, "capacities")


def read_bin_packing(path: Path, number: int = 0) -> MixedIntegerProgram:
    """Problem ``number`` (from 0) of a file: how many, then each with a name, capacity, items, best known, sizes."""
    lines = [line.split() for line in read_text(path).splitlines()]
    numbers = _Numbers(
        str(path), "\n".join(" ".join(w for w in line if not w.startswith(("u", "t"))) for line in lines)
    )
    problems = numbers.whole("problems", 1, 10_000)
    if not 0 <= number < problems:
        raise numbers.fail(f"the file holds problems 0..{problems - 1}", number)
    size, capacity = [_one_bin_packing(numbers) for _ in range(number + 1)][-1]
    if float(size.max()) > capacity:
        raise numbers.fail("an item is larger than a bin", float(size.max()))
    return packing_program(f"{_stem(path)}-{number}", size, capacity)


def _one_bin_packing(numbers: _Numbers) -> tuple[NDArray[np.float64], float]:
    capacity = float(numbers.take(1, "capacity")[0])
    items = numbers.whole("items", 1, 100_000)
    numbers.take(1, "best known")
    return numbers.not_negative(numbers.take(items, "sizes"), "a size"), capacity


def read_network_design(path: Path) -> MixedIntegerProgram:
    """Canad: a title, nodes, arcs and commodities, the arcs (from to cost capacity fixed, two ignored), the demands."""
    numbers = _Numbers(str(path), read_text(path), skip_lines=1)
    nodes, arcs, commodities = (numbers.whole(what, 1, 100_000) for what in ("nodes", "arcs", "commodities"))
    table = numbers.take(7 * arcs, "arcs").reshape(arcs, 7)
    asked = numbers.take(3 * commodities, "demands").reshape(commodities, 3)
    ends = np.concatenate((table[:, :2].ravel(), asked[:, :2].ravel()))
    if ends.min() < 1 or ends.max() > nodes or (ends != np.rint(ends)).any():
        raise numbers.fail(f"every end of an arc and a demand must be a node in 1..{nodes}")
    arc = table[:, :2].astype(np.int64) - 1
    source, target = (asked[:, k].astype(np.int64) - 1 for k in (0, 1))
    unit, capacity, fixed = (table[:, k].copy() for k in (2, 3, 4))
    numbers.not_negative(np.concatenate((capacity, asked[:, 2])), "a capacity or demand")
    return network_program(
        _stem(path), nodes, arc, unit, capacity, fixed, source, target, np.ascontiguousarray(asked[:, 2])
    )


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").rsplit(".", 1)[0]
