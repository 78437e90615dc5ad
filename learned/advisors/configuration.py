"""Advice on which solver and which of its settings: what was fastest on the programs most like this one.

Exact by nature: every configuration proves the same bound, only sooner or later. A program unlike all that were raced
gets no advice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np

from apportion.instances.core import Instance
from apportion.instances.errors import Fault, InstanceError
from apportion.instances.program import MixedIntegerProgram
from apportion.learned.configurations import CONFIGURATIONS, FEATURES, able, features_of
from apportion.learned.graphs import Floats
from apportion.learned.store import Trained
from apportion.solvers.advisor import Advice

NEIGHBOURS = 5
_FAR = 3.0
_LEAST_SPREAD = 0.1
_MEMBERS = ("features", "seconds")


class ConfigurationAdvisor:
    """The configuration with the least geometric mean of CPU seconds over the nearest raced programs.

    Parameters
    ----------
    names
        The configurations that were raced.
    features
        Shape (programs, len(FEATURES)).
    seconds
        Shape (programs, len(names)): CPU seconds, or the cap of a run that was stopped there.
    gain
        The share of the default's time that a configuration must save to be advised.
    """

    def __init__(self, names: tuple[str, ...], features: Floats, seconds: Floats, gain: float = 0.1) -> None:
        self.names, self.gain = names, gain
        self._features, self._logs = features, np.log(np.maximum(seconds, 1e-3))
        self._centre = features.mean(0)
        self._scale = np.maximum(features.std(0), _LEAST_SPREAD)

    @classmethod
    def of(cls, trained: Trained, source: str) -> Self:
        """From weights in memory.

        Raises
        ------
        InstanceError
            When they do not fit together or name a configuration that is not there.
        """
        arrays, settings = trained.arrays, trained.card.settings
        faults = [Fault(name, "is missing") for name in _MEMBERS if name not in arrays]
        raced = settings.get("configurations")
        names = tuple(raced) if isinstance(raced, list) else ()
        faults += [Fault("configurations", f"{name!r} is not known") for name in names if name not in CONFIGURATIONS]
        if faults or not names or names[0] != "highs":
            raise InstanceError(source, faults or [Fault("configurations", "must begin with highs")])
        features, seconds = (np.asarray(arrays[name], np.float64) for name in _MEMBERS)
        fits = features.ndim == 2 and features.shape[1] == len(FEATURES) and len(features) > 0
        if not fits or seconds.shape != (len(features), len(names)):
            raise InstanceError(source, [Fault("features", f"{features.shape} and seconds {seconds.shape} do not fit")])
        if not (np.isfinite(features).all() and np.isfinite(seconds).all() and (seconds >= 0.0).all()):
            raise InstanceError(source, [Fault("seconds", "must be finite and at least 0")])
        return cls(names, features, seconds)

    def expected(self, program: MixedIntegerProgram) -> Mapping[str, float] | None:
        """The CPU seconds to expect of each configuration that can run; None for a program unlike all raced ones."""
        distances = np.linalg.norm((self._features - features_of(program)) / self._scale, axis=1)
        near = np.argsort(distances, kind="stable")[:NEIGHBOURS]
        if distances[near[0]] > _FAR:
            return None
        means = np.exp(self._logs[near].mean(0))
        runs = able(program)
        return {name: float(value) for name, value in zip(self.names, means, strict=True) if name in runs}

    def advise(self, instance: Instance) -> Advice:
        """See :class:`~apportion.solvers.advisor.Advisor`."""
        if not isinstance(instance, MixedIntegerProgram):
            return Advice()
        expected = self.expected(instance)
        if not expected:
            return Advice()
        best = min(expected, key=lambda name: expected[name])
        default = expected.get("highs")
        if default is not None and expected[best] > (1.0 - self.gain) * default:
            return Advice()
        return Advice(options=CONFIGURATIONS[best])
