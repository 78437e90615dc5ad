"""What one window knows that helps the next: the states that it planned for the hours ahead."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apportion.instances.commitment import Commitment, UnitCommitment
from apportion.instances.core import Instance
from apportion.solvers.advisor import Advice

DAY_H = 24


@dataclass(frozen=True, eq=False)
class Memory:
    """Advice for the window after one: what was planned for its hours, and for later ones what a day earlier had.

    Parameters
    ----------
    plan
        Of the window before.
    kept
        How many of its hours were carried out.
    """

    plan: Commitment
    kept: int

    def advise(self, instance: Instance) -> Advice:
        """A start of states alone: the method finds the output, or leaves the start out where there is none."""
        if not isinstance(instance, UnitCommitment) or instance.unit_names != self.plan.unit_names:
            return Advice()
        states = self.plan.committed[:, self.hours_before(instance.num_periods)]
        none = np.zeros(states.shape)
        renewable = np.zeros((len(instance.renewable), instance.num_periods))
        names = (instance.unit_names, instance.renewable_names)
        return Advice(start=Commitment(*names, states, none, none, renewable))

    def hours_before(self, periods: int) -> NDArray[np.int64]:
        """For each hour of the window at hand, the hour of the one before that tells most of it."""
        hours = self.kept + np.arange(periods)
        length = self.plan.num_periods
        days_back = -(-np.maximum(hours - length + 1, 0) // DAY_H)
        before: NDArray[np.int64] = np.clip(hours - days_back * DAY_H, 0, length - 1)
        return before
