"""Periods of a secure commitment that nothing can serve, from the data alone."""

from __future__ import annotations

import numpy as np

from apportion.instances.islands import islands_of
from apportion.instances.security_commitment import SecurityConstrainedCommitment
from apportion.models.commitment.screens import least_power, most_power
from apportion.models.explaining import Finding
from apportion.models.verdict import TOLERANCE


def screen_islands(instance: SecurityConstrainedCommitment) -> tuple[Finding, ...]:
    """Periods in which an island's load exceeds all that can feed it, or what has to run exceeds what can be taken.

    Each finding is a proof that there is no plan; it names the period, the bus with most load, and the shortfall.
    None does not mean that there is a plan. Where curtailment or surplus is allowed, that side is not looked at.
    """
    periods = instance.num_periods
    island = islands_of(len(instance.buses), *instance.line_ends)
    count = int(island.max()) + 1
    most, least = np.zeros((count, periods)), np.zeros((count, periods))
    at = instance.bus_index
    for sited in instance.thermal:
        most[island[at[sited.bus]]] += most_power(sited.unit, periods)
        least[island[at[sited.bus]]] += least_power(sited.unit, periods)
    for source in instance.profiled:
        most[island[at[source.bus]]] += source.power_max_mw
        least[island[at[source.bus]]] += source.power_min_mw
    for store in instance.storage:
        most[island[at[store.bus]]] += store.discharge_max_mw
        least[island[at[store.bus]]] -= store.charge_max_mw
    for load in instance.loads:
        least[island[at[load.bus]]] -= load.demand_mw
    for link in instance.links:
        for bus, into, out in (
            (link.to_bus, link.limit_mw, link.reverse_limit_mw),
            (link.from_bus, link.reverse_limit_mw, link.limit_mw),
        ):
            most[island[at[bus]]] += into
            least[island[at[bus]]] -= out
    found: list[Finding] = []
    for k in range(count):
        load = instance.load_mw[island == k]
        names = [bus.name for bus, own in zip(instance.buses, island.tolist(), strict=True) if own == k]
        total = load.sum(axis=0)
        room = TOLERANCE * np.maximum(1.0, np.abs(total))
        if instance.curtailment_penalty is None:
            for t in np.flatnonzero(total - most[k] > room):
                bus, short = names[int(np.argmax(load[:, t]))], float(total[t] - most[k, t])
                text = (
                    f"period {t + 1}, bus {bus} and its island: load {total[t]:g} MW, but at most {most[k, t]:g} MW "
                    f"can be given: {short:g} MW are missing"
                )
                found.append(Finding(text, f"period {t + 1}, bus {bus}", short))
        if instance.surplus_penalty is None:
            for t in np.flatnonzero(least[k] - total > room):
                bus, more = names[int(np.argmax(load[:, t]))], float(least[k, t] - total[t])
                text = (
                    f"period {t + 1}, bus {bus} and its island: load {total[t]:g} MW, but at least {least[k, t]:g} MW "
                    f"have to be taken: {more:g} MW too much"
                )
                found.append(Finding(text, f"period {t + 1}, bus {bus}", more))
    return tuple(found)
