"""Why a network cannot be served: islands and buses first, then where the relaxation leaves power missing."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite

import numpy as np

from apportion.instances.core import Plan, Sense
from apportion.instances.power_flow import Generators, OptimalPowerFlow
from apportion.models.explaining import Diagnosis, Explanation, Finding
from apportion.models.power_flow.screens import screen_power_flow
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.power_flow.method import solve_dc
from apportion.solvers.power_flow.relaxation import shortfall

_LIMIT_S = 60.0
_SHOWN_MW = 1e-2


def explain_power_flow(
    instance: OptimalPowerFlow, options: SolveOptions | None = None, _plan: Plan | None = None
) -> Explanation:
    """Name the islands and buses that cannot be served and how many MW are missing.

    What the data alone do not show is asked of the cone relaxation with slack at every bus (needs CasADi): a positive
    bound on that slack proves that there is no AC plan.
    """
    findings = screen_power_flow(instance)
    if findings:
        return Explanation(instance.name, Diagnosis.INFEASIBLE, findings)
    limit = options.time_limit_s if options is not None and isfinite(options.time_limit_s) else _LIMIT_S
    monitor = Monitor(Sense.MINIMISE, None, limit)
    missing = shortfall(instance, monitor)
    if missing.proves_infeasible:
        text = f"at least {missing.total:.4g} MW and MVAr in all cannot be balanced, whatever the voltages and angles"
        found = [Finding(text, "network", missing.total), *_places(instance, missing.by_bus)]
        return Explanation(instance.name, Diagnosis.INFEASIBLE, tuple(found))
    if monitor.should_stop:
        return Explanation(instance.name, Diagnosis.UNDECIDED)
    notes = ("The cone relaxation serves every bus, which does not prove that there is an AC plan.",)
    unserved = unserved_in_dc(instance, monitor)
    if unserved is None:
        return Explanation(instance.name, Diagnosis.SOLVABLE, notes=notes)
    text = "The linear (DC) model has no plan: these leave the least load unserved."
    places = _places(instance, unserved)
    return Explanation(instance.name, Diagnosis.UNDECIDED, tuple(places), notes=(*notes, text) if places else notes)


def unserved_in_dc(
    instance: OptimalPowerFlow, monitor: Monitor
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]] | None:
    """The load in MW that the DC model has to leave unserved, shape (periods, buses); None when it serves all.

    Every bus gets a generator that gives up to its load for 1 a MWh, and all others cost nothing.
    """
    generators, buses = instance.generators, len(instance.buses)
    most = np.maximum(instance.load_mw, 0.0)
    free, nothing = np.zeros(len(generators) + buses), np.zeros(buses)
    helped = Generators(
        (*generators.names, *(f"unserved at {name}" for name in instance.buses.names)),
        np.append(generators.bus, np.arange(buses)),
        np.append(generators.power_min_mw, nothing),
        np.append(generators.power_max_mw, most.max(axis=0)),
        np.append(generators.reactive_min_mvar, nothing),
        np.append(generators.reactive_max_mvar, nothing),
        free,
        np.append(np.zeros(len(generators)), np.ones(buses)),
        free,
        ((),) * len(free),
        np.append(generators.ramp_mw_h, np.full(buses, np.inf)),
    )
    relaxed = replace(instance, generators=helped, available_mw=np.hstack([instance.most_mw, most]))
    answer = solve_dc(relaxed, SolveOptions(), Monitor(Sense.MINIMISE, None, monitor.remaining_s))
    if answer.plan is None or answer.bounds.dual <= _SHOWN_MW:
        return None
    return np.asarray(answer.plan.power_mw[:, len(generators) :], np.float64)


def _places(instance: OptimalPowerFlow, by_bus: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> list[Finding]:
    found = []
    for bus in np.argsort(-np.abs(by_bus).max(axis=0), kind="stable"):
        t = int(np.abs(by_bus[:, bus]).argmax())
        amount = float(by_bus[t, bus])
        if abs(amount) < _SHOWN_MW:
            break
        word = "unserved" if amount > 0 else "too much"
        place = f"bus {instance.buses.names[bus]}"
        text = f"with the least in all, {abs(amount):.4g} MW are {word} at {place} in period {t + 1}"
        found.append(Finding(text, place, abs(amount), blocking=False))
    return found
