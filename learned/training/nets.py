"""The nets of ``learned.nets`` in torch: the same function, to be trained."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from apportion.learned.graphs import ProgramGraph, Singles
from apportion.learned.nets import Shape


class Batch:
    """Graphs put side by side as one: tensors, and where each graph's columns begin."""

    def __init__(self, graphs: list[ProgramGraph]) -> None:
        rows = np.cumsum([0] + [len(graph.rows) for graph in graphs])
        columns = np.cumsum([0] + [len(graph.columns) for graph in graphs])
        self.starts = columns
        self.columns = torch.from_numpy(np.concatenate([graph.columns for graph in graphs]))
        self.rows = torch.from_numpy(np.concatenate([graph.rows for graph in graphs]))
        self.edge_rows = torch.from_numpy(
            np.concatenate(
                [
                    first + np.repeat(np.arange(len(graph.rows)), np.diff(graph.row_starts))
                    for first, graph in zip(rows, graphs, strict=False)
                ]
            )
        )
        self.edge_columns = torch.from_numpy(
            np.concatenate([first + graph.row_columns for first, graph in zip(columns, graphs, strict=False)])
        )
        self.entries = torch.from_numpy(np.concatenate([graph.row_values for graph in graphs]))


class TorchNet(nn.Module):
    """See :class:`apportion.learned.nets.Net`; ``state_dict`` holds its weights under the same names."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width = shape.width
        self.column = _Embedding(shape.columns, width)
        self.row = _Embedding(shape.rows, width)
        self.to_rows = _HalfConvolution(width, attention=shape.attention)
        self.to_columns = _HalfConvolution(width, attention=shape.attention)
        self.out = nn.ModuleDict({"first": nn.Linear(width, width), "second": nn.Linear(width, 1)})

    def forward(self, batch: Batch) -> Tensor:
        """A number for each column of the batch."""
        columns, rows = self.column(batch.columns), self.row(batch.rows)
        rows = self.to_rows(batch.edge_rows, batch.edge_columns, batch.entries, rows, columns)
        columns = self.to_columns(batch.edge_columns, batch.edge_rows, batch.entries, columns, rows)
        return cast("Tensor", self.out["second"](torch.relu(self.out["first"](columns)))[:, 0])

    def scale_to(self, graphs: list[ProgramGraph]) -> None:
        """Take the mean and the spread of the features from ``graphs``."""
        for embedding, features in (
            (self.column, np.concatenate([graph.columns for graph in graphs])),
            (self.row, np.concatenate([graph.rows for graph in graphs])),
        ):
            spread = features.std(0)
            embedding.mean.copy_(torch.from_numpy(features.mean(0)))
            embedding.scale.copy_(torch.from_numpy(np.where(spread > 1e-3, spread, 1.0).astype(np.float32)))

    def exported(self) -> dict[str, Singles]:
        """The weights as arrays."""
        return {name: tensor.detach().numpy().astype(np.float32) for name, tensor in self.state_dict().items()}


class _Embedding(nn.Module):
    mean: Tensor
    scale: Tensor

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.first = nn.Linear(features, width)
        self.second = nn.Linear(width, width)

    def forward(self, features: Tensor) -> Tensor:
        scaled = (features - self.mean) / self.scale
        return torch.relu(self.second(torch.relu(self.first(scaled))))


class _HalfConvolution(nn.Module):
    def __init__(self, width: int, *, attention: bool) -> None:
        super().__init__()
        self.mine = nn.Linear(width, width)
        self.theirs = nn.Linear(width, width, bias=False)
        self.entry = nn.Parameter(torch.randn(width) / width**0.5)
        self.query = nn.Parameter(torch.randn(width) / width**0.5) if attention else None
        self.after = nn.Linear(width, width)
        self.joined = nn.Linear(2 * width, width)

    def forward(self, to: Tensor, source: Tensor, entries: Tensor, mine: Tensor, theirs: Tensor) -> Tensor:
        near, far = self.mine(mine), self.theirs(theirs)
        messages = torch.relu(near[to] + far[source] + entries[:, None] * self.entry)
        weights = self._shares(to, messages, len(mine))
        heard = torch.zeros_like(near).index_add(0, to, weights[:, None] * messages)
        return torch.relu(self.joined(torch.cat((mine, self.after(heard)), 1)))

    def _shares(self, to: Tensor, messages: Tensor, size: int) -> Tensor:
        if self.query is None:
            ones = torch.ones(len(to))
            return 1.0 / torch.zeros(size).index_add(0, to, ones)[to]
        scores = messages @ self.query
        largest = torch.full((size,), -torch.inf).scatter_reduce(0, to, scores, "amax")
        raised = torch.exp(scores - largest[to])
        return raised / torch.zeros(size).index_add(0, to, raised)[to]
