"""The tight three-binary formulation of unit commitment, written on arrays of units by periods.

Output and reserve count from the minimum output. Sources:

- Garver, "Power generation scheduling by integer programming", 1962 (commit, start, stop).
- Rajan and Takriti, "Minimum up/down polytopes of the unit commitment problem with start-up costs", IBM RC23628, 2005.
- Gentile, Morales-España and Ramos, "A tight MIP formulation of the unit commitment problem with start-up and
  shut-down constraints", EURO J. Comput. Optim. 5, 2017.
- Pan and Guan, "A polyhedral study of the integrated minimum-up/-down time and ramping polytope", 2016.
- Damcı-Kurt, Küçükyavuz, Rajan and Atamtürk, "A polyhedral study of production ramping", Math. Program. 158, 2016.
- Knueven, Ostrowski and Watson, "On mixed-integer programming formulations for the unit commitment problem",
  INFORMS J. Comput. 32(4), 2020; and "A novel matching formulation for startup costs in unit commitment", 2020.
- The semantics are those of ``MODEL.tex`` of power-grid-lib/pglib-uc.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from apportion.instances.commitment import Commitment, UnitCommitment
from apportion.models.algebra import LinearExpression, Model
from apportion.models.commitment.fleet import Fleet, Matches, Segments, single_slopes

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Formulation:
    """The model of an instance with its blocks of variables.

    ``commit``, ``start``, ``stop``, ``power`` (above the minimum), ``available`` (power plus reserve; the power itself
    in hours without a required reserve): shape (units, periods). ``segment``: (segments, periods), for units with
    several. ``match``: (matches,). ``renewable``: (periods,), all sources together, which on one bus loses nothing.
    ``count``, shape (units,), says how many alike each unit stands for: columns of units are sums over so many.
    """

    instance: UnitCommitment
    fleet: Fleet
    segments: Segments
    matches: Matches
    model: Model
    commit: LinearExpression
    start: LinearExpression
    stop: LinearExpression
    power: LinearExpression
    available: LinearExpression
    segment: LinearExpression
    match: LinearExpression
    renewable: LinearExpression
    count: Floats

    @property
    def shape(self) -> tuple[int, int]:
        """Units by periods."""
        return self.fleet.num_units, self.instance.num_periods

    @cached_property
    def next_stop(self) -> LinearExpression:
        """``stop`` one period later, flat, shape (units * periods,); nothing after the last."""
        return _lags(np.ones((self.shape[0], 1)), self.shape[1], ahead=1) @ self.stop.ravel()


def formulate(instance: UnitCommitment, count: Floats | None = None) -> Formulation:
    """Write the whole model.

    With ``count``, shape (units,), each unit stands for so many alike, and its columns are their sums: a relaxation,
    as the sums need not come apart into schedules where ramps bind (:mod:`apportion.models.commitment.alike`).

    Examples
    --------
    >>> from apportion.instances.generate.commitment import generate_commitment
    >>> formulation = formulate(generate_commitment(seed=1, units=3, periods=6))
    >>> formulation.model.compile().num_rows > 0
    True
    """
    formulation = _variables(instance, np.ones(instance.num_units) if count is None else count)
    add_logic(formulation)
    add_minimum_times(formulation)
    add_generation_limits(formulation)
    add_power_limits_before_stops(formulation)
    add_ramps(formulation)
    add_segments(formulation)
    add_startup_matching(formulation)
    add_system(formulation)
    add_capacity(formulation)
    formulation.model.minimise(total_cost(formulation))
    return formulation


def _variables(instance: UnitCommitment, count: Floats) -> Formulation:
    fleet, segments = Fleet.of(instance), Segments.of(instance)
    matches = Matches.of(instance, fleet)
    shape = _, periods = fleet.num_units, instance.num_periods
    model = Model(instance.name or "unit commitment", sense="minimise")
    hour = np.arange(periods)
    kept_on = fleet.must_run[:, None] | (hour < fleet.held_on[:, None])
    kept_off = hour < fleet.held_off[:, None]
    least_power = np.zeros(shape)
    least_power[:, 0] = np.maximum(fleet.initially_above - fleet.ramp_down, 0.0)
    no_stop = fleet.initially_above > fleet.last_hour_power + 1e-9
    most_stop = np.ones(shape)
    most_stop[:, 0] = ~no_stop & fleet.initially_on
    needed = np.flatnonzero(instance.reserve_mw > 0.0)
    least_renewable = _total([unit.power_min_mw for unit in instance.renewable], periods)
    most_renewable = _total([unit.power_max_mw for unit in instance.renewable], periods)
    each = count[:, None]
    commit = model.add_variables("commit", shape, lower=kept_on * each, upper=each * (1.0 - kept_off), integer=True)
    start = model.add_variables("start", shape, upper=each)
    stop = model.add_variables("stop", shape, upper=each * most_stop)
    power = model.add_variables("power", shape, lower=each * least_power, upper=each * fleet.span[:, None])
    available = model.add_variables("available", (shape[0], len(needed)), upper=each * fleet.span[:, None])
    return Formulation(
        instance,
        fleet,
        segments,
        matches,
        model,
        commit=commit,
        start=start,
        stop=stop,
        power=power,
        available=_in_hours(available, needed, periods) + _without_hours(power, needed),
        segment=model.add_variables(
            "segment",
            (len(segments.unit), periods),
            upper=(count[segments.unit] * (segments.upper - segments.lower))[:, None],
        ),
        match=model.add_variables("match", (len(matches.unit),), upper=count[matches.unit]),
        renewable=model.add_variables("renewable", (periods,), lower=least_renewable, upper=most_renewable),
        count=count,
    )


def _in_hours(block: LinearExpression, hours: NDArray[np.int64], periods: int) -> LinearExpression:
    """A block of some hours as one of all, zero in the others."""
    place = sparse.coo_array((np.ones(len(hours)), (hours, np.arange(len(hours)))), shape=(periods, len(hours)))
    spread: LinearExpression = (place.tocsr() @ block.T).T
    return spread


def _without_hours(block: LinearExpression, hours: NDArray[np.int64]) -> LinearExpression:
    """A block with zero in some hours."""
    kept = np.ones(block.shape[1])
    kept[hours] = 0.0
    rest: LinearExpression = (sparse.diags_array(kept).tocsr() @ block.T).T
    return rest


def _total(profiles: list[Floats], periods: int) -> Floats:
    return np.sum(profiles, axis=0) if profiles else np.zeros(periods)


def _lags(weights: Floats, periods: int, ahead: int | None = None) -> sparse.csr_array:
    """A matrix over flat (unit, period) that sums ``weights[g, i] * x[g, t - i]``, or ``x[g, t + ahead + i]``."""
    rows, columns, values = [], [], []
    for lag in range(min(weights.shape[1], periods)):
        units = np.flatnonzero(weights[:, lag])
        shift = -lag if ahead is None else ahead + lag
        here = np.arange(max(0, -shift), min(periods, periods - shift))
        rows.append((units[:, None] * periods + here).ravel())
        columns.append((units[:, None] * periods + here + shift).ravel())
        values.append(np.repeat(weights[units, lag], len(here)))
    size = len(weights) * periods
    if not rows:
        return sparse.csr_array((size, size))
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return sparse.coo_array(entries, shape=(size, size)).tocsr()


def _rows_of(units: NDArray[np.bool_], periods: int) -> NDArray[np.int64]:
    """Flat positions of all periods of the chosen units."""
    return (np.flatnonzero(units)[:, None] * periods + np.arange(periods)).ravel()


def add_logic(f: Formulation) -> None:
    """A change of state is a start or a stop (Garver 1962)."""
    before = f.fleet.initially_on * f.count
    f.model.add_constraints("logic_first", f.commit[:, 0] - f.start[:, 0] + f.stop[:, 0] == before)
    f.model.add_constraints("logic", f.commit[:, 1:] - f.commit[:, :-1] == f.start[:, 1:] - f.stop[:, 1:])


def add_minimum_times(f: Formulation) -> None:
    """At most one start in any window of the minimum up time, then on; likewise stops (Rajan and Takriti 2005)."""
    periods = f.shape[1]
    lag = np.arange(periods)
    recent_starts = _lags((lag < f.fleet.min_up[:, None]).astype(np.float64), periods) @ f.start.ravel()
    recent_stops = _lags((lag < f.fleet.min_down[:, None]).astype(np.float64), periods) @ f.stop.ravel()
    f.model.add_constraints("up_time", recent_starts <= f.commit.ravel())
    f.model.add_constraints("down_time", recent_stops <= np.repeat(f.count, periods) - f.commit.ravel())


def _short_after_start(f: Formulation) -> Floats:
    """How far below the span output plus reserve stays ``i`` hours after a start, shape (units, periods)."""
    hours = np.arange(f.shape[1])
    reach = f.fleet.first_hour[:, None] + hours * f.fleet.ramp_up[:, None]
    return np.maximum(f.fleet.span[:, None] - reach, 0.0)


def _short_before_stop(f: Formulation) -> Floats:
    """How far below the span output stays ``i`` hours before the last hour of a run, shape (units, periods)."""
    hours = np.arange(f.shape[1])
    reach = f.fleet.last_hour_power[:, None] + hours * f.fleet.ramp_down[:, None]
    return np.maximum(f.fleet.span[:, None] - reach, 0.0)


def add_generation_limits(f: Formulation) -> None:
    """Output plus reserve within the span, less after starts and before a stop (Pan and Guan 2016, Gentile 2017)."""
    fleet, periods = f.fleet, f.shape[1]
    full = f.available.ravel()
    room = (fleet.span[:, None] * f.commit).ravel()
    short_start, hours = _short_after_start(f), np.arange(periods)
    short_stop = np.maximum(fleet.span - fleet.last_hour, 0.0)
    long_run = fleet.min_up >= 2
    # with a run of one hour, that hour may be first and last: both limits hold, not their sum
    from_stop = np.where(long_run, short_stop, np.maximum(short_stop - short_start[:, 0], 0.0))
    until = np.where(long_run, fleet.min_up - 1, 1)
    weights = np.where(hours < until[:, None], short_start, 0.0)
    limit = room - _lags(weights, periods) @ f.start.ravel() - np.repeat(from_stop, periods) * f.next_stop
    f.model.add_constraints("generation_limit", full <= limit)

    both = ~long_run & (short_stop > 0.0)
    from_start = np.maximum(short_start[:, 0] - short_stop, 0.0)
    limit = room - np.repeat(from_start, periods) * f.start.ravel() - np.repeat(short_stop, periods) * f.next_stop
    rows = _rows_of(both, periods)
    f.model.add_constraints("generation_limit_short_run", full[rows] <= limit[rows])

    longer = np.where(hours < fleet.min_up[:, None], short_start, 0.0)
    last = np.minimum(fleet.min_up, periods) - 1
    slow = long_run & (np.take_along_axis(short_start, last[:, None], axis=1)[:, 0] > 0.0)
    rows = _rows_of(slow, periods)
    limit = room - _lags(longer, periods) @ f.start.ravel()
    f.model.add_constraints("generation_limit_after_start", full[rows] <= limit[rows])


def add_power_limits_before_stops(f: Formulation) -> None:
    """Output on the way down to a stop and up from a start (Knueven, Ostrowski and Watson 2020, eq. 41)."""
    fleet, periods = f.fleet, f.shape[1]
    hours = np.arange(periods)
    short_start, short_stop = _short_after_start(f), _short_before_stop(f)
    stops = np.minimum((short_stop > 0.0).sum(axis=1), np.minimum(fleet.min_up, periods))
    binding = (stops >= 2) | ((stops == 1) & (fleet.last_hour_power < fleet.last_hour))
    if not binding.any():
        return
    starts = np.maximum(fleet.min_up - stops, 0)
    down = np.where(hours < stops[:, None], short_stop, 0.0)
    up = np.where(hours < starts[:, None], short_start, 0.0)
    # a run of exactly the minimum up time may have its start just outside and its stop last in the window
    edge = np.minimum(starts, periods - 1)
    units = np.flatnonzero(binding & (starts < periods))
    last_down = short_stop[units, np.maximum(stops[units] - 1, 0)]
    up[units, edge[units]] = np.maximum(short_start[units, edge[units]] - last_down, 0.0)
    rows = _rows_of(binding, periods)
    room = (fleet.span[:, None] * f.commit).ravel()
    limit = room - _lags(down, periods, ahead=1) @ f.stop.ravel() - _lags(up, periods) @ f.start.ravel()
    f.model.add_constraints("power_limit_before_stop", f.power.ravel()[rows] <= limit[rows])


def add_ramps(f: Formulation) -> None:
    """Output plus reserve rises, and output falls, by no more than the ramps allow (Damcı-Kurt et al. 2016)."""
    fleet = f.fleet
    on = np.flatnonzero(fleet.initially_on & (fleet.initially_above + fleet.ramp_up < fleet.span))
    reach = fleet.initially_above[on] + fleet.ramp_up[on]
    # a unit that stops in the first hour and starts later is free of its initial output: this binds the first hour
    f.model.add_constraints("ramp_up_first", f.available[on, 0] <= reach * f.commit[on, 0])

    up = np.flatnonzero(fleet.ramp_up < fleet.span)
    ramp, first = fleet.ramp_up[up, None], fleet.first_hour[up, None]
    rise = f.available[up, 1:] - f.power[up, :-1]
    f.model.add_constraints("ramp_up", rise <= ramp * f.commit[up, 1:] - (ramp - first) * f.start[up, 1:])

    down = np.flatnonzero(fleet.ramp_down < fleet.span)
    ramp, last = fleet.ramp_down[down, None], fleet.last_hour_power[down, None]
    fall = f.power[down, :-1] - f.power[down, 1:]
    f.model.add_constraints("ramp_down", fall <= ramp * f.commit[down, :-1] - (ramp - last) * f.stop[down, 1:])


def add_segments(f: Formulation) -> None:
    """Each piece of a cost curve is used only as far as starts and stops allow (Knueven et al. 2020, eq. 42-46)."""
    fleet, segments, periods = f.fleet, f.segments, f.shape[1]
    if not len(segments.unit):
        return
    unit, hours = segments.unit, np.arange(periods)
    several = np.unique(unit)
    ones = np.ones(len(unit))
    position = np.searchsorted(several, unit)
    total = sparse.coo_array((ones, (position, np.arange(len(unit))))).tocsr() @ f.segment
    f.model.add_constraints("segment_sum", f.power[several, :] == total)

    width = segments.upper - segments.lower
    reach = fleet.first_hour[unit, None] + hours * fleet.ramp_up[unit, None]
    lost_start = np.clip(segments.upper[:, None] - reach, 0.0, width[:, None])
    lost_stop = np.clip(segments.upper - fleet.last_hour_power[unit], 0.0, width)
    long_run = fleet.min_up[unit] >= 2
    from_stop = np.where(long_run, lost_stop, np.maximum(lost_stop - lost_start[:, 0], 0.0))
    until = np.where(long_run, fleet.min_up[unit] - 1, 1)
    weights = np.where(hours < until[:, None], lost_start, 0.0)
    used = f.segment.ravel()
    start, commit = f.start[unit, :].ravel(), (width[:, None] * f.commit[unit, :]).ravel()
    next_stop = _lags(np.ones((len(unit), 1)), periods, ahead=1) @ f.stop[unit, :].ravel()
    limit = commit - _lags(weights, periods) @ start - np.repeat(from_stop, periods) * next_stop
    f.model.add_constraints("segment_limit", used <= limit)

    both = ~long_run & (lost_stop > 0.0)
    from_start = np.maximum(lost_start[:, 0] - lost_stop, 0.0)
    limit = commit - np.repeat(from_start, periods) * start - np.repeat(lost_stop, periods) * next_stop
    rows = _rows_of(both, periods)
    f.model.add_constraints("segment_limit_short_run", used[rows] <= limit[rows])


def add_startup_matching(f: Formulation) -> None:
    """A start that is matched with a stop not long before is cheaper than a cold one (Knueven et al. 2020)."""
    matches, periods = f.matches, f.shape[1]
    if not len(matches.unit):
        return
    number = np.arange(len(matches.unit))
    starts = matches.unit * periods + matches.start
    rows, position = np.unique(starts, return_inverse=True)
    into = sparse.coo_array((np.ones(len(number)), (position, number))).tocsr() @ f.match
    f.model.add_constraints("match_start", into <= f.start.ravel()[rows])

    within = matches.stop >= 0
    rows, position = np.unique((matches.unit * periods + matches.stop)[within], return_inverse=True)
    chosen = number[within]
    shape = (len(rows), len(number))
    out_of = sparse.coo_array((np.ones(len(chosen)), (position, chosen)), shape=shape).tocsr() @ f.match
    f.model.add_constraints("match_stop", out_of <= f.stop.ravel()[rows])

    rows, position = np.unique(matches.unit[~within], return_inverse=True)
    chosen = number[~within]
    shape = (len(rows), len(number))
    initially = sparse.coo_array((np.ones(len(chosen)), (position, chosen)), shape=shape).tocsr() @ f.match
    f.model.add_constraints("match_initial", initially <= f.count[rows])


def add_system(f: Formulation) -> None:
    """Supply equals demand, and what could be supplied covers the required reserve as well.

    What could be supplied is a variable of its own (Knueven et al. 2020, "available power"): with output and reserve
    apart, solvers find no variable whose bound depends on the state, and derive far weaker cuts from these rows.
    """
    instance = f.instance
    least = (f.fleet.power_min[:, None] * f.commit).sum(axis=0) + f.renewable
    f.model.add_constraints("demand", f.power.sum(axis=0) + least == instance.demand_mw)
    needed = np.flatnonzero(instance.reserve_mw > 0.0)
    f.model.add_constraints("held", f.available[:, needed] >= f.power[:, needed])
    total = (instance.demand_mw + instance.reserve_mw)[needed]
    f.model.add_constraints("reserve", f.available[:, needed].sum(axis=0) + least[needed] >= total)


def add_capacity(f: Formulation) -> None:
    """Units that run can carry demand and reserve.

    The sum of the rows above implies it: it cuts nothing off the relaxation. Written out it is a knapsack in the
    binaries alone, from which solvers derive the cover cuts that close most of the gap; they do not find it by
    themselves.
    """
    instance, periods = f.instance, f.shape[1]
    most = (f.fleet.power_min + f.fleet.span)[:, None]
    renewable = _total([unit.power_max_mw for unit in instance.renewable], periods)
    needed = instance.demand_mw + instance.reserve_mw - renewable
    f.model.add_constraints("capacity", (most * f.commit).sum(axis=0) >= needed)


def total_cost(f: Formulation) -> LinearExpression:
    """Running at the minimum, producing above it, and starting: cold, less what matching saves."""
    slope = single_slopes(f.instance)
    running = (f.fleet.cost_at_min[:, None] * f.commit).sum() + (slope[:, None] * f.power).sum()
    producing = (f.segments.slope[:, None] * f.segment).sum()
    starting = (f.fleet.cold_start[:, None] * f.start).sum() - (f.matches.saving * f.match).sum()
    cost: LinearExpression = running + producing + starting
    return cost


def decode(f: Formulation, values: Floats) -> Commitment:
    """Turn values of all columns, shape (n,), into a plan; rounding dust at the bounds is taken off."""
    blocks, instance, fleet = f.model.split(values), f.instance, f.fleet
    committed = blocks["commit"] > 0.5
    above = np.clip(blocks["power"], 0.0, fleet.span[:, None])
    needed = np.flatnonzero(instance.reserve_mw > 0.0)
    reserve = np.zeros_like(above)
    reserve[:, needed] = np.clip(blocks["available"], above[:, needed], fleet.span[:, None]) - above[:, needed]
    power = np.where(committed, fleet.power_min[:, None] + above, 0.0)
    return Commitment(
        instance.unit_names,
        instance.renewable_names,
        committed,
        power,
        np.where(committed, reserve, 0.0),
        _shared_out(instance, instance.demand_mw - power.sum(axis=0)),
    )


def _shared_out(instance: UnitCommitment, needed_mw: Floats) -> Floats:
    """What each renewable gives: the same share of its own range in each hour."""
    if not instance.renewable:
        return np.zeros((0, instance.num_periods))
    least = np.array([unit.power_min_mw for unit in instance.renewable])
    most = np.array([unit.power_max_mw for unit in instance.renewable])
    spread = most.sum(axis=0) - least.sum(axis=0)
    share = np.divide(needed_mw - least.sum(axis=0), spread, out=np.zeros_like(spread), where=spread > 0.0)
    given: Floats = least + np.clip(share, 0.0, 1.0) * (most - least)
    return given
