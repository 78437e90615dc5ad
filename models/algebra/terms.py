"""The storage under every expression: for each element of an array, a run of (column, coefficient) pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from apportion.instances.program import Floats, Ints

Positions = NDArray[np.int64]
Reshaping = Callable[[NDArray[Any]], NDArray[Any]]


def run_starts(counts: Positions) -> Positions:
    """Where each run begins when runs of ``counts`` lie one after another; same shape as ``counts``."""
    ends = np.cumsum(counts, dtype=np.int64)
    return (ends - counts.ravel()).reshape(counts.shape)


def gather_runs(starts: Positions, counts: Positions) -> Positions | slice:
    """Index a pool so that the runs ``starts[i] : starts[i] + counts[i]`` follow one another, in C order."""
    starts, counts = starts.ravel(), counts.ravel()
    if not counts.size:
        return slice(0, 0)
    total = int(counts.sum())
    if np.array_equal(starts[1:], starts[:-1] + counts[:-1]):
        return slice(int(starts[0]), int(starts[0]) + total)
    width = int(counts[0])
    if total == width * counts.size and int(counts.max()) == width:
        index: Positions = (starts[:, None] + np.arange(width)).ravel()
        return index
    shifted: Positions = np.repeat(starts - run_starts(counts), counts) + np.arange(total)
    return shifted


@dataclass(frozen=True, eq=False, slots=True)
class Terms:
    """Runs of a shared pool, one for each element of an array of some shape, each times a scale.

    Indexing, broadcasting and reshaping touch only the three arrays of that shape, never the pool.
    ``columns`` and ``coefficients`` (the pool) have shape (p,); ``starts``, ``counts`` and ``scale`` the
    shape of the expression; ``scale`` None is 1 throughout.
    """

    columns: Ints
    coefficients: Floats
    starts: Positions
    counts: Positions
    scale: Floats | None = None

    @classmethod
    def of_columns(cls, columns: Ints) -> Terms:
        """One column with coefficient 1 for each element; ``columns`` gives the shape."""
        shape = columns.shape
        starts = np.arange(columns.size, dtype=np.int64).reshape(shape)
        ones = np.ones(columns.size)
        return cls(columns.ravel(), ones, starts, np.ones(shape, np.int64))

    @classmethod
    def of_runs(cls, columns: Ints, coefficients: Floats, counts: Positions) -> Terms:
        """Runs that lie one after another in C order of ``counts``, which gives the shape."""
        return cls(columns, coefficients, run_starts(counts), counts)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the expression."""
        return self.starts.shape

    def rearranged(self, change: Reshaping) -> Terms:
        """Apply an indexing, broadcasting or reshaping to the elements."""
        scale = None if self.scale is None else np.asarray(change(self.scale))
        starts, counts = np.asarray(change(self.starts)), np.asarray(change(self.counts))
        return Terms(self.columns, self.coefficients, starts, counts, scale)

    def scaled(self, factor: Floats) -> Terms:
        """Multiply each element by ``factor``, an array of the same shape."""
        scale = factor if self.scale is None else np.asarray(self.scale * factor)
        return Terms(self.columns, self.coefficients, self.starts, self.counts, scale)

    def flat(self) -> tuple[Ints, Floats]:
        """All pairs in C order of the elements, scale applied, shape (counts.sum(),)."""
        index = gather_runs(self.starts, self.counts)
        columns, coefficients = self.columns[index], self.coefficients[index]
        if self.scale is not None:
            scale = self.scale.ravel()
            aligned = len(scale) == len(columns) and bool(np.all(self.counts == 1))
            with np.errstate(invalid="ignore", over="ignore"):
                coefficients = coefficients * (scale if aligned else np.repeat(scale, self.counts.ravel()))
        return columns, coefficients

    def summed(self, axes: Sequence[int]) -> Terms:
        """Sum over ``axes`` (normalised, distinct)."""
        kept = [axis for axis in range(len(self.shape)) if axis not in axes]
        order = (*kept, *axes)
        kept_shape = tuple(self.shape[axis] for axis in kept)
        length = prod(self.shape[axis] for axis in axes)
        moved = self.rearranged(lambda a: a.transpose(order).reshape((*kept_shape, length)))
        columns, coefficients = moved.flat()
        return Terms.of_runs(columns, coefficients, moved.counts.sum(axis=-1, dtype=np.int64))

    def multiplied(self, matrix: sparse.csr_array[Any, tuple[int, int]]) -> Terms:
        """Return ``matrix @ self`` for elements of shape (n, t) and a matrix of shape (k, n)."""
        times = self.shape[1]
        taken = self.rearranged(lambda a: a[matrix.indices].T)
        taken = taken.scaled(np.broadcast_to(matrix.data, taken.shape))
        columns, coefficients = taken.flat()
        ends = np.concatenate((np.zeros(1, np.int64), np.cumsum(taken.counts, dtype=np.int64)))
        first = np.arange(times, dtype=np.int64)[:, None] * len(matrix.data)
        edges = ends[first + matrix.indptr]
        starts, counts = edges[:, :-1].T, np.diff(edges, axis=1).T
        return Terms(columns, coefficients, starts, counts)


def merged(parts: Sequence[Terms], shape: tuple[int, ...]) -> Terms:
    """One pool that holds all ``parts`` of a sum, element by element."""
    if len(parts) == 1 and isinstance(gather_runs(parts[0].starts, parts[0].counts), slice):
        return Terms.of_runs(*parts[0].flat(), parts[0].counts)
    totals = np.zeros(shape, np.int64)
    for part in parts:
        totals += part.counts
    nonzeros = int(totals.sum())
    columns, coefficients = np.empty(nonzeros, np.int32), np.empty(nonzeros)
    cursor = run_starts(totals)
    for part in parts:
        place = gather_runs(cursor, part.counts)
        columns[place], coefficients[place] = part.flat()
        cursor = cursor + part.counts
    return Terms.of_runs(columns, coefficients, totals)
