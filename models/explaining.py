"""Why a problem has no plan, no bound, or the bound that it has: plain data, and the sentences that tell it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

_MOST_MEMBERS = 5
_MOST_LINES = 8


class Diagnosis(StrEnum):
    """What is the matter with a problem."""

    INFEASIBLE = "infeasible"
    UNBOUNDED = "unbounded"
    SOLVABLE = "solvable"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Finding:
    """One thing that is seen in the data alone: a sentence, what it concerns, and how much is missing.

    ``blocking`` means that no plan is possible (or, for a task or client, that it can never be served).
    """

    sentence: str
    place: str = ""
    amount: float = 0.0
    blocking: bool = True

    def __str__(self) -> str:
        return self.sentence


@dataclass(frozen=True)
class ConflictPart:
    """The members of one group that take part in a conflict, written out: rows, or bounds of variables."""

    group: str
    members: tuple[str, ...]

    def __str__(self) -> str:
        shown = [f"    {member}" for member in self.members[:_MOST_MEMBERS]]
        if len(self.members) > _MOST_MEMBERS:
            shown.append(f"    and {len(self.members) - _MOST_MEMBERS} more")
        return "\n".join([f"  {self.group}:", *shown])


@dataclass(frozen=True)
class Conflict:
    """Rules that cannot hold together.

    Parameters
    ----------
    parts
        By group, in the order of the model.
    minimal
        Whether leaving out any single member was seen to resolve it; False when the time was up before.
    needs_integers
        Whether the same rules could hold if variables might be fractional.
    method
        How it was found.
    proof
        What says that the parts alone conflict.
    num_solves
        Solves that it took.
    rows, bounds
        The rows, and the columns whose bounds take part, by position (constraints, for a constraint model).
    """

    parts: tuple[ConflictPart, ...]
    minimal: bool
    needs_integers: bool
    method: str
    proof: str
    num_solves: int = 0
    rows: tuple[int, ...] = ()
    bounds: tuple[int, ...] = ()

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that take part."""
        return tuple(part.group for part in self.parts)

    @property
    def num_members(self) -> int:
        """How many rows and bounds take part."""
        return sum(len(part.members) for part in self.parts)

    def __str__(self) -> str:
        whole = ", as long as variables must be whole" if self.needs_integers else ""
        head = f"These cannot hold together{whole}:"
        size = (
            "None of them can be left out."
            if self.minimal
            else "There may be a smaller conflict among them: the time was up before that was known."
        )
        return "\n".join([head, *map(str, self.parts), f"{size} Found by {self.method}; {self.proof}."])


@dataclass(frozen=True)
class Change:
    """Move one limit, ``"upper limit"``, ``"lower limit"`` or ``"value"``, by ``amount``: positive raises it."""

    group: str
    name: str
    side: str
    before: float
    amount: float

    def __str__(self) -> str:
        verb = "raise" if self.amount > 0 else "lower"
        span = f"{self.before:g} to {self.before + self.amount:g}"
        return f"{verb} {self.name} by {abs(self.amount):g} (its {self.side}, from {span})"


@dataclass(frozen=True)
class Relaxation:
    """Changes of limits that make a plan possible, and their weighted sum.

    ``cheapest`` means that a proof says there is nothing cheaper; ``confirmed`` that the changed program has a plan
    that passed the exact check within tolerance.
    """

    changes: tuple[Change, ...]
    cost: float
    cheapest: bool
    confirmed: bool
    weighted: bool = False

    def by_group(self) -> dict[str, float]:
        """The total amount of change in each group."""
        totals: dict[str, float] = {}
        for change in self.changes:
            totals[change.group] = totals.get(change.group, 0.0) + abs(change.amount)
        return totals

    def __str__(self) -> str:
        total = "weighted total" if self.weighted else "total"
        word = "The least change" if self.cheapest else "A change"
        head = f"{word} that makes a plan possible ({total} {self.cost:g}):"
        return "\n".join([head, *_listed(self.changes)])


@dataclass(frozen=True)
class Ray:
    """A direction in which the objective improves for ever: amounts by variable, for an improvement of 1."""

    amounts: tuple[tuple[str, float], ...]
    sense: str

    def __str__(self) -> str:
        word = "falls" if self.sense == "minimise" else "rises"
        moves = [f"{'raise' if amount > 0 else 'lower'} {name} by {abs(amount):g}" for name, amount in self.amounts]
        return "\n".join([f"The objective {word} by 1, again and again without end, if you", *_listed(moves)])


@dataclass(frozen=True)
class RowSensitivity:
    """What the limit of a row is worth: d objective / d limit, and the range of the limit in which that holds."""

    group: str
    name: str
    dual: float
    limit: float
    lower: float
    upper: float

    def __str__(self) -> str:
        return (
            f"one unit more of {self.name} (limit {self.limit:g}) changes the objective by {self.dual:+g}; "
            f"holds from {self.lower:g} to {self.upper:g}"
        )


@dataclass(frozen=True)
class ColumnSensitivity:
    """What a variable's cost may become before the plan changes, and its reduced cost."""

    name: str
    value: float
    cost: float
    cost_lower: float
    cost_upper: float
    reduced_cost: float

    def __str__(self) -> str:
        return (
            f"{self.name} = {self.value:g} stays while its cost of {self.cost:g} lies "
            f"in {self.cost_lower:g} to {self.cost_upper:g}"
        )


@dataclass(frozen=True)
class Sensitivity:
    """Duals and ranging of a linear program, largest dual first.

    ``integers_fixed`` says that they belong to the linear program that is left when the integers keep the values of the
    plan: they say nothing about other values of the integers.
    """

    rows: tuple[RowSensitivity, ...]
    columns: tuple[ColumnSensitivity, ...]
    objective: float
    integers_fixed: bool

    def __str__(self) -> str:
        kept = " with the integers kept at this plan" if self.integers_fixed else ""
        head = f"Around the optimum of {self.objective:g}{kept}:"
        lines = _listed(self.rows) + _listed(c for c in self.columns if c.value)
        return "\n".join([head, *lines] if lines else [head, "  no limit is worth anything"])


@dataclass(frozen=True)
class Explanation:
    """Everything that was found out about a problem; ``str`` tells it in sentences."""

    name: str
    diagnosis: Diagnosis
    findings: tuple[Finding, ...] = ()
    conflict: Conflict | None = None
    relaxation: Relaxation | None = None
    ray: Ray | None = None
    sensitivity: Sensitivity | None = None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        blocks = [f"{self.name} is {_WORDS[self.diagnosis]}."]
        if self.findings:
            blocks.append("\n".join(_listed(self.findings)))
        blocks += [str(part) for part in (self.conflict, self.relaxation, self.ray, self.sensitivity) if part]
        return "\n\n".join([*blocks, *self.notes])


_WORDS = {
    Diagnosis.INFEASIBLE: "infeasible: no plan keeps all its rules",
    Diagnosis.UNBOUNDED: "unbounded: there are plans as good as one likes",
    Diagnosis.SOLVABLE: "solvable as far as these checks go",
    Diagnosis.UNDECIDED: "undecided: it is not known whether there is a plan",
}


def _listed(things: Iterable[object]) -> list[str]:
    lines = [f"  {thing}" for thing in things]
    if len(lines) <= _MOST_LINES:
        return lines
    return [*lines[:_MOST_LINES], f"  and {len(lines) - _MOST_LINES} more"]
