"""Advice on binary columns from a trained net: fix those whose value it is sure of."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np

from apportion.instances.core import Instance
from apportion.instances.errors import Fault, InstanceError
from apportion.instances.program import MixedIntegerProgram
from apportion.learned.advisors.simple import advice_of
from apportion.learned.calibration import Calibration
from apportion.learned.graphs import Floats, graph_of_problem, root_point
from apportion.learned.memory import Memory
from apportion.learned.nets import Net, Shape
from apportion.learned.store import Trained
from apportion.solvers.advisor import Advice
from apportion.solvers.heuristics.arrays import expressible, problem_of


class StartAdvisor:
    """A net that says which binaries are 1, on programs of the structure it was trained on or of any.

    Parameters
    ----------
    net, calibration
        From numbers to probabilities.
    confidence
        Fix a binary when the probability of its likelier value is at least this.
    memory
        Solved days of one structure; the net then advises on that structure alone. None: on any program.
    """

    def __init__(self, net: Net, calibration: Calibration, confidence: float, memory: Memory | None = None) -> None:
        self.net, self.calibration, self.confidence, self.memory = net, calibration, confidence, memory

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """From a file that ``apportion train`` wrote.

        Raises
        ------
        InstanceError
            When it is damaged, of another version or for another advisor.
        """
        return cls.of(Trained.load(path, "start"), str(path))

    @classmethod
    def of(cls, trained: Trained, source: str) -> Self:
        """From weights in memory."""
        settings = trained.card.settings
        try:
            shape = Shape(width=int(settings["width"]), attention=bool(settings["attention"]))
            confidence = float(settings["confidence"])
            calibration = Calibration.from_dict(dict(trained.card.calibration))
        except (KeyError, TypeError, ValueError) as error:
            raise InstanceError(source, [Fault("settings", f"cannot be read: {error}")]) from error
        if not 0.5 < confidence <= 1.0:
            raise InstanceError(source, [Fault("confidence", "must lie above 0.5 and at most 1", confidence)])
        remembered = {name: value for name, value in trained.arrays.items() if name.startswith("memory.")}
        weights = {name: value for name, value in trained.arrays.items() if name not in remembered}
        memory = Memory.stored(remembered, source) if remembered else None
        return cls(Net(shape, weights, source), calibration, confidence, memory)

    def advise(self, instance: Instance) -> Advice:
        """See :class:`~apportion.solvers.advisor.Advisor`; no advice on another structure."""
        if not isinstance(instance, MixedIntegerProgram) or not expressible(instance):
            return Advice()
        if self.memory is not None and not self.memory.knows(instance):
            return Advice()
        probabilities = self.probabilities(instance)
        if probabilities is None:
            return Advice()
        values = np.where(probabilities >= 0.5, 1.0, 0.0)
        certain = np.maximum(probabilities, 1.0 - probabilities)
        return advice_of(instance, values, np.where(_binaries(instance), certain, -1.0), self.confidence)

    def probabilities(self, program: MixedIntegerProgram) -> Floats | None:
        """Of the value 1, for each integer column; None when the relaxation has no optimum."""
        problem = problem_of(program)
        root = root_point(problem)
        if root is None:
            return None
        usual = self.memory.usual(program) if self.memory is not None else None
        logits = self.net.logits(graph_of_problem(problem, root, usual))
        return self.calibration.probabilities(logits[program.integer].astype(np.float64))


def _binaries(program: MixedIntegerProgram) -> np.ndarray:
    """Which of the integer columns are binary."""
    return np.asarray((program.lower[program.integer] == 0.0) & (program.upper[program.integer] == 1.0))
