"""What branching on each column has gained so far."""

from __future__ import annotations

import numpy as np

from apportion.solvers.branching.protocol import Floats, Ints


class PseudoCosts:
    """Sums and counts of the gain per unit, for each of ``size`` columns, down and up (Benichou et al. 1971)."""

    def __init__(self, size: int) -> None:
        self._sums = np.zeros((size, 2))
        self._counts = np.zeros((size, 2), np.int64)
        self._total = np.zeros(2)
        self._observed = np.zeros(2, np.int64)

    def update(self, column: int, direction: int, gain: float, distance: float) -> None:
        """Learn that moving ``column`` by ``distance`` (0 is down, 1 is up) has raised the objective by ``gain``."""
        unit = max(0.0, gain) / max(distance, 1e-6)
        self._sums[column, direction] += unit
        self._counts[column, direction] += 1
        self._total[direction] += unit
        self._observed[direction] += 1

    def of(self, columns: Ints) -> tuple[Floats, Ints]:
        """Mean gains and counts of ``columns``, shape (k, 2) each; the mean of all columns where nothing is known."""
        counts = self._counts[columns]
        usual = np.where(self._observed > 0, self._total / np.maximum(1, self._observed), 1.0)
        means = self._sums[columns] / np.maximum(1, counts)
        return np.where(counts > 0, means, usual), counts
