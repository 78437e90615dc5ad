"""What is known of the tasks to come: which are typical, and what room on a GPU is worth to them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

import highspy
import numpy as np
from numpy.typing import NDArray

from apportion.instances.cluster import MILLI_PER_GPU, Tasks
from apportion.instances.errors import OptionError
from apportion.solvers.backends.simplex import must, quiet_lp
from apportion.solvers.online.kernels import fill_gpu

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

POPULARITY = 0.95
"""The typical tasks of FGD are the most popular ones that make up this part of all."""
_NUM_PRICES = 15
_PROFIT = 1e-9


class _Spec(NamedTuple):
    cpu_milli: int
    num_gpus: int
    gpu_milli: int
    allowed_types: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class TypicalTasks:
    """The most popular tasks, told apart by CPU, GPUs and GPU types, as FGD takes them.

    Arrays have one entry per typical task; ``accepts`` is (typical, kinds); ``popularity`` adds up to 1.
    """

    kinds: tuple[str, ...]
    cpu_milli: Ints
    num_gpus: Ints
    gpu_milli: Ints
    accepts: Booleans
    popularity: Floats

    @classmethod
    def of(cls, tasks: Tasks, kinds: tuple[str, ...], part: float = POPULARITY) -> TypicalTasks:
        """Count ``tasks`` and keep the most popular ones until they make up ``part`` of all."""
        if not 0 < part <= 1:
            raise OptionError(f"part must lie in 0..1, got {part!r}")
        columns = (tasks.cpu_milli.tolist(), tasks.num_gpus.tolist(), tasks.gpu_milli.tolist())
        count = Counter(map(_Spec, *columns, tasks.allowed_types))
        ranked = sorted(count.items(), key=lambda entry: (-entry[1], entry[0]))
        running = np.cumsum([number for _, number in ranked], dtype=np.float64)
        kept = ranked[: int(np.searchsorted(running, part * len(tasks))) + 1]
        specs = [spec for spec, _ in kept]
        popularity = np.array([number for _, number in kept], np.float64)
        return cls(
            kinds,
            np.array([spec.cpu_milli for spec in specs], np.int64),
            np.array([spec.num_gpus for spec in specs], np.int64),
            np.array([spec.gpu_milli for spec in specs], np.int64),
            np.array([accepted(spec.allowed_types, kinds) for spec in specs], bool).reshape(len(specs), len(kinds)),
            popularity / max(1.0, popularity.sum()),
        )


def accepted(allowed: tuple[str, ...], kinds: tuple[str, ...]) -> Booleans:
    """Which GPU types a task accepts; an empty list accepts all."""
    return np.array([not allowed or kind in allowed for kind in kinds], bool)


@dataclass(frozen=True, eq=False)
class SharePrices:
    """Prices of GPU shares: dual values of the least GPUs that hold the shares of a workload in their proportions.

    ``size`` (sizes,) are the shares in milli, rising, the last a whole GPU; ``count`` how many tasks ask for each;
    ``price`` what each is worth, in GPUs, so that no filling of one GPU is worth more than 1; ``cpu_milli`` the mean
    CPU per GPU of those tasks; ``least_gpus`` the GPUs that the shares need at least.

    Examples
    --------
    Shares of 700 cannot share a GPU with one another but leave room for 300:

    >>> tasks = Tasks.build("abc", *np.array([[1000] * 3, [0] * 3, [1] * 3, [700, 700, 300]]))
    >>> prices = SharePrices.of(tasks)
    >>> prices.size.tolist(), prices.price.tolist(), prices.least_gpus
    ([300, 700, 1000], [0.0, 1.0, 1.0], 2.0)
    """

    size: Ints
    count: Ints
    price: Floats
    cpu_milli: Floats
    least_gpus: float

    @classmethod
    def of(cls, tasks: Tasks) -> SharePrices:
        """Solve the linear program over fillings of one GPU (Gilmore and Gomory 1961) by column generation."""
        share = (tasks.num_gpus == 1) & (tasks.gpu_milli < MILLI_PER_GPU)
        size, count = np.unique(tasks.gpu_milli[share], return_counts=True)
        price, least = _cutting_prices(size, count.astype(np.float64))
        whole = (tasks.num_gpus > 0) & (tasks.gpu_milli == MILLI_PER_GPU)
        cpu = [float(tasks.cpu_milli[share & (tasks.gpu_milli == s)].mean()) for s in size]
        cpu.append(float(tasks.cpu_milli[whole].sum()) / max(1, int(tasks.num_gpus[whole].sum())))
        return cls(
            np.append(size, MILLI_PER_GPU).astype(np.int64),
            np.append(count, int(tasks.num_gpus[whole].sum())).astype(np.int64),
            np.append(price, 1.0),
            np.array(cpu),
            least,
        )


def _cutting_prices(size: Ints, count: Floats) -> tuple[Floats, float]:
    """Dual prices of the sizes and the value of the program; one row per size, one column per filling."""
    lp = quiet_lp()
    for number in count:
        must(lp.addRow(float(number), inf, 0, np.zeros(0, np.int32), np.zeros(0)))
    for i, s in enumerate(size):
        must(lp.addCol(1.0, 0.0, inf, 1, np.array([i], np.int32), np.array([float(MILLI_PER_GPU // s)])))
    best = np.zeros(MILLI_PER_GPU + 1)
    price, value = np.zeros(len(size)), 0.0
    while len(size):
        must(lp.run())
        if lp.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            break
        price = np.maximum(np.array(lp.getSolution().row_dual), 0.0)
        value = float(lp.getInfo().objective_function_value)
        fill_gpu(price, size, best)
        if best[-1] <= 1.0 + _PROFIT:
            break
        items, times = np.unique(filling(price, size, best), return_counts=True)
        must(lp.addCol(1.0, 0.0, inf, len(items), items.astype(np.int32), times.astype(np.float64)))
    return price, value


def filling(price: Floats, size: Ints, best: Floats) -> list[int]:
    """The sizes, by position, of a filling of one GPU that earns ``best[-1]``."""
    items: list[int] = []
    room = len(best) - 1
    while room > 0:
        for i, s in enumerate(size):
            if price[i] > 0 and s <= room and best[room - s] + price[i] >= best[room] - 1e-12:
                items.append(i)
                room -= int(s)
                break
        else:
            room -= 1
    return items


@dataclass(frozen=True, eq=False)
class Worth:
    """What room is worth: ``cpu_price`` (prices,) in GPU milli per CPU milli, ``room`` (prices, 1001) in GPU milli.

    At each price of CPU a GPU earns the most that the shares fill it with, each at its price less that of its CPU. The
    least over the prices of ``cpu_price * cpu + sum of room[., free]`` bounds what a node can earn: it is the
    Lagrangian relaxation of its CPU.
    """

    cpu_price: Floats
    room: Floats

    @classmethod
    def of(cls, prices: SharePrices) -> Worth:
        """Tabulate the worth of room at prices of CPU from none to where no task pays for its CPU."""
        earning = prices.price > 0
        density = prices.price[earning] / np.maximum(prices.cpu_milli[earning], 1.0)
        cpu_price = np.append(0.0, np.geomspace(0.5 * density.min(), density.max(), _NUM_PRICES))
        room = np.zeros((len(cpu_price), MILLI_PER_GPU + 1))
        for row, at in zip(room, cpu_price, strict=True):
            fill_gpu(prices.price - at * prices.cpu_milli, prices.size, row)
        return cls(cpu_price * MILLI_PER_GPU, room * MILLI_PER_GPU)
