"""Branching rules: most infeasible, random, pseudo-costs, full strong branching, reliability branching."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from apportion.instances.errors import OptionError
from apportion.solvers.branching.protocol import NO_LIMIT, BranchingRule, Node, ask, score, scores

_LEAST_ITERATIONS = 10
_MOST_ITERATIONS = 500
_CLEARLY = 1.0 + 1e-9


class MostInfeasible:
    """The column whose value is nearest to one half between two whole numbers; a poor rule, kept to compare with."""

    def choose(self, node: Node) -> int:
        """See :class:`BranchingRule`."""
        return int(np.argmin(np.abs(node.fractions - 0.5)))


class Random:
    """Any candidate, by a seeded generator."""

    def __init__(self, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)

    def choose(self, node: Node) -> int:
        """See :class:`BranchingRule`."""
        return int(self._random.integers(len(node.candidates)))


class PseudoCost:
    """The best product of estimated gains; nothing is probed."""

    def choose(self, node: Node) -> int:
        """See :class:`BranchingRule`."""
        return int(np.argmax(scores(*node.estimates())))


class FullStrong:
    """Solve the linear programs of both children of every candidate; choose the best product of gains.

    It stops early when neither child of a candidate holds anything better than the incumbent, and probes nothing when
    there is one candidate. ``scores`` has those of the last decision, minus infinity where none was computed.

    Parameters
    ----------
    probe_all
        Probe every candidate all the same, as a recording needs.
    """

    def __init__(self, *, probe_all: bool = False) -> None:
        self._all = probe_all
        self.scores = np.zeros(0)

    def choose(self, node: Node) -> int:
        """See :class:`BranchingRule`."""
        many = len(node.candidates)
        self.scores = np.full(many, -inf)
        if many == 1 and not self._all:
            return 0
        for position in range(many):
            probe = node.probe(position, NO_LIMIT)
            self.scores[position] = score(*node.gains(probe))
            if probe.down == probe.up == inf and not self._all:
                break
        return int(np.argmax(self.scores))


@dataclass
class Reliability:
    """Reliability branching on pseudo-costs (Achterberg, Koch and Martin 2005).

    Candidates come in the order of their estimated scores. Those with fewer than ``reliable`` observations in either
    direction are probed, with a limit on simplex iterations, until ``lookahead`` in a row have not improved on the
    best.

    Parameters
    ----------
    reliable
        Observations per direction from which on a pseudo-cost is believed.
    lookahead
        Probes in a row without a better score before the rule decides.
    most
        Probes per node.
    """

    reliable: int = 4
    lookahead: int = 8
    most: int = 100

    def choose(self, node: Node) -> int:
        """See :class:`BranchingRule`."""
        estimated = scores(*node.estimates())
        order = np.argsort(-estimated, kind="stable")
        known = node.counts.min(axis=1) >= self.reliable
        limit = int(np.clip(2 * node.mean_iterations, _LEAST_ITERATIONS, _MOST_ITERATIONS))
        best, best_score, idle, probes = int(order[0]), -inf, 0, 0
        for position in order.tolist():
            value = float(estimated[position])
            if not known[position] and probes < self.most and idle < self.lookahead:
                probe = node.probe(position, limit)
                probes += 1
                if probe.down == probe.up == inf:
                    return int(position)
                value = score(*node.gains(probe))
                idle += 1
            elif not known[position] and probes:
                continue
            if value > best_score * _CLEARLY or best_score == -inf:
                best, best_score, idle = int(position), value, 0
        return best


class First:
    """Branch on given columns as long as one of them is fractional, in their order; then leave it to another rule."""

    def __init__(self, columns: Sequence[int], rule: BranchingRule) -> None:
        self._rank = {int(column): rank for rank, column in enumerate(columns)}
        self._rule = rule

    def choose(self, node: Node) -> int:
        """See :class:`BranchingRule`."""
        ranks = [self._rank.get(column, len(self._rank)) for column in node.candidates.tolist()]
        best = min(range(len(ranks)), key=ranks.__getitem__)
        return best if ranks[best] < len(self._rank) else ask(self._rule, node)


RULES = ("reliability", "full-strong", "pseudo-cost", "most-infeasible", "random")
"""The names that :func:`rule_named` knows."""


def rule_named(name: str, seed: int = 0) -> BranchingRule:
    """A new rule called ``name``, one of :data:`RULES`.

    >>> rule_named("reliability")
    Reliability(reliable=4, lookahead=8, most=100)
    """
    if name == "random":
        return Random(seed)
    made: dict[str, type[Reliability | FullStrong | PseudoCost | MostInfeasible]] = {
        "reliability": Reliability,
        "full-strong": FullStrong,
        "pseudo-cost": PseudoCost,
        "most-infeasible": MostInfeasible,
    }
    if name not in made:
        raise OptionError(f"unknown branching rule {name!r}\nMaybe one of {', '.join(RULES)}")
    return made[name]()
