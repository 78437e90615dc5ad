"""Admittances of the branches in per unit, and the incidence of branches and buses over all periods.

Sources: MATPOWER User's Manual, section 3 (branch model); Coffrin et al., "PowerModels.jl: an open-source framework for
exploring power flow formulations", PSCC 2018 (DC convention).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from apportion.instances.power_flow import FULL_CIRCLE_DEG, OptimalPowerFlow
from apportion.instances.power_plan import Physics

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Admittance:
    """The four blocks of each branch's admittance matrix, ``S_f = conj(Yff) |Vf|^2 + conj(Yft) Vf conj(Vt)``.

    Real (``g``) and imaginary (``b``) parts, shape (branches,).
    """

    g_ff: Floats
    b_ff: Floats
    g_ft: Floats
    b_ft: Floats
    g_tf: Floats
    b_tf: Floats
    g_tt: Floats
    b_tt: Floats

    @classmethod
    def of(cls, instance: OptimalPowerFlow) -> Admittance:
        """Write them for ``instance``."""
        branches = instance.branches
        series = 1.0 / (branches.resistance + 1j * branches.reactance)
        shunt = 0.5j * branches.charging
        tap = branches.tap * np.exp(1j * np.deg2rad(branches.shift_deg))
        blocks = (
            (series + shunt) / np.abs(tap) ** 2,
            -series / np.conj(tap),
            -series / tap,
            series + shunt,
        )
        return cls(*(part for block in blocks for part in (block.real.copy(), block.imag.copy())))


@dataclass(frozen=True, eq=False)
class Susceptance:
    """The linear model of each branch: flow in per unit is ``b (angle_f - angle_t - shift)``, shape (branches,)."""

    b: Floats
    shift: Floats

    @classmethod
    def of(cls, instance: OptimalPowerFlow, physics: Physics) -> Susceptance:
        """In the convention of ``physics``, one of the two DC ones."""
        branches = instance.branches
        if physics is Physics.DC_MATPOWER:
            return cls(1.0 / (branches.reactance * branches.tap), np.deg2rad(branches.shift_deg))
        squared = branches.resistance**2 + branches.reactance**2
        return cls(branches.reactance / squared, np.zeros(len(branches)))


def angle_limits(instance: OptimalPowerFlow) -> tuple[Floats, Floats]:
    """Least and most angle difference of each branch in radians, infinite where there is none."""
    branches = instance.branches
    low = np.where(branches.angle_min_deg <= -FULL_CIRCLE_DEG, -np.inf, np.deg2rad(branches.angle_min_deg))
    high = np.where(branches.angle_max_deg >= FULL_CIRCLE_DEG, np.inf, np.deg2rad(branches.angle_max_deg))
    return low, high


def incidence(instance: OptimalPowerFlow) -> sparse.csr_array:
    """+1 at the ``from`` bus and -1 at the ``to`` bus of each branch, shape (branches, buses)."""
    branches = instance.branches
    count = len(branches)
    row = np.concatenate((np.arange(count), np.arange(count)))
    column = np.concatenate((branches.from_bus, branches.to_bus))
    value = np.concatenate((np.ones(count), -np.ones(count)))
    return sparse.csr_array((value, (row, column)), shape=(count, len(instance.buses)))


def over_periods(matrix: sparse.csr_array, periods: int) -> sparse.csr_array:
    """The same matrix once for each period, down the diagonal."""
    return sparse.csr_array(sparse.kron(sparse.eye_array(periods), matrix, format="csr"))
