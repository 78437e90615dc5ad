"""Recording what learned branching needs: the program as a bipartite graph, nodes, strong-branching scores, choices."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Self
from zipfile import BadZipFile

import numpy as np

from apportion.instances.errors import Fault, InstanceError
from apportion.instances.program import MixedIntegerProgram
from apportion.solvers.branching.protocol import BranchingRule, Floats, Ints, Node, Snapshot, ask
from apportion.solvers.branching.rules import FullStrong
from apportion.solvers.heuristics.arrays import problem_of

FEATURES = (
    "cost",
    "value",
    "fraction",
    "reduced cost",
    "lower",
    "upper",
    "pseudo-cost down",
    "pseudo-cost up",
    "observations down",
    "observations up",
)
"""The columns of :attr:`Record.features`, as the solver has them: scale them as the learner needs."""

_MEMBERS = ("columns", "features", "scores", "choices", "starts", "states")


@dataclass(frozen=True, eq=False)
class Record:
    """All recorded nodes of one solve; node ``i`` has the candidates ``starts[i]:starts[i + 1]``.

    Parameters
    ----------
    columns
        Shape (c,): the columns of the program that are candidates, -1 for those that presolve made.
    features
        Shape (c, len(FEATURES)).
    scores
        Shape (c,): strong-branching scores; minus infinity where none was computed.
    choices
        Shape (r,): the position of the choice within the candidates of each node.
    starts
        Shape (r + 1,).
    states
        Shape (r, 5): number, depth, objective, bound, cutoff of each node.
    graph
        The program as :func:`graph_of` gives it.
    snapshots
        For each node the linear program in full: ``values``, ``reduced_costs``, ``lower``, ``upper``, ``row_duals``,
        shape (r, .) each, in single precision; empty when they were not asked for.
    """

    columns: Ints
    features: Floats
    scores: Floats
    choices: Ints
    starts: Ints
    states: Floats
    graph: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    snapshots: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.choices)

    def save(self, path: Path | str) -> None:
        """Write to an ``.npz`` file."""
        parts = {name: getattr(self, name) for name in _MEMBERS}
        parts |= {f"graph/{name}": value for name, value in self.graph.items()}
        parts |= {f"snapshot/{name}": value for name, value in self.snapshots.items()}
        np.savez_compressed(path, **parts)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read what :meth:`save` wrote.

        Raises
        ------
        InstanceError
            When the file is no such record.
        """
        try:
            with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as stored:
                parts = {name: stored[name] for name in stored.files}
        except (OSError, ValueError, EOFError, BadZipFile) as error:
            raise InstanceError(str(path), [Fault("file", f"is no record of branching: {error}")]) from error
        missing = [name for name in _MEMBERS if name not in parts]
        if missing:
            raise InstanceError(str(path), [Fault(name, "is missing") for name in missing])
        return cls(
            **{name: parts[name] for name in _MEMBERS},
            graph=_below(parts, "graph/"),
            snapshots=_below(parts, "snapshot/"),
        )


def _below(parts: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): value for name, value in parts.items() if name.startswith(prefix)}


class Recorder:
    """A branching rule that records every decision, or a share of them, with full strong-branching scores.

    Gasse et al. (2019) record a twentieth of the nodes that a cheap rule visits: the expert speaks at those, and
    its choice is followed there.

    Parameters
    ----------
    explorer
        The rule that decides where nothing is recorded. None: the expert decides everywhere.
    share
        The probability that a node is recorded.
    seed
        Of that choice.
    snapshots
        Whether to keep the linear program of each recorded node in full.
    most
        Nodes to record; after these the explorer goes on alone.

    Examples
    --------
    >>> from apportion.instances.generate.benchmark_programs import benchmark_program
    >>> from apportion.solvers.branching.host import BranchSettings
    >>> from apportion.solvers.branching.method import branch_and_bound
    >>> from apportion.solvers.events import Monitor
    >>> from apportion.solvers.options import SolveOptions
    >>> program, recorder = benchmark_program("independent-set", seed=3, nodes=30), Recorder()
    >>> settings = BranchSettings(rule=recorder, cuts=False, heuristics=False)
    >>> answer = branch_and_bound(program, SolveOptions(), Monitor(program.sense), settings=settings)
    >>> record = recorder.record(program)
    >>> record.features.shape == (len(record.columns), len(FEATURES))
    True
    """

    def __init__(
        self,
        explorer: BranchingRule | None = None,
        share: float = 1.0,
        seed: int = 0,
        *,
        snapshots: bool = False,
        most: int | None = None,
    ) -> None:
        self._expert = FullStrong(probe_all=True)
        self._explorer = explorer
        self._share, self._random = share, np.random.default_rng(seed)
        self._keep, self._most = snapshots, inf if most is None else most
        self._columns: list[Ints] = []
        self._features: list[Floats] = []
        self._scores: list[Floats] = []
        self._choices: list[int] = []
        self._states: list[tuple[float, ...]] = []
        self._snapshots: list[Snapshot] = []

    def __len__(self) -> int:
        return len(self._choices)

    def choose(self, node: Node) -> int:
        """See :class:`BranchingRule`."""
        full = len(self) >= self._most
        if self._explorer is not None and (full or self._random.random() >= self._share):
            return ask(self._explorer, node)
        snapshot = node.snapshot() if self._keep and not full else None
        choice = self._expert.choose(node)
        if not full:
            self._columns.append(node.candidates)
            self._features.append(features_of(node))
            self._scores.append(self._expert.scores)
            self._choices.append(choice)
            self._states.append((node.number, node.depth, node.objective, node.bound, node.cutoff))
            if snapshot is not None:
                self._snapshots.append(snapshot)
        return choice

    def record(self, program: MixedIntegerProgram) -> Record:
        """Everything so far, with the graph of ``program``."""
        lengths = [len(columns) for columns in self._columns]
        empty = [np.zeros((0, len(FEATURES)))]
        return Record(
            columns=np.concatenate([np.zeros(0, np.int64), *self._columns]),
            features=np.concatenate(empty + self._features),
            scores=np.concatenate([np.zeros(0), *self._scores]),
            choices=np.array(self._choices, np.int64),
            starts=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
            states=np.array(self._states, np.float64).reshape(-1, 5),
            graph=graph_of(program),
            snapshots=_stacked(self._snapshots),
        )


def features_of(node: Node) -> Floats:
    """What is known of each candidate without a probe, shape (k, len(FEATURES))."""
    return np.column_stack(
        (
            node.costs,
            node.values,
            node.fractions,
            node.reduced_costs,
            node.lower,
            node.upper,
            node.pseudo_costs,
            node.counts.astype(np.float64),
        )
    )


def graph_of(program: MixedIntegerProgram) -> dict[str, np.ndarray]:
    """The program as a bipartite graph: rows, columns, and an edge for each entry; the cost is minimised."""
    problem = problem_of(program)
    return {
        "cost": problem.cost,
        "integer": problem.integer,
        "row_starts": problem.row_starts,
        "row_columns": problem.row_columns,
        "row_values": problem.row_values,
        "row_lower": problem.row_lower,
        "row_upper": problem.row_upper,
    }


def _stacked(snapshots: list[Snapshot]) -> dict[str, np.ndarray]:
    names = ("values", "reduced_costs", "lower", "upper", "row_duals") if snapshots else ()
    return {name: np.array([getattr(taken, name) for taken in snapshots], np.float32) for name in names}
