"""What is connected to the buses, as one block of linear rows: every physics shares it.

Columns ``z``: output of each generator (MW), charge, discharge (MW) and energy (MWh) of each storage unit, and a cost
per hour for each generator with a piecewise linear curve; each of them by period and then by device.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from apportion.instances.power_flow import OptimalPowerFlow

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Devices:
    """Bounds, cost and rows of the columns ``z``.

    Parameters
    ----------
    slices
        Where ``power``, ``charge``, ``discharge``, ``energy`` and ``cost`` lie in ``z``.
    lower, upper, linear, quadratic
        Shape (columns,): limits, and the cost ``linear z + quadratic z^2`` over the whole horizon.
    constant
        Cost that does not depend on ``z``.
    rows, row_lower, row_upper
        Storage balance, cost curves and ramps: ``row_lower <= rows z <= row_upper``.
    injection
        Power given to each bus (periods * buses, columns), in MW.
    """

    slices: dict[str, slice]
    lower: Floats
    upper: Floats
    linear: Floats
    quadratic: Floats
    constant: float
    rows: sparse.csr_array
    row_lower: Floats
    row_upper: Floats
    injection: sparse.csr_array

    @property
    def size(self) -> int:
        """How many columns there are."""
        return len(self.lower)

    @classmethod
    def of(cls, instance: OptimalPowerFlow, directions: Ints | None = None) -> Devices:
        """Write the devices of ``instance``.

        Parameters
        ----------
        instance
            The data.
        directions
            Shape (periods, storage units): 1 where a unit may only charge, -1 only discharge, 0 either.
        """
        generators, storage, hours = instance.generators, instance.storage, instance.period_h
        periods = instance.num_periods
        curved = np.flatnonzero([bool(curve) for curve in generators.curves])
        counts = {
            "power": len(generators),
            "charge": len(storage),
            "discharge": len(storage),
            "energy": len(storage),
            "cost": len(curved),
        }
        slices = _slices(counts, periods)
        size = slices["cost"].stop
        lower, upper = _bounds(instance, slices, curved, directions)
        linear, quadratic = np.zeros(size), np.zeros(size)
        linear[slices["power"]] = np.tile(hours * generators.cost_linear, periods)
        quadratic[slices["power"]] = np.tile(hours * generators.cost_quadratic, periods)
        linear[slices["cost"]] = hours
        parts = [_storage_rows(instance, slices), _curve_rows(instance, slices, curved), _ramp_rows(instance, slices)]
        return cls(
            slices,
            lower,
            upper,
            linear,
            quadratic,
            float(hours * periods * generators.cost_constant.sum()),
            sparse.csr_array(sparse.vstack([rows for rows, _, _ in parts])),
            np.concatenate([low for _, low, _ in parts]),
            np.concatenate([high for _, _, high in parts]),
            _injection(instance, slices),
        )


def _slices(counts: dict[str, int], periods: int) -> dict[str, slice]:
    slices, first = {}, 0
    for name, count in counts.items():
        slices[name] = slice(first, first + count * periods)
        first += count * periods
    return slices


def _bounds(
    instance: OptimalPowerFlow, slices: dict[str, slice], curved: Ints, directions: Ints | None
) -> tuple[Floats, Floats]:
    generators, storage, periods = instance.generators, instance.storage, instance.num_periods
    lower, upper = np.zeros(slices["cost"].stop), np.zeros(slices["cost"].stop)
    may = np.zeros((periods, len(storage)), np.int64) if directions is None else directions
    lower[slices["power"]] = np.tile(generators.power_min_mw, periods)
    upper[slices["power"]] = instance.most_mw.ravel()
    upper[slices["charge"]] = np.where(may >= 0, storage.charge_max_mw, 0.0).ravel()
    upper[slices["discharge"]] = np.where(may <= 0, storage.discharge_max_mw, 0.0).ravel()
    least = np.zeros((periods, 1)) + storage.energy_min_mwh
    least[-1] = np.maximum(least[-1], storage.final_min_mwh)
    lower[slices["energy"]] = least.ravel()
    upper[slices["energy"]] = np.tile(storage.energy_max_mwh, periods)
    for k, g in enumerate(curved):
        reach = curve_at(generators.curves[g], np.array([generators.power_min_mw[g], generators.power_max_mw[g]]))
        middle = [cost for power, cost in generators.curves[g] if lower[g] <= power <= generators.power_max_mw[g]]
        block = slice(slices["cost"].start + k, None, max(1, len(curved)))
        lower[block], upper[block] = min([*reach, *middle]), max([*reach, *middle])
    return lower, upper


def curve_at(curve: tuple[tuple[float, float], ...], power: Floats) -> Floats:
    """The convex piecewise linear cost at ``power``: the highest of its segments, prolonged at both ends."""
    points = np.array(curve)
    slopes = np.diff(points[:, 1]) / np.diff(points[:, 0])
    lines = points[:-1, 1] + slopes * (np.asarray(power)[..., None] - points[:-1, 0])
    return np.asarray(lines.max(axis=-1), np.float64)


Rows = tuple[sparse.csr_array, Floats, Floats]


def _rows(count: int, size: int, entries: list[tuple[Ints, Ints, Floats]], lower: Floats, upper: Floats) -> Rows:
    rows = np.concatenate([row for row, _, _ in entries]) if entries else np.zeros(0, np.int64)
    columns = np.concatenate([column for _, column, _ in entries]) if entries else np.zeros(0, np.int64)
    values = np.concatenate([value for _, _, value in entries]) if entries else np.zeros(0)
    return sparse.csr_array((values, (rows, columns)), shape=(count, size)), lower, upper


def _storage_rows(instance: OptimalPowerFlow, slices: dict[str, slice]) -> Rows:
    """Energy now is energy before, plus what was charged, minus what was drawn."""
    storage, periods, hours = instance.storage, instance.num_periods, instance.period_h
    units = len(storage)
    count = periods * units
    row = np.arange(count)
    entries = [
        (row, slices["energy"].start + row, np.ones(count)),
        (row[units:], slices["energy"].start + row[:-units] if units else row, -np.ones(count - units)),
        (row, slices["charge"].start + row, -hours * np.tile(storage.charge_efficiency, periods)),
        (row, slices["discharge"].start + row, hours * np.tile(1.0 / storage.discharge_efficiency, periods)),
    ]
    side = np.zeros(count)
    side[:units] = storage.initial_mwh
    return _rows(count, slices["cost"].stop, entries, side, side)


def _curve_rows(instance: OptimalPowerFlow, slices: dict[str, slice], curved: Ints) -> Rows:
    """The cost of a curve lies above each of its segments."""
    generators, periods = instance.generators, instance.num_periods
    entries, sides, count = [], [], 0
    for t in range(periods):
        for k, g in enumerate(curved):
            points = np.array(generators.curves[g])
            slopes = np.diff(points[:, 1]) / np.diff(points[:, 0])
            row = count + np.arange(len(slopes))
            cost = np.full(len(slopes), slices["cost"].start + t * len(curved) + k)
            power = np.full(len(slopes), slices["power"].start + t * len(generators) + g)
            entries += [(row, cost, np.ones(len(slopes))), (row, power, -slopes)]
            sides.append(points[:-1, 1] - slopes * points[:-1, 0])
            count += len(slopes)
    lower = np.concatenate(sides) if sides else np.zeros(0)
    return _rows(count, slices["cost"].stop, entries, lower, np.full(count, np.inf))


def _ramp_rows(instance: OptimalPowerFlow, slices: dict[str, slice]) -> Rows:
    """Output changes by no more than the ramp from one period to the next."""
    generators, steps = instance.generators, instance.num_periods - 1
    limited = np.flatnonzero(np.isfinite(generators.ramp_mw_h))
    count = steps * len(limited)
    row = np.arange(count)
    before = slices["power"].start + (np.arange(steps)[:, None] * len(generators) + limited).ravel()
    entries = [(row, before + len(generators), np.ones(count)), (row, before, -np.ones(count))]
    most = np.tile(instance.period_h * generators.ramp_mw_h[limited], steps)
    return _rows(count, slices["cost"].stop, entries, -most, most)


def _injection(instance: OptimalPowerFlow, slices: dict[str, slice]) -> sparse.csr_array:
    periods, buses = instance.num_periods, len(instance.buses)
    rows, columns, values = [], [], []
    kinds = (
        ("power", instance.generators.bus, 1.0),
        ("charge", instance.storage.bus, -1.0),
        ("discharge", instance.storage.bus, 1.0),
    )
    for name, bus, sign in kinds:
        count = slices[name].stop - slices[name].start
        rows.append((np.arange(periods)[:, None] * buses + bus).ravel())
        columns.append(slices[name].start + np.arange(count))
        values.append(np.full(count, sign))
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return sparse.csr_array(entries, shape=(periods * buses, slices["cost"].stop))
