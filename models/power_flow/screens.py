"""Islands and buses that no plan can serve, from the data alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from apportion.instances.power_flow import OptimalPowerFlow
from apportion.models.explaining import Finding
from apportion.models.verdict import TOLERANCE

Floats = NDArray[np.float64]


def screen_power_flow(instance: OptimalPowerFlow) -> tuple[Finding, ...]:
    """Islands whose load exceeds all that can be generated, and buses whose load exceeds what can reach them.

    Each finding is a proof that there is no plan, in DC and in AC; none does not mean that there is one. Islands count
    only where no branch has a negative resistance, which would be a source of power.
    """
    buses, count = instance.buses, len(instance.buses)
    # a shunt takes least at the lowest voltage, one that gives gives most at the highest
    voltage = np.where(buses.shunt_mw > 0.0, buses.voltage_min, buses.voltage_max)
    need = (
        instance.load_mw
        + np.where(buses.shunt_mw > 0.0, np.minimum(1.0, voltage**2), np.maximum(1.0, voltage**2)) * buses.shunt_mw
    )
    supply = np.zeros_like(need)
    np.add.at(supply.T, instance.generators.bus, instance.most_mw.T)
    np.add.at(supply.T, instance.storage.bus, instance.storage.discharge_max_mw[:, None])
    branches = instance.branches
    ends = (branches.from_bus, branches.to_bus)
    reach = np.asarray(sum(np.bincount(end, branches.rate_mva, count) for end in ends), np.float64)
    return (*_short_islands(instance, need, supply), *_short_buses(instance, need, supply, reach))


def _short_islands(instance: OptimalPowerFlow, need: Floats, supply: Floats) -> list[Finding]:
    if (instance.branches.resistance < 0.0).any():
        return []
    found = []
    for island in range(int(instance.islands.max()) + 1):
        members = instance.islands == island
        missing = (need - supply)[:, members].sum(axis=1)
        t = int(missing.argmax())
        wanted = float(need[t, members].sum())
        if missing[t] <= TOLERANCE * max(1.0, abs(wanted)):
            continue
        first = instance.buses.names[int(np.flatnonzero(members)[0])]
        text = (
            f"island {island + 1} ({int(members.sum())} buses, with bus {first}) needs {wanted:g} MW in period "
            f"{t + 1}, "
            f"but at most {float(supply[t, members].sum()):g} MW can be generated there: {missing[t]:g} MW are missing"
        )
        found.append(Finding(text, f"island {island + 1}", float(missing[t])))
    return found


def _short_buses(instance: OptimalPowerFlow, need: Floats, supply: Floats, reach: Floats) -> list[Finding]:
    missing = need - supply - reach
    worst = missing.max(axis=0)
    found = []
    for bus in np.flatnonzero(worst > TOLERANCE * np.maximum(1.0, np.abs(need).max(axis=0))):
        t = int(missing[:, bus].argmax())
        name = instance.buses.names[bus]
        text = (
            f"bus {name} needs {need[t, bus]:g} MW in period {t + 1}, but its generators give at most "
            f"{supply[t, bus]:g} MW and its branches carry at most {reach[bus]:g} MW: {worst[bus]:g} MW are missing"
        )
        found.append(Finding(text, f"bus {name}", float(worst[bus])))
    return found
