"""The network of an instance in matrices: how flows answer to injections, with all lines and after each outage."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from apportion.instances.security_commitment import SecurityConstrainedCommitment
from apportion.models.power_flow.sensitivities import ptdf

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BASE = -1
"""The case of a flow with all lines in place."""


class FlowRow(NamedTuple):
    """A limit on a line in a case (a contingency, or :data:`BASE`) and a period, by position."""

    line: int
    case: int
    period: int


@dataclass(frozen=True, eq=False)
class Network:
    """Matrices of the lines that have a limit.

    Parameters
    ----------
    factors
        Flow on each line per MW injected at each bus, shape (lines, buses).
    watched
        Positions of the lines with a finite limit, shape (watched,).
    case_start
        The outages of contingency ``c`` are entries ``case_start[c]:case_start[c + 1]``, shape (contingencies + 1,).
    out_line
        The line of each entry, shape (entries,).
    share
        What each watched line takes over of the flow that the line of an entry had, shape (entries, watched).
    limit, emergency_limit
        Of the watched lines, shape (periods, watched); infinite where there is none.
    """

    factors: Floats
    watched: Ints
    case_start: Ints
    out_line: Ints
    share: Floats
    limit: Floats
    emergency_limit: Floats

    @cached_property
    def place(self) -> dict[int, int]:
        """Position among the watched lines of each watched line."""
        return {int(line): position for position, line in enumerate(self.watched)}

    def weights(self, row: FlowRow) -> Floats:
        """Flow of a row per MW injected at each bus, shape (buses,)."""
        weights: Floats = self.factors[row.line].copy()
        if row.case != BASE:
            entries = slice(self.case_start[row.case], self.case_start[row.case + 1])
            weights += self.share[entries, self.place[row.line]] @ self.factors[self.out_line[entries]]
        return weights

    def most(self, row: FlowRow) -> float:
        """The limit of a row."""
        limits = self.limit if row.case == BASE else self.emergency_limit
        return float(limits[row.period, self.place[row.line]])


def network_of(instance: SecurityConstrainedCommitment) -> Network:
    """Compute the matrices: one sparse factorisation, then one small dense solve per contingency."""
    start, end = instance.line_ends
    susceptance = np.array([line.susceptance for line in instance.lines], dtype=np.float64)
    factors = ptdf(len(instance.buses), start, end, susceptance)
    periods = instance.num_periods
    limit = np.array([line.limit_mw for line in instance.lines]).reshape(len(start), periods)
    emergency = np.array([line.emergency_limit_mw for line in instance.lines]).reshape(len(start), periods)
    watched = np.flatnonzero((np.isfinite(limit) | np.isfinite(emergency)).any(axis=1))
    index = instance.line_index
    cases = [np.array([index[name] for name in case.lines], dtype=np.int64) for case in instance.contingencies]
    case_start = np.concatenate([[0], np.cumsum([len(out) for out in cases])]).astype(np.int64)
    out_line = np.concatenate([np.zeros(0, np.int64), *cases])
    share = _shares(factors, start, end, cases, watched)
    limits = (np.ascontiguousarray(table[watched].T) for table in (limit, emergency))
    return Network(factors, watched, case_start, out_line, share, *limits)


def _shares(factors: Floats, start: Ints, end: Ints, cases: list[Ints], watched: Ints) -> Floats:
    """What the watched lines take over when the lines of a case fail together, shape (entries, watched).

    For the lines ``K`` of a case, ``L = T[:, K] (I - T[K, K])^-1`` where ``T[l, k]`` is the flow on ``l`` per MW sent
    from one end of ``k`` to the other (Guo, Fu, Li and Shahidehpour 2009). A line that is out has no flow.
    """
    total = sum(len(out) for out in cases)
    share = np.zeros((total, len(watched)))
    if not total or not len(watched):
        return share
    single = np.array([len(out) == 1 for out in cases])
    entry = np.cumsum([0, *(len(out) for out in cases)])[:-1]
    alone = np.array([out[0] for out, one in zip(cases, single, strict=True) if one], dtype=np.int64)
    if len(alone):
        transfer = factors[:, start[alone]] - factors[:, end[alone]]
        own = 1.0 - transfer[alone, np.arange(len(alone))]
        found = transfer[watched].T / own[:, None]
        found[watched[None, :] == alone[:, None]] = -1.0
        share[entry[single]] = found
    for c in np.flatnonzero(~single):
        out = cases[c]
        transfer = factors[:, start[out]] - factors[:, end[out]]
        taken = transfer[watched] @ np.linalg.inv(np.eye(len(out)) - transfer[out])
        for position, line in enumerate(out):
            taken[watched == line] = 0.0
            taken[watched == line, position] = -1.0
        share[entry[c] : entry[c] + len(out)] = taken.T
    return share


def row_name(instance: SecurityConstrainedCommitment, row: FlowRow) -> str:
    """The name of a row: period from 1, contingency (empty for none) and line, with colons between."""
    case = instance.contingencies[row.case].name if row.case != BASE else ""
    return f"{row.period + 1}:{case}:{instance.lines[row.line].name}"


def rows_named(instance: SecurityConstrainedCommitment, names: list[str]) -> list[FlowRow]:
    """The rows of an instance by name; a name that fits nothing is left out."""
    cases = {case.name: position for position, case in enumerate(instance.contingencies)} | {"": BASE}
    found = []
    for name in names:
        period, _, rest = name.partition(":")
        if not period.isdigit() or not 1 <= int(period) <= instance.num_periods:
            continue
        for cut in (i for i, letter in enumerate(rest) if letter == ":"):
            case, line = cases.get(rest[:cut]), instance.line_index.get(rest[cut + 1 :])
            if case is not None and line is not None:
                found.append(FlowRow(line, case, int(period) - 1))
                break
    return found
