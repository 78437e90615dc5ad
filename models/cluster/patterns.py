"""What one node may hold, and the integer program that chooses one such pattern per node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from apportion.instances.core import Sense
from apportion.models.algebra import Model
from apportion.models.cluster.classes import Classes

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pattern:
    """Tasks that share one node: how many of each type, and item by item from which GPU on (-1 for none)."""

    node_class: int
    types: Ints
    counts: Ints
    items: Ints
    gpu_of_item: Ints


def pattern_model(
    classes: Classes, patterns: Sequence[Pattern], gain: Floats, node_cost: float, fewest: Ints, most: Ints
) -> Model:
    """Choose how many nodes take each pattern: gain of the served tasks less the cost of the nodes, maximised.

    ``served[t]`` tasks of type ``t``, between ``fewest`` and ``most``, may not exceed what the patterns hold; a node
    may then run less than its pattern.
    """
    model = Model("patterns", Sense.MAXIMISE)
    served = model.add_variables("served", shape=classes.num_types, lower=fewest, upper=most)
    room = classes.node_count[[p.node_class for p in patterns]]
    times = model.add_variables("times", shape=len(patterns), upper=room, integer=True)
    model.add_constraints("cover", served <= _holdings(classes, patterns) @ times)
    model.add_constraints("nodes", _membership(classes, patterns) @ times <= classes.node_count)
    model.maximise((gain * served).sum() - node_cost * times.sum())
    return model


def _holdings(classes: Classes, patterns: Sequence[Pattern]) -> sparse.csr_array:
    """Tasks of each type in each pattern, (types, patterns)."""
    rows = np.concatenate([p.types for p in patterns])
    columns = np.repeat(np.arange(len(patterns)), [len(p.types) for p in patterns])
    values = np.concatenate([p.counts for p in patterns]).astype(np.float64)
    return sparse.csr_array((values, (rows, columns)), shape=(classes.num_types, len(patterns)))


def _membership(classes: Classes, patterns: Sequence[Pattern]) -> sparse.csr_array:
    """Which class each pattern belongs to, (classes, patterns)."""
    rows = np.array([p.node_class for p in patterns])
    shape = (classes.num_classes, len(patterns))
    return sparse.csr_array((np.ones(len(patterns)), (rows, np.arange(len(patterns)))), shape=shape)
