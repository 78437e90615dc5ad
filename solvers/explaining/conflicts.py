"""Few rules that cannot hold together: an IIS of a linear program, divide and conquer over groups otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from apportion.instances.program import MixedIntegerProgram
from apportion.models.explaining import Conflict, ConflictPart
from apportion.models.program.groups import Group, Writer
from apportion.solvers.elastic import elastic_program
from apportion.solvers.explaining.feasibility import Budget, Feasibility, Positions
from apportion.solvers.explaining.native import irreducible_subsystem
from apportion.solvers.root_bounds import prove_infeasible

_NEGLIGIBLE = 1e-9
_EXACT_PROOF = "a weighted sum of them is false in exact arithmetic"
_SOLVED_ALONE = "solved alone they are infeasible"
_UNSOLVED = "the solve of them alone did not end in time"


def find_conflict(
    program: MixedIntegerProgram,
    groups: Sequence[Group],
    budget: Budget,
    backend: str,
    within: Positions | None = None,
) -> Conflict | None:
    """Find few rows and bounds of an infeasible program that conflict; None when no conflict is proven in time.

    A conflict of the linear relaxation is preferred: the duals of its least violation name candidates, HiGHS reduces
    them to an irreducible set. A conflict that needs the integers is found by QuickXplain (Junker 2004) over ``groups``
    first and over their members then. At last each member is left out once, which is what ``minimal`` reports.

    Parameters
    ----------
    program
        Known or believed to be infeasible.
    groups
        What its rows and bounds are called.
    budget
        Time for all of it.
    backend
        Who decides subsets of the program as it is; subsets of its relaxation go to HiGHS.
    within
        Elements that are known to hold a conflict, numbered as in
        :class:`~apportion.solvers.explaining.feasibility.Feasibility`.
    """
    relaxed = Feasibility(program.relaxed(), budget, "highs")
    # the bounds of binary columns stay even where integrality is left out
    whole = Feasibility(program, budget, backend)
    relaxed.droppable = whole.droppable
    start = whole.elements if within is None else within
    candidates = _candidates(relaxed, start, budget)
    if candidates is not None:
        reduced = _native_iis(relaxed, candidates, budget)
        relaxed.num_undecided = 0
        kept = _irreducible(relaxed, reduced)
        return _described(program, groups, relaxed, kept, "an IIS of the linear relaxation", budget)
    if not program.is_mixed_integer or not whole.conflict(start):
        return None
    units = [start[np.isin(start, _elements(program, group))] for group in groups]
    core = quickxplain(whole, [unit for unit in units if len(unit)])
    members = [np.array([element]) for unit in core for element in unit]
    kept = _joined(core)
    if len(members) > len(core):
        whole.num_undecided = 0
        kept = _joined(quickxplain(whole, members))
    return _described(program, groups, whole, kept, "a deletion filter over groups and their members", budget)


class Asked(Protocol):
    """Says whether some elements are proven to conflict."""

    def conflict(self, kept: Positions) -> bool:
        """Whether it is proven that ``kept`` cannot hold together."""
        ...


def quickxplain(asked: Asked, units: Sequence[Positions]) -> list[Positions]:
    """Some of ``units`` that conflict, given that all of them do; minimal unless a question stayed undecided."""

    def shrink(background: Positions, fresh: bool, candidates: list[Positions]) -> list[Positions]:
        if fresh and asked.conflict(background):
            return []
        if len(candidates) <= 1:
            return candidates
        half = len(candidates) // 2
        first, second = candidates[:half], candidates[half:]
        needed = shrink(np.concatenate((background, _joined(first))), True, second)
        rest = shrink(np.concatenate((background, _joined(needed))), bool(needed), first)
        return [*rest, *needed]

    return shrink(np.zeros(0, np.int64), True, list(units))


def _candidates(asked: Feasibility, start: Positions, budget: Budget) -> Positions | None:
    """The elements that the duals of the least violation price, when these conflict; None when ``start`` does not."""
    if not asked.conflict(start):
        return None
    part = asked.part(start)
    answer = budget.run(elastic_program(part.program, np.ones(part.program.num_rows)).program, "highs")
    if answer.row_duals is None or answer.reduced_costs is None:
        return start
    rows = np.flatnonzero(np.abs(answer.row_duals) > _NEGLIGIBLE)
    columns = np.flatnonzero(np.abs(answer.reduced_costs[: part.program.num_columns]) > _NEGLIGIBLE)
    priced = part.elements(rows, columns, asked.program.num_rows)
    chosen = priced[np.isin(priced, start)]
    return chosen if asked.conflict(chosen) else start


def _native_iis(asked: Feasibility, kept: Positions, budget: Budget) -> Positions:
    """What HiGHS leaves of ``kept``; ``kept`` itself when it finds nothing or its answer does not conflict."""
    part = asked.part(kept)
    found = irreducible_subsystem(part.program, budget.options, budget.remaining_s)
    if found is not None:
        named = part.elements(*found, asked.program.num_rows)
        chosen = named[np.isin(named, kept)]
        if len(chosen) and asked.conflict(chosen):
            return chosen
    return _joined(quickxplain(asked, [np.array([element]) for element in kept]))


def _irreducible(asked: Feasibility, kept: Positions) -> Positions:
    """Leave out whatever can be: for an irreducible set one question per element, each answered by a point."""
    for element in kept[::-1]:
        rest = kept[kept != element]
        if asked.conflict(rest):
            kept = rest
    return kept


def _described(
    program: MixedIntegerProgram,
    groups: Sequence[Group],
    asked: Feasibility,
    kept: Positions,
    method: str,
    budget: Budget,
) -> Conflict:
    undecided = asked.num_undecided
    if not asked.program.is_mixed_integer and prove_infeasible(asked.part(kept).program, budget.options):
        proof = _EXACT_PROOF
    else:
        proof = _SOLVED_ALONE if asked.conflict(kept) else _UNSOLVED
    writer, m = Writer(program), program.num_rows
    parts = []
    for group in groups:
        mine = kept[np.isin(kept, _elements(program, group))]
        if len(mine):
            texts = (writer.row(int(e)) if e < m else writer.bounds(int(e) - m) for e in np.sort(mine))
            parts.append(ConflictPart(group.name, tuple(texts)))
    return Conflict(
        parts=tuple(parts),
        minimal=undecided == 0,
        needs_integers=asked.program.is_mixed_integer,
        method=method,
        proof=proof,
        num_solves=asked.num_solves,
        rows=tuple(int(e) for e in np.sort(kept) if e < m),
        bounds=tuple(int(e) - m for e in np.sort(kept) if e >= m),
    )


def _elements(program: MixedIntegerProgram, group: Group) -> Positions:
    return np.concatenate((group.rows, program.num_rows + group.columns))


def _joined(units: Sequence[Positions]) -> Positions:
    return np.concatenate(units) if units else np.zeros(0, np.int64)
