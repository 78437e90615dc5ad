"""The neighbourhoods of any program, each a few lines."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from apportion.solvers.neighbourhoods.situation import Mask, Neighbourhood, Piece, Restriction, Situation

_FRACTIONAL = 1e-6
_LEAST_RADIUS = 4
_MOST_RADIUS = 40
_PARENTS = 2
_STEPS = (0.002, 0.01, 0.05)
_LONGEST_ROW = 200


class Rins:
    """Free where the incumbent and the relaxation differ (Danna, Rothberg and Le Pape 2005), then the least firm."""

    name = "rins"

    def restrict(self, situation: Situation) -> Restriction | None:
        """See :class:`Piece`."""
        if situation.root is None:
            return None
        return Restriction(situation.grown(situation.differs(situation.root.values)))


class Rens:
    """Free what is fractional in the relaxation (Berthold 2014), here around the incumbent."""

    name = "rens"

    def restrict(self, situation: Situation) -> Restriction | None:
        """See :class:`Piece`."""
        if situation.root is None:
            return None
        values = situation.root.values
        fractional = situation.program.integer & (np.abs(values - np.rint(values)) > _FRACTIONAL)
        return Restriction(situation.grown(np.asarray(fractional, np.bool_)))


class Crossover:
    """Free where the incumbent differs from other solutions (Rothberg 2007)."""

    name = "crossover"

    def restrict(self, situation: Situation) -> Restriction | None:
        """See :class:`Piece`."""
        others = [point for point in situation.pool if situation.differs(point).any()]
        if not others:
            return None
        chosen = situation.rng.permutation(len(others))[:_PARENTS]
        mask = np.zeros(situation.program.num_columns, np.bool_)
        for index in chosen:
            mask |= situation.differs(others[int(index)])
        return Restriction(situation.grown(mask))


class Mutation:
    """Free columns at random among those that an improvement can need."""

    name = "mutation"

    def restrict(self, situation: Situation) -> Restriction | None:
        """See :class:`Piece`."""
        return Restriction(situation.trimmed(situation.open))


class LocalBranching:
    """Free all, and let only a few binaries change (Fischetti and Lodi 2003)."""

    name = "local branching"

    def restrict(self, situation: Situation) -> Restriction | None:
        """See :class:`Piece`."""
        if not _binary(situation).any():
            return None
        radius = float(np.clip(situation.size // 10, _LEAST_RADIUS, _MOST_RADIUS))
        return Restriction(situation.open.copy(), radius=radius)


class Proximity:
    """The nearest point that is better by a step (Fischetti and Monaci 2014)."""

    name = "proximity"

    def restrict(self, situation: Situation) -> Restriction | None:
        """See :class:`Piece`."""
        if not _binary(situation).any():
            return None
        share = _STEPS[int(situation.rng.integers(len(_STEPS)))]
        gap = abs(situation.objective)
        if situation.root is not None:
            gap = abs(situation.objective - situation.root.objective) * 10.0
        return Restriction(situation.trimmed(situation.open), step=max(share * gap, 1e-6))


class VariableGraph:
    """Free the columns nearest a random one, where two are neighbours that share a row."""

    name = "variable graph"

    def restrict(self, situation: Situation) -> Restriction | None:
        """See :class:`Piece`."""
        candidates = np.flatnonzero(situation.open)
        if not len(candidates):
            return None
        first = int(situation.rng.choice(candidates))
        return Restriction(_spread(situation, deque([first]), whole_rows=False))


class ConstraintGraph:
    """Free whole rows: a random one, then the rows that share columns with those before."""

    name = "constraint graph"

    def restrict(self, situation: Situation) -> Restriction | None:
        """See :class:`Piece`."""
        program = situation.program
        if not program.num_rows:
            return None
        columns = situation.structure.columns_of_row(int(situation.rng.integers(program.num_rows)))
        first = deque(int(column) for column in columns)
        return Restriction(_spread(situation, first, whole_rows=True))


class Declared:
    """A neighbourhood of the problem's own, kept to integer columns."""

    def __init__(self, declared: Neighbourhood) -> None:
        self._declared = declared
        self.name = declared.name

    def restrict(self, situation: Situation) -> Restriction | None:
        """See :class:`Piece`."""
        mask = np.asarray(self._declared.free(situation.incumbent.copy(), situation.rng), np.bool_)
        if mask.shape != (situation.program.num_columns,):
            return None
        return Restriction(mask & situation.program.integer)


def all_pieces(declared: Sequence[Neighbourhood] = ()) -> list[Piece]:
    """Every neighbourhood, those of the problem first."""
    own: list[Piece] = [Declared(one) for one in declared]
    return [
        *own,
        Rins(),
        VariableGraph(),
        Mutation(),
        Rens(),
        ConstraintGraph(),
        Crossover(),
        LocalBranching(),
        Proximity(),
    ]


def _binary(situation: Situation) -> Mask:
    program = situation.program
    return np.asarray(situation.open & (program.lower == 0.0) & (program.upper == 1.0), np.bool_)


def _spread(situation: Situation, queue: deque[int], *, whole_rows: bool) -> Mask:
    """Breadth first over rows and columns until ``size`` open columns are found.

    Without ``whole_rows`` a step takes a random few columns of each row, which reaches farther.
    """
    structure, rng = situation.structure, situation.rng
    found = np.zeros(situation.program.num_columns, np.bool_)
    seen_columns, seen_rows = found.copy(), np.zeros(situation.program.num_rows, np.bool_)
    seen_columns[list(queue)] = True
    count = 0
    while queue and count < situation.size:
        column = queue.popleft()
        if situation.open[column]:
            found[column] = True
            count += 1
        rows = structure.rows_of_column(column)
        for row in rng.permutation(rows[~seen_rows[rows]]):
            seen_rows[row] = True
            members = structure.columns_of_row(int(row))
            members = members[~seen_columns[members]]
            few = len(members) if whole_rows else max(2, len(members) // 4)
            chosen = rng.permutation(members)[: min(few, _LONGEST_ROW)]
            seen_columns[chosen] = True
            queue.extend(int(member) for member in chosen)
    return found
