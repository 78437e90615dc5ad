"""Units that are alike count as one: fewer variables, and no symmetry for a search to run through.

Knueven, Ostrowski and Watson, "Exploiting identical generators in unit commitment", IEEE Trans. Power Syst. 33(4),
2018. Numbers of running units come apart into schedules of single units with the same minimum times; outputs may not,
where ramps bind, so that the model of counts is a relaxation.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from apportion.instances.commitment import ThermalUnit, UnitCommitment

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Alike:
    """The kinds of units of an instance.

    ``instance`` has one thermal unit of each kind; ``count``, shape (kinds,), says how many there are, and ``members``
    which, by their positions in the original.
    """

    instance: UnitCommitment
    count: Floats
    members: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, instance: UnitCommitment) -> Alike:
        """Sort the units into kinds: the same numbers, and an initial state that leaves the same choices.

        Examples
        --------
        >>> from apportion.instances.generate.commitment import generate_commitment
        >>> day = generate_commitment(seed=1, units=3, periods=6)
        >>> twice = [replace(unit, name=unit.name + name) for unit in day.thermal for name in ("a", "b")]
        >>> Alike.of(replace(day, thermal=tuple(twice))).count.tolist()
        [2.0, 2.0, 2.0]
        """
        kinds: dict[ThermalUnit, list[int]] = {}
        for g, unit in enumerate(instance.thermal):
            kinds.setdefault(_nameless(unit), []).append(g)
        members = tuple(tuple(units) for units in kinds.values())
        first = tuple(instance.thermal[units[0]] for units in members)
        count = np.array([len(units) for units in members], dtype=np.float64)
        return cls(replace(instance, thermal=first), count, members)

    def counted(self, committed: Bools) -> Floats:
        """How many of each kind run, shape (kinds, periods), from the states of all units."""
        rows = [committed[list(units)].sum(axis=0) for units in self.members]
        return np.array(rows, dtype=np.float64).reshape(len(rows), committed.shape[1])

    def spread(self, running: Ints) -> Bools | None:
        """States of all units, shape (units, periods), of which ``running``, shape (kinds, periods), run.

        The unit that has been on longest stops first; of those that may start, the one that has been off least, whose
        start is the cheapest. None when minimum times leave no choice.
        """
        states = np.zeros((sum(map(len, self.members)), running.shape[1]), np.bool_)
        for unit, members, wanted in zip(self.instance.thermal, self.members, running.tolist(), strict=True):
            schedule = _schedules(unit, len(members), wanted)
            if schedule is None:
                return None
            states[list(members)] = schedule
        return states


def _nameless(unit: ThermalUnit) -> ThermalUnit:
    """The unit without its name, and without the part of its past that no rule looks at."""
    if unit.initially_on:
        return replace(unit, name="", initial_up_h=min(unit.initial_up_h, unit.min_up_h), initial_down_h=0)
    longest = max(unit.min_down_h, *(category.lag_h for category in unit.startup))
    return replace(unit, name="", initial_up_h=0, initial_down_h=min(unit.initial_down_h, longest))


def _schedules(unit: ThermalUnit, count: int, wanted: list[int]) -> Bools | None:
    """States of ``count`` such units, ``wanted[t]`` of them on; queues hold who is on and off since when."""
    states = np.zeros((count, len(wanted)), np.bool_)
    on: deque[tuple[int, int]] = deque()
    off: deque[tuple[int, int]] = deque()
    everyone = [(-unit.initial_up_h if unit.initially_on else -unit.initial_down_h, k) for k in range(count)]
    (on if unit.initially_on else off).extend(everyone)
    for t, number in enumerate(wanted):
        while len(on) > number:
            since, k = on.popleft()
            if t - since < unit.min_up_h:
                return None
            off.append((t, k))
        while len(on) < number:
            ready = [i for i, (since, _) in enumerate(off) if t - since >= max(unit.min_down_h, 1)]
            if not ready:
                return None
            _, k = off[ready[-1]]
            del off[ready[-1]]
            on.append((t, k))
        for _, k in on:
            states[k, t] = True
    return states
