"""The connected parts of a network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def islands_of(num_buses: int, from_bus: Ints, to_bus: Ints) -> Ints:
    """The island of each bus, numbered from 0 in the order of their first buses, shape (buses,).

    Labels sink along all branches at once, with shortcuts, until nothing changes.

    Examples
    --------
    >>> islands_of(4, np.array([0, 3]), np.array([2, 1])).tolist()
    [0, 1, 0, 1]
    """
    label = np.arange(num_buses)
    while True:
        lower = np.minimum(label[from_bus], label[to_bus])
        sunk = label.copy()
        np.minimum.at(sunk, label[from_bus], lower)
        np.minimum.at(sunk, label[to_bus], lower)
        sunk = sunk[sunk]
        if np.array_equal(sunk, label):
            break
        label = sunk
    return np.unique(label, return_inverse=True)[1].astype(np.int64)
