"""Messages along the entries of a program: the inner loops of the nets."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Singles = NDArray[np.float32]
Ints = NDArray[np.int64]


@numba.njit(cache=True, fastmath={"contract", "arcp", "nsz"})
def gather(
    starts: Ints, others: Ints, entries: Singles, mine: Singles, theirs: Singles, weight: Singles, out: Singles
) -> None:
    """Set ``out[i]`` to the mean over the neighbours ``j`` of ``relu(mine[i] + theirs[j] + entry * weight)``.

    ``mine`` and ``out`` have shape (i, h), ``theirs`` (j, h), ``weight`` (h,); without neighbours ``out[i]`` is zero.
    """
    width = mine.shape[1]
    for i in range(mine.shape[0]):
        for k in range(width):
            out[i, k] = 0.0
        first, last = starts[i], starts[i + 1]
        if first == last:
            continue
        for e in range(first, last):
            j, entry = others[e], entries[e]
            for k in range(width):
                value = mine[i, k] + theirs[j, k] + entry * weight[k]
                out[i, k] += max(value, np.float32(0.0))
        share = np.float32(1.0) / np.float32(last - first)
        for k in range(width):
            out[i, k] *= share


@numba.njit(cache=True, fastmath={"contract", "arcp", "nsz"})
def attend(
    starts: Ints,
    others: Ints,
    entries: Singles,
    mine: Singles,
    theirs: Singles,
    weight: Singles,
    query: Singles,
    scores: Singles,
    out: Singles,
) -> None:
    """As :func:`gather`, the mean weighted by the softmax of ``query . message`` over the neighbours.

    ``query`` has shape (h,); ``scores`` is work space of shape (e,).
    """
    width = mine.shape[1]
    for i in range(mine.shape[0]):
        for k in range(width):
            out[i, k] = 0.0
        first, last = starts[i], starts[i + 1]
        if first == last:
            continue
        largest = np.float32(-np.inf)
        for e in range(first, last):
            j, entry, total = others[e], entries[e], np.float32(0.0)
            for k in range(width):
                total += query[k] * max(mine[i, k] + theirs[j, k] + entry * weight[k], np.float32(0.0))
            scores[e] = total
            largest = max(largest, total)
        whole = np.float32(0.0)
        for e in range(first, last):
            scores[e] = np.exp(scores[e] - largest)
            whole += scores[e]
        for e in range(first, last):
            j, entry, share = others[e], entries[e], scores[e] / whole
            for k in range(width):
                out[i, k] += share * max(mine[i, k] + theirs[j, k] + entry * weight[k], np.float32(0.0))
