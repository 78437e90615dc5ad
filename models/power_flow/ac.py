"""AC optimal power flow in polar and in rectangular coordinates, per unit, for all periods at once.

Flows are written in the voltages, so that the only equations are Kirchhoff's: two per bus and period. Sources: Cain,
O'Neill and Castillo, "History of optimal power flow and formulations", FERC 2012; Zimmerman, Murillo-Sánchez and
Thomas, "MATPOWER", IEEE Trans. Power Syst. 26(1), 2011.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from apportion.instances.power_flow import OptimalPowerFlow
from apportion.instances.power_plan import Physics, PowerFlowPlan
from apportion.models.power_flow.devices import Devices
from apportion.models.power_flow.network import Admittance, angle_limits
from apportion.models.power_flow.nonlinear import Elements, Families, Matrix, NonlinearProgram, casadi, scattered

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_RIGHT_ANGLE = 0.5 * np.pi - 1e-6


@dataclass(frozen=True, eq=False)
class AcFlow:
    """The nonlinear program of an instance. Columns: two per bus and period, devices ``z / base``, reactive outputs."""

    instance: OptimalPowerFlow
    devices: Devices
    program: NonlinearProgram
    rectangular: bool

    def _parts(self, values: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        shape = self.instance.num_periods, len(self.instance.buses)
        size = shape[0] * shape[1]
        first, second = values[:size].reshape(shape), values[size : 2 * size].reshape(shape)
        z = values[2 * size : 2 * size + self.devices.size] * self.instance.base_mva
        reactive = values[2 * size + self.devices.size :] * self.instance.base_mva
        if self.rectangular:
            return np.hypot(first, second), np.arctan2(second, first), z, reactive
        return second, first, z, reactive

    def decode(self, values: Floats, row_duals: Floats | None = None) -> PowerFlowPlan:
        """The plan of column values, clipped to their limits by the last digits that the solver left."""
        instance, program = self.instance, self.program
        periods = instance.num_periods
        voltage, angle, z, reactive = self._parts(np.clip(values, program.lower, program.upper))
        z = np.clip(z, self.devices.lower, self.devices.upper)
        parts = {name: z[where].reshape(periods, -1) for name, where in self.devices.slices.items()}
        generators = instance.generators
        limits = generators.reactive_min_mvar, generators.reactive_max_mvar
        price = np.full(voltage.shape, np.nan)
        if row_duals is not None:
            duals = row_duals[program.families["active balance"]].reshape(voltage.shape)
            price = -duals / (instance.base_mva * instance.period_h)
        return PowerFlowPlan(
            Physics.AC,
            instance.buses.names,
            generators.names,
            instance.storage.names,
            power_mw=parts["power"],
            reactive_mvar=np.clip(reactive.reshape(periods, -1), *limits),
            voltage=np.clip(voltage, instance.buses.voltage_min, instance.buses.voltage_max),
            angle_deg=np.rad2deg(angle),
            charge_mw=parts["charge"],
            discharge_mw=parts["discharge"],
            energy_mwh=parts["energy"],
            price_mwh=price,
        )

    def encode(self, plan: PowerFlowPlan) -> Floats:
        """Column values to begin with, from a plan of any physics."""
        plan = plan.aligned_to(self.instance)
        return self.start(
            np.asarray(plan.voltage), np.deg2rad(plan.angle_deg), self._devices_of(plan), plan.reactive_mvar
        )

    def _devices_of(self, plan: PowerFlowPlan) -> Floats:
        z = 0.5 * (self.devices.lower + self.devices.upper)
        tables = {
            "power": plan.power_mw,
            "charge": plan.charge_mw,
            "discharge": plan.discharge_mw,
            "energy": plan.energy_mwh,
        }
        for name, table in tables.items():
            z[self.devices.slices[name]] = table.ravel()
        return z

    def start(self, voltage: Floats, angle: Floats, z: Floats, reactive: Floats) -> Floats:
        """Column values from voltages (periods, buses), angles in radians, devices in MW and MVAr."""
        pair = (angle, voltage)
        if self.rectangular:
            pair = (voltage * np.cos(angle), voltage * np.sin(angle))
        base = self.instance.base_mva
        values = np.concatenate([pair[0].ravel(), pair[1].ravel(), z / base, np.ravel(reactive) / base])
        return np.asarray(np.clip(values, self.program.lower, self.program.upper))

    def flat_start(self) -> Floats:
        """All voltages 1 at angle 0, every device in the middle of its range."""
        shape = self.instance.num_periods, len(self.instance.buses)
        generators = self.instance.generators
        middle = 0.5 * (generators.reactive_min_mvar + generators.reactive_max_mvar)
        z = 0.5 * (self.devices.lower + self.devices.upper)
        return self.start(np.ones(shape), np.zeros(shape), z, np.tile(middle, (shape[0], 1)))


def formulate_ac(instance: OptimalPowerFlow, rectangular: bool = False, directions: Ints | None = None) -> AcFlow:
    """Write AC optimal power flow.

    Parameters
    ----------
    instance
        The data.
    rectangular
        Whether voltages are written by real and imaginary parts, not by angle and magnitude.
    directions
        See :meth:`~apportion.models.power_flow.devices.Devices.of`.
    """
    devices = Devices.of(instance, directions)
    columns = Columns.of(instance, devices, state=2)
    families = Families(columns.size)
    add_balance(families, instance, devices, columns)
    add_ratings(families, instance)
    _add_angles(families, instance, columns, rectangular)
    if rectangular:
        buses, periods = instance.buses, instance.num_periods
        families.add("voltage", np.tile(buses.voltage_min**2, periods), np.tile(buses.voltage_max**2, periods))
    add_devices(families, instance, devices, columns)
    matrix, row_lower, row_upper = families.finished()
    lower, upper = _limits(instance, devices, rectangular)
    linear, quadratic = columns.cost(devices, instance.base_mva)
    program = NonlinearProgram(
        lower,
        upper,
        devices.constant,
        linear,
        quadratic,
        matrix,
        row_lower,
        row_upper,
        (_branch_elements(families, instance, rectangular), _bus_elements(families, instance, rectangular)),
        families.slices,
    )
    return AcFlow(instance, devices, program, rectangular)


@dataclass(frozen=True)
class Columns:
    """Where the columns of a per-unit program lie: the network's state, the devices, the reactive outputs."""

    state: int
    devices: int
    reactive: int

    @classmethod
    def of(cls, instance: OptimalPowerFlow, devices: Devices, state: int, more: int = 0) -> Columns:
        """With ``state`` columns for each bus and ``more`` for the branches, by period."""
        periods = instance.num_periods
        network = periods * (state * len(instance.buses) + more)
        return cls(network, devices.size, periods * len(instance.generators))

    @property
    def size(self) -> int:
        """How many there are."""
        return self.state + self.devices + self.reactive

    def placed(self, matrix: Matrix, part: str) -> Matrix:
        """``matrix`` over the ``devices`` or the ``reactive`` columns, as one over all columns."""
        entries = sparse.coo_array(matrix)
        first = self.state if part == "devices" else self.state + self.devices
        return Matrix((entries.data, (entries.row, entries.col + first)), shape=(matrix.shape[0], self.size))

    def cost(self, devices: Devices, base: float) -> tuple[Floats, Floats]:
        """Linear and quadratic cost of all columns."""
        linear, quadratic = np.zeros(self.size), np.zeros(self.size)
        where = slice(self.state, self.state + self.devices)
        linear[where], quadratic[where] = base * devices.linear, base**2 * devices.quadratic
        return linear, quadratic


def _limits(instance: OptimalPowerFlow, devices: Devices, rectangular: bool) -> tuple[Floats, Floats]:
    buses, periods, base = instance.buses, instance.num_periods, instance.base_mva
    at_reference = np.tile(buses.reference, periods)
    low, high = np.tile(buses.voltage_min, periods), np.tile(buses.voltage_max, periods)
    if rectangular:
        first = np.where(at_reference, low, -high), high
        second = np.where(at_reference, 0.0, -high), np.where(at_reference, 0.0, high)
    else:
        first = np.where(at_reference, 0.0, -np.inf), np.where(at_reference, 0.0, np.inf)
        second = low, high
    reactive = reactive_limits(instance)
    return tuple(  # type: ignore[return-value]
        np.concatenate([first[k], second[k], (devices.lower, devices.upper)[k] / base, reactive[k]]) for k in (0, 1)
    )


def reactive_limits(instance: OptimalPowerFlow) -> tuple[Floats, Floats]:
    """Least and most reactive output of each generator by period, per unit, flat."""
    generators, scale = instance.generators, instance.base_mva
    sides = generators.reactive_min_mvar / scale, generators.reactive_max_mvar / scale
    return np.tile(sides[0], instance.num_periods), np.tile(sides[1], instance.num_periods)


def add_balance(families: Families, instance: OptimalPowerFlow, devices: Devices, columns: Columns) -> None:
    """Power given to each bus equals its load and what its shunt and branches take; the elements add the latter."""
    at, buses, periods = instance.generators.bus, len(instance.buses), instance.num_periods
    bus = (np.arange(periods)[:, None] * buses + at).ravel()
    reactive = Matrix((np.ones(len(bus)), (bus, np.arange(len(bus)))), shape=(periods * buses, len(bus)))
    active_side, reactive_side = (load.ravel() / instance.base_mva for load in (instance.load_mw, instance.load_mvar))
    families.add("active balance", active_side, active_side, columns.placed(devices.injection, "devices"))
    families.add("reactive balance", reactive_side, reactive_side, columns.placed(reactive, "reactive"))


def add_devices(families: Families, instance: OptimalPowerFlow, devices: Devices, columns: Columns) -> None:
    """Storage balances, cost curves and ramps."""
    sides = devices.row_lower / instance.base_mva, devices.row_upper / instance.base_mva
    families.add("devices", *sides, columns.placed(devices.rows, "devices"))


def rated_branches(instance: OptimalPowerFlow) -> tuple[Ints, Floats]:
    """The branches by period that have a rate, and its square per unit."""
    rate = np.tile(instance.branches.rate_mva / instance.base_mva, instance.num_periods)
    rated = np.flatnonzero(np.isfinite(rate))
    return rated, rate[rated] ** 2


def add_ratings(families: Families, instance: OptimalPowerFlow) -> None:
    """Apparent power at both ends of each branch that has a rate, squared."""
    rated, most = rated_branches(instance)
    for name in ("rating from", "rating to"):
        families.add(name, np.full(len(rated), -np.inf), most)


def _add_angles(families: Families, instance: OptimalPowerFlow, columns: Columns, rectangular: bool) -> None:
    """Angle differences within their limits: linear in polar coordinates, by tangents in rectangular ones."""
    low, high = (np.tile(side, instance.num_periods) for side in angle_limits(instance))
    limited, narrow = _limited(instance)
    if not rectangular:
        f, t = bus_ends(instance)
        row, one = np.arange(len(limited)), np.ones(len(limited))
        entries = (np.concatenate((one, -one)), (np.tile(row, 2), np.concatenate((f[limited], t[limited]))))
        families.add("angle", low[limited], high[limited], Matrix(entries, shape=(len(limited), columns.size)))
        return
    near, wide = limited[narrow], limited[~narrow]
    nothing, free = np.zeros(len(near)), np.full(len(near), np.inf)
    families.add("angle above", nothing, free)
    families.add("angle below", nothing, free)
    families.add("angle wide", low[wide], high[wide])


def _limited(instance: OptimalPowerFlow) -> tuple[Ints, Bools]:
    """Branches by period with angle limits, and which of those lie within a right angle."""
    low, high = (np.tile(side, instance.num_periods) for side in angle_limits(instance))
    limited = np.flatnonzero(np.isfinite(low) | np.isfinite(high))
    return limited, (low[limited] > -_RIGHT_ANGLE) & (high[limited] < _RIGHT_ANGLE)


def bus_ends(instance: OptimalPowerFlow) -> tuple[Ints, Ints]:
    """The two ends of each branch by period among the buses by period."""
    offset = np.arange(instance.num_periods)[:, None] * len(instance.buses)
    return (offset + instance.branches.from_bus).ravel(), (offset + instance.branches.to_bus).ravel()


ADMITTANCES = ("g_ff", "b_ff", "g_ft", "b_ft", "g_tf", "b_tf", "g_tt", "b_tt")


def sent(square_f: Any, square_t: Any, cosine: Any, sine: Any, admittance: list[Any]) -> tuple[Any, Any, Any, Any]:
    """Active and reactive power that enters a branch at both ends, from squares and products of its voltages."""
    g_ff, b_ff, g_ft, b_ft, g_tf, b_tf, g_tt, b_tt = admittance
    p_f = g_ff * square_f + g_ft * cosine + b_ft * sine
    q_f = -b_ff * square_f - b_ft * cosine + g_ft * sine
    p_t = g_tt * square_t + g_tf * cosine - b_tf * sine
    q_t = -b_tt * square_t - b_tf * cosine - g_tf * sine
    return p_f, q_f, p_t, q_t


def _polar_branch(columns: list[Any], parameters: list[Any]) -> list[Any]:
    ca = casadi()
    angle_f, angle_t, f, t = columns
    cosine, sine = f * t * ca.cos(angle_f - angle_t), f * t * ca.sin(angle_f - angle_t)
    p_f, q_f, p_t, q_t = sent(f**2, t**2, cosine, sine, parameters[:8])
    return [p_f, q_f, p_t, q_t, p_f**2 + q_f**2, p_t**2 + q_t**2]


def _rectangular_branch(columns: list[Any], parameters: list[Any]) -> list[Any]:
    ca = casadi()
    real_f, real_t, imaginary_f, imaginary_t = columns
    cosine, sine = real_f * real_t + imaginary_f * imaginary_t, imaginary_f * real_t - real_f * imaginary_t
    p_f, q_f, p_t, q_t = sent(real_f**2 + imaginary_f**2, real_t**2 + imaginary_t**2, cosine, sine, parameters[:8])
    least, most = parameters[8:]
    angles = [sine - least * cosine, most * cosine - sine, ca.atan2(sine, cosine)]
    return [p_f, q_f, p_t, q_t, p_f**2 + q_f**2, p_t**2 + q_t**2, *angles]


def balance_places(families: Families, instance: OptimalPowerFlow) -> list[tuple[int, Ints, Ints, Floats]]:
    """Where the first four outputs of the branches enter the balances, and the next two the ratings."""
    f, t = bus_ends(instance)
    every, take = np.arange(len(f)), -np.ones(len(f))
    active, reactive = families.slices["active balance"].start, families.slices["reactive balance"].start
    rated, one = rated_branches(instance)[0], np.ones(len(rated_branches(instance)[0]))
    ratings = [families.slices[name].start + np.arange(len(rated)) for name in ("rating from", "rating to")]
    return [
        (0, every, active + f, take),
        (1, every, reactive + f, take),
        (2, every, active + t, take),
        (3, every, reactive + t, take),
        (4, rated, ratings[0], one),
        (5, rated, ratings[1], one),
    ]


def admittance_parameters(instance: OptimalPowerFlow) -> Floats:
    """The admittances of the branches by period, shape (8, branches by period)."""
    admittance = Admittance.of(instance)
    return np.array([np.tile(getattr(admittance, name), instance.num_periods) for name in ADMITTANCES])


def _branch_elements(families: Families, instance: OptimalPowerFlow, rectangular: bool) -> Elements:
    f, t = bus_ends(instance)
    size = instance.num_periods * len(instance.buses)
    columns = np.array([f, t, size + f, size + t])
    places, parameters = balance_places(families, instance), admittance_parameters(instance)
    if not rectangular:
        return Elements(_polar_branch, columns, parameters, scattered(families.height, len(f), 6, places))
    limited, narrow = _limited(instance)
    near, wide = limited[narrow], limited[~narrow]
    for output, name, chosen in ((6, "angle above", near), (7, "angle below", near), (8, "angle wide", wide)):
        rows = families.slices[name].start + np.arange(len(chosen))
        places.append((output, chosen, rows, np.ones(len(chosen))))
    tangents = np.zeros((2, len(f)))
    sides = [np.tile(side, instance.num_periods) for side in angle_limits(instance)]
    tangents[:, near] = np.tan([side[near] for side in sides])
    scatter = scattered(families.height, len(f), 9, places)
    return Elements(_rectangular_branch, columns, np.vstack([parameters, tangents]), scatter)


def _bus_elements(families: Families, instance: OptimalPowerFlow, rectangular: bool) -> Elements:
    """The squares of the voltages, which shunts take and, in rectangular coordinates, limits hold."""
    size = instance.num_periods * len(instance.buses)
    every, buses = np.arange(size), instance.buses
    active, reactive = families.slices["active balance"].start, families.slices["reactive balance"].start
    taken = np.tile(buses.shunt_mw, instance.num_periods) / instance.base_mva
    given = np.tile(buses.shunt_mvar, instance.num_periods) / instance.base_mva
    places = [(0, every, active + every, -taken), (0, every, reactive + every, given)]
    if not rectangular:
        chosen = np.flatnonzero((taken != 0.0) | (given != 0.0))
        chosen = chosen if len(chosen) else every[:1]
        places = [
            (0, np.arange(len(chosen)), active + chosen, -taken[chosen]),
            (0, np.arange(len(chosen)), reactive + chosen, given[chosen]),
        ]
        scatter = scattered(families.height, len(chosen), 1, places)
        return Elements(lambda v, _: [v[0] ** 2], size + chosen[None, :], np.zeros((0, len(chosen))), scatter)
    places.append((0, every, families.slices["voltage"].start + every, np.ones(size)))
    scatter = scattered(families.height, size, 1, places)
    columns = np.array([every, size + every])
    return Elements(lambda v, _: [v[0] ** 2 + v[1] ** 2], columns, np.zeros((0, size)), scatter)
