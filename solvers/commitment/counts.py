"""The program in numbers of running units, and parts of it to search: what the best mix leaves open, what costs little.

A state that prices exclude by more than ``room`` costs at least bound plus ``room`` in every plan. So the program
without such states proves the lesser of its own bound and that: a small program closes a small gap, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

import numpy as np
from numpy.typing import NDArray

from apportion.instances.program import Floats, MixedIntegerProgram
from apportion.models.commitment.alike import Alike
from apportion.models.commitment.arrays import Formulation, formulate
from apportion.solvers.commitment.hull import Hull
from apportion.solvers.commitment.prices import UnitPricing

Ints = NDArray[np.int64]

_WHOLE = 1e-4
_SAFE = 1e-6


@dataclass(frozen=True, eq=False)
class Part:
    """A program with fewer states; ``reach`` is what plans with the states left out cost at least, -inf if unknown."""

    program: MixedIntegerProgram
    reach: float
    open_share: float


@dataclass(frozen=True, eq=False)
class Counted:
    """The program of an instance with units that are alike counted together, and with the cuts that prices found."""

    alike: Alike
    formulation: Formulation
    program: MixedIntegerProgram
    columns: Ints

    @classmethod
    def of(cls, alike: Alike, hull: Hull) -> Counted:
        """Write it."""
        formulation = formulate(alike.instance, alike.count)
        for k, cover in enumerate(hull.covers):
            weight = (formulation.commit * cover.on).sum() + (formulation.start * cover.start).sum()
            formulation.model.add_constraints(f"cover_{k}", weight >= cover.least - _SAFE * max(1.0, abs(cover.least)))
        program = formulation.model.compile()
        columns = formulation.model.split(np.arange(program.num_columns, dtype=np.float64))["commit"]
        return cls(alike, formulation, program, columns.astype(np.int64))

    def running(self, values: Floats) -> Ints:
        """Numbers of running units, shape (kinds, periods), of a solution."""
        numbers: Ints = np.rint(values[self.columns]).astype(np.int64)
        return numbers

    def near(self, hull: Hull, guard_h: int, values: Floats | None = None) -> Part:
        """Between the numbers that the best mix has within ``guard_h`` hours, rounded outwards."""
        hours = np.arange(hull.share.shape[1])
        around = [hull.share[:, np.clip(hours + shift, 0, hours[-1])] for shift in range(-guard_h, guard_h + 1)]
        lower = np.floor(np.min(around, axis=0) + _WHOLE)
        return self._part(lower, np.ceil(np.max(around, axis=0) - _WHOLE), -inf, values)

    def within(self, hull: Hull, loss: Floats, room: float, values: Floats | None = None) -> Part:
        """Without the states that cost more than ``room`` above the bound; ``loss`` has shape (2, kinds, periods)."""
        never_off, never_on = loss > room + _SAFE * abs(hull.bound)
        count = self.alike.count[:, None]
        lower, upper = np.where(never_off, count, 0.0), np.where(never_on, 0.0, count)
        return self._part(lower, upper, hull.bound + room, values)

    def _part(self, lower: Floats, upper: Floats, reach: float, values: Floats | None) -> Part:
        """The program with its numbers so bounded, and with those of ``values`` let in."""
        if values is not None:
            known = np.rint(values[self.columns])
            lower, upper = np.minimum(lower, known), np.maximum(upper, known)
        least, most = np.array(self.program.lower), np.array(self.program.upper)
        least[self.columns] = np.maximum(least[self.columns], lower)
        most[self.columns] = np.maximum(np.minimum(most[self.columns], upper), least[self.columns])
        share = float(np.mean(most[self.columns] > least[self.columns])) if self.columns.size else 0.0
        return Part(replace(self.program, lower=least, upper=most), reach, share)


def losses(pricing: UnitPricing, hull: Hull) -> Floats:
    """How much the bound rises when a unit is off, and when it is on, in an hour: shape (2, units, periods)."""
    answer = pricing.answer(hull.answer.prices, margins=True)
    return np.stack((answer.least_off, answer.least_on)) - answer.least[:, None]
