"""Which neighbourhood comes next, and how large it is: both learned while the search runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

_DECAY = 0.7
_LEAST_WEIGHT = 0.15
_LEAST_HOPE = 0.5
_FIRST_SHARE = 0.15
_LEAST_SHARE = 0.01
_WIDER = 1.3
_MUCH_WIDER = 1.8
_LITTLE = 0.4
_NARROWER = 0.6


@dataclass
class Arm:
    """What is known of one choice: ``reward`` is a decaying mean of improvement per CPU second."""

    name: str
    reward: float = 0.0
    tries: int = 0
    wins: int = 0
    ends: int = 0
    share: float = _FIRST_SHARE
    spent: float = field(default=0.0)


class Bandit:
    """Draws arms in proportion to their reward; arms not tried yet come first, in order.

    A floor keeps all of them in play. It falls to half with the tries that brought nothing.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.arms = [Arm(name) for name in names]

    def draw(self, rng: np.random.Generator) -> int:
        """The index of the next arm."""
        untried = [index for index, arm in enumerate(self.arms) if not arm.tries]
        if untried:
            return untried[0]
        rewards = np.array([arm.reward for arm in self.arms])
        best = float(rewards.max())
        hope = np.array(
            [max(_LEAST_HOPE, 2.0 * (arm.wins + 0.5 * arm.ends + 1) / (arm.tries + 2)) for arm in self.arms]
        )
        weights = _LEAST_WEIGHT * hope + (rewards / best if best > 0.0 else np.zeros(len(rewards)))
        return int(rng.choice(len(weights), p=weights / weights.sum()))

    def learn(self, index: int, improvement: float, spent: float, *, ended: bool = False) -> None:
        """Reward arm ``index``: ``improvement`` (at least 0) for ``spent`` seconds or other units of work.

        ``ended`` says that a program was solved to its end, which raises the floor of the arm as half a win does.
        """
        arm = self.arms[index]
        rate = improvement / max(spent, 1e-3)
        arm.reward = rate if not arm.tries else _DECAY * arm.reward + (1.0 - _DECAY) * rate
        arm.tries += 1
        arm.wins += improvement > 0.0
        arm.ends += ended
        arm.spent += spent


def inherit(arm: Arm, others: Sequence[Arm]) -> None:
    """Let an arm that was never tried begin at the middle of the sizes that the others have learned."""
    learned = [other.share for other in others if other.tries]
    if not arm.tries and learned:
        arm.share = float(np.exp(np.mean(np.log(learned))))


def resize(arm: Arm, *, finished: bool, improved: bool, effort: float = 1.0) -> None:
    """Free more when the program was solved to its end, much more at little ``effort``; fewer when it was too hard.

    ``effort`` is the share of its limit that the program used.
    """
    if finished:
        arm.share = min(1.0, arm.share * (_MUCH_WIDER if effort < _LITTLE else _WIDER))
    elif not improved:
        arm.share = max(_LEAST_SHARE, arm.share * _NARROWER)
