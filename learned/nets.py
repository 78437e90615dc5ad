"""Nets over the graph of a program, run with NumPy and Numba alone.

Two half-convolutions: rows hear from their columns, then columns from their rows (Gasse et al. 2019). A message is
``relu(W_mine x_i + W_theirs x_j + w a_ij)``; both products are taken once per node, not once per edge, and the mean (or
an attention-weighted mean) of the messages goes through a layer of its own: the same function, with fewer operations.
The names of the weights are those of the twin in torch (``learned.training.nets``), which trains them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from apportion.instances.errors import Fault, InstanceError
from apportion.learned.graphs import COLUMN_FEATURES, ROW_FEATURES, Ints, ProgramGraph, Singles
from apportion.learned.kernels import attend, gather

Weights = Mapping[str, Singles]


@dataclass(frozen=True)
class Shape:
    """The sizes of a net: features of columns and rows, the width of its layers, and whether messages are attended."""

    columns: int = len(COLUMN_FEATURES)
    rows: int = len(ROW_FEATURES)
    width: int = 32
    attention: bool = False

    def weights(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of every weight, as in torch: a layer from ``a`` to ``b`` has shape (b, a)."""
        width = self.width
        shapes: dict[str, tuple[int, ...]] = {
            "column.mean": (self.columns,),
            "column.scale": (self.columns,),
            "row.mean": (self.rows,),
            "row.scale": (self.rows,),
        }
        layers = {
            "column.first": (self.columns, width),
            "column.second": (width, width),
            "row.first": (self.rows, width),
            "row.second": (width, width),
            "out.first": (width, width),
            "out.second": (width, 1),
        }
        for side in ("to_rows", "to_columns"):
            layers |= {
                f"{side}.mine": (width, width),
                f"{side}.theirs": (width, width),
                f"{side}.after": (width, width),
                f"{side}.joined": (2 * width, width),
            }
            shapes[f"{side}.entry"] = (width,)
            if self.attention:
                shapes[f"{side}.query"] = (width,)
        for name, (inward, outward) in layers.items():
            shapes[f"{name}.weight"] = (outward, inward)
            if not name.endswith(".theirs"):
                shapes[f"{name}.bias"] = (outward,)
        return shapes


class Net:
    """A net with its weights.

    Parameters
    ----------
    shape
        Its sizes.
    weights
        Name -> array, as :meth:`Shape.weights` lists them.
    source
        What to call the weights in an error.

    Raises
    ------
    InstanceError
        When a weight is missing, unknown, of another shape or not finite: all such faults at once.
    """

    def __init__(self, shape: Shape, weights: Weights, source: str = "weights") -> None:
        self.shape = shape
        self._weights = _checked(shape, weights, source)

    def logits(self, graph: ProgramGraph) -> Singles:
        """A number for each column, shape (n,).

        Raises
        ------
        InstanceError
            When the graph has other features than the net was made for.
        """
        self._require_features(graph)
        columns = self._embedded(graph.columns, "column")
        rows = self._embedded(graph.rows, "row")
        rows = self._convolved("to_rows", graph.row_starts, graph.row_columns, graph.row_values, rows, columns)
        columns = self._convolved("to_columns", graph.col_starts, graph.col_rows, graph.col_values, columns, rows)
        return np.asarray(self._layer("out.second", _relu(self._layer("out.first", columns)))[:, 0], np.float32)

    def _require_features(self, graph: ProgramGraph) -> None:
        found, wanted = (graph.columns.shape[1], graph.rows.shape[1]), (self.shape.columns, self.shape.rows)
        if found != wanted:
            raise InstanceError("graph", [Fault("features", f"are {found} per column and row, the net wants {wanted}")])

    def _layer(self, name: str, inward: Singles) -> Singles:
        outward = inward @ self._weights[f"{name}.weight"].T
        bias = self._weights.get(f"{name}.bias")
        if bias is not None:
            outward += bias
        return np.asarray(outward, np.float32)

    def _embedded(self, features: Singles, side: str) -> Singles:
        scaled = (features - self._weights[f"{side}.mean"]) / self._weights[f"{side}.scale"]
        return _relu(self._layer(f"{side}.second", _relu(self._layer(f"{side}.first", scaled))))

    def _convolved(
        self, name: str, starts: Ints, others: Ints, entries: Singles, mine: Singles, theirs: Singles
    ) -> Singles:
        near, far = self._layer(f"{name}.mine", mine), self._layer(f"{name}.theirs", theirs)
        heard, entry = np.empty_like(near), self._weights[f"{name}.entry"]
        if self.shape.attention:
            scores = np.empty(len(others), np.float32)
            attend(starts, others, entries, near, far, entry, self._weights[f"{name}.query"], scores, heard)
        else:
            gather(starts, others, entries, near, far, entry, heard)
        return _relu(self._layer(f"{name}.joined", np.concatenate((mine, self._layer(f"{name}.after", heard)), 1)))


def _relu(values: Singles) -> Singles:
    return np.maximum(values, 0.0, out=values)


def _checked(shape: Shape, weights: Weights, source: str) -> dict[str, Singles]:
    wanted = shape.weights()
    faults = [Fault(name, "is missing") for name in wanted if name not in weights]
    faults += [Fault(name, "is not a weight of this net") for name in weights if name not in wanted]
    checked: dict[str, Singles] = {}
    for name, size in wanted.items():
        if name not in weights:
            continue
        values = np.ascontiguousarray(weights[name], np.float32)
        if values.shape != size:
            faults.append(Fault(name, f"has shape {values.shape}, not {size}"))
        elif not np.isfinite(values).all():
            faults.append(Fault(name, "holds a value that is not finite"))
        elif name.endswith(".scale") and not (values > 0.0).all():
            faults.append(Fault(name, "must be positive"))
        checked[name] = values
    if faults:
        raise InstanceError(source, faults)
    return checked
