"""One unit against prices: the cheapest schedule by dynamic programming over runs, exact with ramps and reserve.

A run is priced forward in time. The least cost of having come to an output is a convex piecewise-linear function of
that output (Frangioni and Gentile, "Solving nonlinear single-unit commitment problems with ramping constraints",
Oper. Res. 54(4), 2006); here it is kept as a list of pieces, a length and a slope each, from the lowest output on.
Output counts from the minimum of the unit.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TINY = 1e-9
RAMP_UP, RAMP_DOWN, SPAN, FIRST, LAST, LAST_POWER, ABOVE, COST_AT_MIN, POWER_MIN = range(9)
"""Positions in the row of numbers of a unit."""
MIN_UP, MIN_DOWN, INITIALLY_ON, OFF_H = range(4)
"""Positions in the row of hours of a unit."""


@numba.njit(cache=True)
def _put(length: Floats, slope: Floats, count: int, piece: float, rise: float) -> int:
    """Append a piece, joined to the last one of the same slope."""
    if piece <= TINY:
        return count
    if count > 0 and abs(slope[count - 1] - rise) <= 1e-12:
        length[count - 1] += piece
        return count
    length[count], slope[count] = piece, rise
    return count + 1


@numba.njit(cache=True)
def _add_price(
    x: float,
    length: Floats,
    slope: Floats,
    count: int,
    widths: Floats,
    slopes: Floats,
    gain: float,
    new_length: Floats,
    new_slope: Floats,
) -> tuple[int, float]:
    """Add the cost of output less ``gain`` per MW to a function that begins at ``x``; return pieces, cost at ``x``."""
    segment, left, at_start = 0, x, 0.0
    while segment < len(widths) - 1 and left >= widths[segment] - TINY:
        at_start += widths[segment] * (slopes[segment] - gain)
        left -= widths[segment]
        segment += 1
    at_start += left * (slopes[segment] - gain)
    room = widths[segment] - left
    made = 0
    for k in range(count):
        rest = length[k]
        while segment < len(widths) - 1 and rest > room:
            made = _put(new_length, new_slope, made, room, slope[k] + slopes[segment] - gain)
            rest -= room
            segment += 1
            room = widths[segment]
        made = _put(new_length, new_slope, made, rest, slope[k] + slopes[segment] - gain)
        room -= rest
    return made, at_start


@numba.njit(cache=True)
def _after_ramp(
    x: float,
    value: float,
    length: Floats,
    slope: Floats,
    count: int,
    up: float,
    down: float,
    cap: float,
    most: float,
    reserve_price: float,
    new_length: Floats,
    new_slope: Floats,
) -> tuple[float, float, int, float]:
    """One hour on: the least over the outputs before of their cost less the reserve they leave room for.

    Output plus reserve is at most ``cap`` and at most the output before plus ``up``; output is at most ``most``.
    Returns where the new function begins, its value there, its pieces, and the best output before; no pieces and a
    beginning of -1 when there is none. The reserve's loss of room to output is not in it.
    """
    knee = cap - up
    best, at = x, x
    start_value = value - reserve_price * min(cap, x + up)
    split = -1
    rest = 0.0
    # the pieces with the reserve's gain below the knee; where they turn upwards lies the best output before
    made = 0
    for k in range(count):
        pieces = 2 if at < knee - TINY and at + length[k] > knee + TINY else 1
        for part in range(pieces):
            size = length[k]
            if pieces == 2:
                size = knee - at if part == 0 else length[k] - rest
            rest = size
            rise = slope[k] - reserve_price if at < knee - TINY else slope[k]
            if split < 0 and rise >= 0.0:
                split, best = made, at
            new_length[made], new_slope[made] = size, rise
            made += 1
            at += size
    if split < 0:
        split, best = made, at
    end = min(at + up, most)
    begin = x - down
    if begin > most + TINY or begin > cap + TINY:
        return -1.0, np.inf, 0, best
    for k in range(made, split, -1):
        new_length[k], new_slope[k] = new_length[k - 1], new_slope[k - 1]
    new_length[split], new_slope[split] = up + down, 0.0
    made += 1
    # clip to [0, end]
    out = 0
    position = begin
    clipped = max(begin, 0.0)
    for k in range(made):
        lower, upper = position, position + new_length[k]
        rise = new_slope[k]
        position = upper
        if upper <= clipped:
            start_value += (upper - lower) * rise
            continue
        if lower < clipped:
            start_value += (clipped - lower) * rise
            lower = clipped
        upper = min(upper, end)
        if upper - lower > TINY:
            new_length[out], new_slope[out] = upper - lower, rise
            out += 1
        if upper >= end:
            break
    return min(clipped, max(end, 0.0)), start_value, out, best


@numba.njit(cache=True)
def _least(value: float, length: Floats, slope: Floats, count: int) -> tuple[float, float]:
    """The least value of a function, and how far from its beginning."""
    far = 0.0
    for k in range(count):
        if slope[k] >= 0.0:
            break
        value += length[k] * slope[k]
        far += length[k]
    return value, far


@numba.njit(cache=True)
def _price_run(
    first: int,
    numbers: Floats,
    hours: Ints,
    widths: Floats,
    slopes: Floats,
    price: Floats,
    reserve_price: Floats,
    on_worth: Floats,
    can_on: NDArray[np.bool_],
    cost: Floats,
    work: Floats,
    output_before: Floats,
    until: int,
) -> float:
    """Price the runs that begin at ``first`` (-1: that has begun before the horizon), whenever they end.

    ``cost[e]`` becomes the least cost of the run up to and including hour ``e``, infinite where it cannot end; the
    last hour has no stop after it. With ``until`` at least 0 only the run to that hour is priced, and
    ``output_before[t]`` is the best output in hour ``t - 1`` were hour ``t`` free; the best output in hour ``until``
    is returned.
    """
    periods = len(price)
    span, up, down = numbers[SPAN], numbers[RAMP_UP], numbers[RAMP_DOWN]
    last, last_power = numbers[LAST], numbers[LAST_POWER]
    cost[:] = np.inf
    length, slope, new_length, new_slope = work[0], work[1], work[2], work[3]
    x, value, count = numbers[ABOVE], 0.0, 0
    begin = max(first, 0)
    for t in range(begin, periods):
        if not can_on[t]:
            break
        gain = price[t] - reserve_price[t]
        base = numbers[COST_AT_MIN] - price[t] * numbers[POWER_MIN] - on_worth[t]
        may_end = t == periods - 1 or first < 0 or t - first + 1 >= hours[MIN_UP]
        if until >= 0:
            may_end = t == until
        if may_end and (t < periods - 1 or until >= 0):
            capped = t < periods - 1
            cap, most = (last, last_power) if capped else (span, span)
            if t == first:
                cap, most = min(cap, numbers[FIRST]), min(most, numbers[FIRST])
                at, from_ramp, made, best = 0.0, -reserve_price[t] * cap, 1, 0.0
                new_length[0], new_slope[0] = most, 0.0
                if most < -TINY:
                    at = -1.0
            else:
                at, from_ramp, made, best = _after_ramp(
                    x, value, length, slope, count, up, down, cap, most, reserve_price[t], new_length, new_slope
                )
            if at >= 0.0:
                pieces, at_start = _add_price(at, new_length, new_slope, made, widths, slopes, gain, work[4], work[5])
                least, far = _least(from_ramp + at_start + base, work[4], work[5], pieces)
                cost[t] = least
                if until >= 0:
                    output_before[t] = best
                    output: float = at + far
                    return output
        if t == first:
            if numbers[FIRST] < -TINY:
                break
            at, from_ramp, made, best = 0.0, -reserve_price[t] * numbers[FIRST], 1, 0.0
            new_length[0], new_slope[0] = numbers[FIRST], 0.0
        else:
            at, from_ramp, made, best = _after_ramp(
                x, value, length, slope, count, up, down, span, span, reserve_price[t], new_length, new_slope
            )
        if at < 0.0:
            break
        output_before[t] = best
        count, at_start = _add_price(at, new_length, new_slope, made, widths, slopes, gain, length, slope)
        x, value = at, from_ramp + at_start + base
        if t == periods - 1:
            cost[t] = _least(value, length, slope, count)[0]
    return 0.0


@numba.njit(cache=True)
def _best_hour(widths: Floats, slopes: Floats, gain: float, most: float) -> float:
    """The least cost of output less ``gain`` per MW, at an output up to ``most``."""
    value, left = 0.0, most
    for k in range(len(widths)):
        part = left if k == len(widths) - 1 else min(left, widths[k])
        if slopes[k] >= gain or part <= 0.0:
            break
        value += part * (slopes[k] - gain)
        left -= part
    return value


@numba.njit(cache=True)
def _price_hours(
    numbers: Floats,
    widths: Floats,
    slopes: Floats,
    price: Floats,
    reserve_price: Floats,
    on_worth: Floats,
    hourly: Floats,
) -> None:
    """The least cost of each hour by itself: inside a run, the first of one, the last, and both, in rows of ``hourly``.

    For units whose ramps never bind.
    """
    span, first, last, last_power = numbers[SPAN], numbers[FIRST], numbers[LAST], numbers[LAST_POWER]
    for t in range(len(price)):
        gain = price[t] - reserve_price[t]
        base = numbers[COST_AT_MIN] - price[t] * numbers[POWER_MIN] - on_worth[t]
        for kind in range(4):
            cap, most = span, span
            if kind == 1 or kind == 3:
                cap, most = min(cap, first), min(most, first)
            if kind >= 2:
                cap, most = min(cap, last), min(most, last_power)
            hourly[kind, t] = np.inf
            if most >= -TINY:
                hourly[kind, t] = base - reserve_price[t] * cap + _best_hour(widths, slopes, gain, most)


@numba.njit(cache=True)
def _price_free_run(first: int, shortest: int, hourly: Floats, can_on: NDArray[np.bool_], cost: Floats) -> None:
    """:func:`_price_run` for a unit whose ramps never bind: sums of hours."""
    periods = len(cost)
    cost[:] = np.inf
    total = 0.0
    for t in range(max(first, 0), periods):
        if not can_on[t]:
            break
        if t < periods - 1 and (first < 0 or t - first + 1 >= shortest):
            cost[t] = total + hourly[3 if t == first else 2, t]
        total += hourly[1 if t == first else 0, t]
        if t == periods - 1:
            cost[t] = total


@numba.njit(cache=True)
def _start_cost(lags: Ints, costs: Floats, hours_off: int) -> float:
    """The cost of a start after so many hours off."""
    chosen: float = costs[0]
    for k in range(1, len(lags)):
        if hours_off >= lags[k]:
            chosen = costs[k]
    return chosen


@numba.njit(cache=True)
def _link(end: int, start: int, hours: Ints, lags: Ints, costs: Floats) -> float:
    """The cost of a start at ``start`` after a run that ended in hour ``end`` (-1: before the horizon)."""
    off = start - 1 - end
    if end < 0 and not hours[INITIALLY_ON]:
        off += hours[OFF_H]
    if off < hours[MIN_DOWN]:
        return np.inf
    cost: float = _start_cost(lags, costs, off)
    return cost


@numba.njit(cache=True)
def price_unit(
    numbers: Floats,
    hours: Ints,
    widths: Floats,
    slopes: Floats,
    lags: Ints,
    costs: Floats,
    price: Floats,
    reserve_price: Floats,
    on_worth: Floats,
    start_worth: Floats,
    can_on: NDArray[np.bool_],
    can_off: NDArray[np.bool_],
    run: Floats,
    work: Floats,
    states: NDArray[np.bool_],
    power: Floats,
    reserve: Floats,
    least_on: Floats,
    least_off: Floats,
    margins: bool,
) -> tuple[float, float]:
    """The cheapest schedule of a unit that is paid for output and reserve.

    Parameters
    ----------
    numbers, hours
        The unit's row of each; see the positions above.
    widths, slopes
        Its cost curve above the minimum: MW and cost per MW, convex.
    lags, costs
        Its start categories from hottest to coldest.
    price, reserve_price
        Paid per MW, shape (periods,); ``reserve_price`` is not negative.
    on_worth, start_worth
        Paid for being on, and for a start, in each hour, shape (periods,).
    can_on, can_off
        Which states are allowed, shape (periods,).
    run
        Work array, shape (periods + 1, periods).
    work
        Work array, shape (8, pieces), pieces at least (periods + 1) * (segments + 4).
    states, power, reserve
        Filled with the schedule, shape (periods,).
    least_on, least_off
        Filled, with ``margins``, with the least cost of a schedule that is on, or off, in each hour.

    Returns
    -------
    tuple
        Cost less income, infinite when no schedule is allowed; and the cost alone.
    """
    periods = len(price)
    reach, come, leave, go = (
        work[6, : periods + 1],
        work[6, periods + 1 : 2 * periods + 2],
        work[7, : periods + 1],
        work[7, periods + 1 : 2 * periods + 2],
    )
    start_from = np.full(periods + 1, -2, np.int64)
    end_from = np.full(periods + 1, -2, np.int64)
    reach[:] = np.inf
    come[:] = np.inf
    on_before = hours[INITIALLY_ON] != 0
    if not on_before or numbers[ABOVE] <= numbers[LAST_POWER] + TINY:
        come[0] = 0.0
    free = numbers[RAMP_UP] >= numbers[SPAN] and numbers[RAMP_DOWN] >= numbers[SPAN]
    hourly = work[:4, :periods]
    if free:
        _price_hours(numbers, widths, slopes, price, reserve_price, on_worth, hourly)
    for first in range(-1, periods):
        if first < 0:
            if on_before:
                reach[0] = 0.0
        elif can_on[first]:
            for end in range(first - 1, -2, -1):
                if come[end + 1] < np.inf:
                    total = come[end + 1] + _link(end, first, hours, lags, costs) - start_worth[first]
                    if total < reach[first + 1]:
                        reach[first + 1], start_from[first + 1] = total, end
                if end >= 0 and not can_off[end]:
                    break
        row = run[first + 1]
        if reach[first + 1] == np.inf:
            row[:] = np.inf
            continue
        if free:
            _price_free_run(first, hours[MIN_UP], hourly, can_on, row)
        else:
            _price_run(
                first, numbers, hours, widths, slopes, price, reserve_price, on_worth, can_on, row, work, work[8], -1
            )
        for end in range(max(first, 0), periods):
            total = reach[first + 1] + row[end]
            if total < come[end + 1]:
                come[end + 1], end_from[end + 1] = total, first
    # the last run may last to the end of the horizon, or end before with all hours after it off
    least, final = np.inf, -2
    for end in range(periods - 1, -2, -1):
        if come[end + 1] < least:
            least, final = come[end + 1], end
        if end >= 0 and not can_off[end]:
            break
    states[:] = False
    power[:] = 0.0
    reserve[:] = 0.0
    if least == np.inf:
        return np.inf, np.inf
    cost = _unfold(
        final,
        start_from,
        end_from,
        numbers,
        hours,
        widths,
        slopes,
        lags,
        costs,
        price,
        reserve_price,
        on_worth,
        can_on,
        work,
        states,
        power,
        reserve,
    )
    if margins:
        _margins(hours, lags, costs, start_worth, can_off, run, reach, come, leave, go, least_on, least_off)
    return least, cost


@numba.njit(cache=True)
def _unfold(
    final: int,
    start_from: Ints,
    end_from: Ints,
    numbers: Floats,
    hours: Ints,
    widths: Floats,
    slopes: Floats,
    lags: Ints,
    costs: Floats,
    price: Floats,
    reserve_price: Floats,
    on_worth: Floats,
    can_on: NDArray[np.bool_],
    work: Floats,
    states: NDArray[np.bool_],
    power: Floats,
    reserve: Floats,
) -> float:
    """Write the schedule that ends its last run at ``final``, back from there; return its cost."""
    periods = len(price)
    up, down = numbers[RAMP_UP], numbers[RAMP_DOWN]
    cost = 0.0
    end = final
    before = work[8]
    while end >= 0:
        first = end_from[end + 1]
        begin = max(first, 0)
        ignored = work[9, :periods]
        output = _price_run(
            first, numbers, hours, widths, slopes, price, reserve_price, on_worth, can_on, ignored, work, before, end
        )
        for t in range(end, begin - 1, -1):
            states[t] = True
            power[t] = output
            cost += numbers[COST_AT_MIN]
            rest = output
            for k in range(len(widths)):
                part = rest if k == len(widths) - 1 else min(rest, widths[k])
                cost += part * slopes[k]
                rest -= part
            if t > begin:
                output = min(max(before[t], output - up), output + down)
        for t in range(begin, end + 1):
            cap = numbers[SPAN] if t == periods - 1 or t < end else numbers[LAST]
            if t == first:
                cap = min(cap, numbers[FIRST])
            else:
                previous = power[t - 1] if t > begin else numbers[ABOVE]
                cap = min(cap, previous + up)
            if reserve_price[t] > 0.0:
                reserve[t] = max(cap - power[t], 0.0)
        if first < 0:
            break
        end = start_from[first + 1]
        cost += _link(end, first, hours, lags, costs)
    return cost


@numba.njit(cache=True)
def _margins(
    hours: Ints,
    lags: Ints,
    costs: Floats,
    start_worth: Floats,
    can_off: NDArray[np.bool_],
    run: Floats,
    reach: Floats,
    come: Floats,
    leave: Floats,
    go: Floats,
    least_on: Floats,
    least_off: Floats,
) -> None:
    """The least cost through each state of each hour, from both ends."""
    periods = run.shape[1]
    leave[:] = np.inf
    go[:] = np.inf
    least_on[:] = np.inf
    least_off[:] = np.inf
    tail = True
    for end in range(periods - 1, -2, -1):
        # all hours after ``end`` off, or a later start
        if tail:
            leave[end + 1] = 0.0
        for first in range(end + 1, periods):
            if go[first + 1] < np.inf:
                total = _link(end, first, hours, lags, costs) - start_worth[first] + go[first + 1]
                leave[end + 1] = min(leave[end + 1], total)
            if not can_off[first]:
                break
        if end >= 0:
            tail = tail and can_off[end]
        # the run that begins at ``end`` ends there or later
        for last in range(max(end, 0), periods):
            after = 0.0 if last == periods - 1 else leave[last + 1]
            go[end + 1] = min(go[end + 1], run[end + 1, last] + after)
    for first in range(-1, periods):
        if reach[first + 1] == np.inf:
            continue
        best = np.inf
        for last in range(periods - 1, max(first, 0) - 1, -1):
            after = 0.0 if last == periods - 1 else leave[last + 1]
            best = min(best, reach[first + 1] + run[first + 1, last] + after)
            least_on[last] = min(least_on[last], best)
    for end in range(-1, periods):
        if come[end + 1] == np.inf:
            continue
        for first in range(end + 1, periods + 1):
            if first == periods:
                total = come[end + 1]
            else:
                total = come[end + 1] + _link(end, first, hours, lags, costs) - start_worth[first] + go[first + 1]
            for t in range(end + 1, first):
                least_off[t] = min(least_off[t], total)
            if first < periods and not can_off[first]:
                break


@numba.njit(cache=True)
def price_fleet(
    numbers: Floats,
    hours: Ints,
    segment_ends: Ints,
    widths: Floats,
    slopes: Floats,
    category_ends: Ints,
    lags: Ints,
    costs: Floats,
    price: Floats,
    reserve_price: Floats,
    on_worth: Floats,
    start_worth: Floats,
    can_on: NDArray[np.bool_],
    can_off: NDArray[np.bool_],
    run: Floats,
    work: Floats,
    states: NDArray[np.bool_],
    power: Floats,
    reserve: Floats,
    least: Floats,
    cost: Floats,
    least_on: Floats,
    least_off: Floats,
    margins: bool,
) -> None:
    """:func:`price_unit` for every unit; segments and categories of unit ``g`` end at entry ``g + 1`` of their ends."""
    for g in range(len(numbers)):
        pieces = slice(segment_ends[g], segment_ends[g + 1])
        kinds = slice(category_ends[g], category_ends[g + 1])
        least[g], cost[g] = price_unit(
            numbers[g],
            hours[g],
            widths[pieces],
            slopes[pieces],
            lags[kinds],
            costs[kinds],
            price,
            reserve_price,
            on_worth[g],
            start_worth[g],
            can_on[g],
            can_off[g],
            run,
            work,
            states[g],
            power[g],
            reserve[g],
            least_on[g],
            least_off[g],
            margins,
        )
