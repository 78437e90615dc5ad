"""Driving a route stop by stop: what segments cannot tell in constant time.

Lateness at a price, overtime, breaks, and travel that takes longer at some hours. Travel follows piecewise-linear
arrival functions: a way of nominal duration ``d`` entered at ``t`` is left when the speed of its profile, integrated
from ``t``, reaches ``d`` (Ichoua, Gendreau and Potvin 2003, European Journal of Operational Research 144(2), 379-396),
so that who leaves later never arrives earlier.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from apportion.solvers.rich_routing.segments.kernels import (
    DUE,
    DURATION,
    EARLIEST,
    KIND,
    LATEST,
    LOCATION,
    LOCKED,
    MOST_DURATION,
    OVERTIME,
    OVERTIME_AFTER,
    PER_TIME,
    RELEASE,
    SLACK,
    Floats,
    Ints,
)

SOFT_DUE, LATE_COST = range(2)
FROM, WAY, SPEED = range(3)
BREAK_EARLIEST, BREAK_LATEST, BREAK_LENGTH = range(3)
BEGIN, CLOCK, LATE, TOOK = range(4)
NUM_TAKEN, TAKEN_TIME = range(2)


class Timetable(NamedTuple):
    """What the clock says on a route.

    ``soft`` (nodes, 2): SOFT_DUE and LATE_COST. ``clocks`` (profiles, 3, m): FROM when, how much WAY is done by then,
    and the SPEED from then on. ``profile`` (n, n), or (1, 1) for one profile. ``breaks`` (types, b, 3); absent ones
    have a negative length. ``trace`` (4, b + 1, places): what :func:`simulate` found for each number of breaks taken.
    ``out`` (2,): how many breaks were best, and the duration then.
    """

    soft: Floats
    clocks: Floats
    profile: Ints
    breaks: Floats
    trace: Floats
    out: Floats


@numba.njit(cache=True)
def arrival(clocks: Floats, profile: int, leaves: float, takes: float) -> float:
    """When a way is left that is entered at ``leaves`` and ``takes`` so long at speed 1."""
    last = clocks.shape[2] - 1
    if last < 0:
        return leaves + takes
    part = 0
    while part < last and clocks[profile, FROM, part + 1] <= leaves:
        part += 1
    way = clocks[profile, WAY, part] + clocks[profile, SPEED, part] * (leaves - clocks[profile, FROM, part]) + takes
    while part < last and clocks[profile, WAY, part + 1] <= way:
        part += 1
    return float(clocks[profile, FROM, part] + (way - clocks[profile, WAY, part]) / clocks[profile, SPEED, part])


@numba.njit(cache=True)
def departure(clocks: Floats, profile: int, arrives: float, takes: float) -> float:
    """The latest time to enter a way that must be left at ``arrives``."""
    last = clocks.shape[2] - 1
    if last < 0:
        return arrives - takes
    part = last
    while part > 0 and clocks[profile, FROM, part] > arrives:
        part -= 1
    way = clocks[profile, WAY, part] + clocks[profile, SPEED, part] * (arrives - clocks[profile, FROM, part]) - takes
    while part > 0 and clocks[profile, WAY, part] > way:
        part -= 1
    return float(clocks[profile, FROM, part] + (way - clocks[profile, WAY, part]) / clocks[profile, SPEED, part])


@numba.njit(cache=True)
def _release(seg: Floats, rows: Ints, row: int, place: int, count: int, num_locations: int) -> float:
    """The latest release time of the trip that begins at ``place``."""
    latest = -np.inf
    while place < count and rows[row, place] < num_locations:
        latest = max(latest, seg[rows[row, place], RELEASE])
        place += 1
    return latest


@numba.njit(cache=True)
def _forwards(
    ways: Floats,
    seg: Floats,
    fleet: Floats,
    nodes: Ints,
    slots: Ints,
    timetable: Timetable,
    rows: Ints,
    row: int,
    count: int,
    slot: int,
    num_breaks: int,
) -> None:
    """Fill the trace: for each stop and number of breaks taken, when service begins and ends, and the cost so far."""
    soft, clocks, profile, breaks, trace = (
        timetable.soft,
        timetable.clocks,
        timetable.profile,
        timetable.breaks,
        timetable.trace,
    )
    num_locations, kind, start = ways.shape[1], slots[slot, KIND], nodes.shape[0] - 2 * (slots.shape[0] - slot)
    several, nominal = profile.shape[0] > 1, ways.shape[0] - 1
    for k in range(num_breaks + 1):
        trace[CLOCK, k, 0] = np.inf
        trace[LATE, k, 0] = 0.0
    trace[CLOCK, 0, 0] = max(seg[start, EARLIEST], _release(seg, rows, row, 0, count, num_locations))
    here = nodes[start, LOCATION]
    for place in range(count + 1):
        node = rows[row, place] if place < count else start + 1
        there = nodes[node, LOCATION]
        takes, way = ways[nominal, here, there], profile[here, there] if several else profile[0, 0]
        for k in range(num_breaks + 1):
            arrives, late, took, leaves = np.inf, 0.0, 0.0, trace[CLOCK, k, place]
            if leaves < np.inf:
                arrives, late = arrival(clocks, way, leaves, takes), trace[LATE, k, place]
            if k > 0:
                leaves = trace[CLOCK, k - 1, place]
                if leaves <= breaks[kind, k - 1, BREAK_LATEST] + SLACK:
                    rested = max(arrival(clocks, way, leaves, takes), breaks[kind, k - 1, BREAK_EARLIEST])
                    rested += breaks[kind, k - 1, BREAK_LENGTH]
                    if rested < arrives:
                        arrives, late, took = rested, trace[LATE, k - 1, place], 1.0
            leaves = arrives
            if node < num_locations:
                arrives = max(arrives, seg[node, EARLIEST])
                leaves = arrives + seg[node, DURATION]
                if arrives > seg[node, LATEST] + SLACK:
                    leaves = np.inf
                elif place >= slots[slot, LOCKED]:
                    late += soft[node, LATE_COST] * max(0.0, arrives - soft[node, SOFT_DUE])
            elif arrives > fleet[kind, DUE] + SLACK:
                leaves = np.inf
            elif place < count:
                leaves = max(arrives, _release(seg, rows, row, place + 1, count, num_locations))
            trace[BEGIN, k, place + 1] = arrives
            trace[CLOCK, k, place + 1] = leaves
            trace[LATE, k, place + 1] = late
            trace[TOOK, k, place + 1] = took
        here = there


@numba.njit(cache=True)
def _latest_begin(
    ways: Floats,
    seg: Floats,
    nodes: Ints,
    slots: Ints,
    timetable: Timetable,
    rows: Ints,
    row: int,
    count: int,
    slot: int,
    taken: int,
) -> float:
    """The latest departure that makes no service later than its window and the earliest departure allow."""
    soft, clocks, profile, breaks, trace = (
        timetable.soft,
        timetable.clocks,
        timetable.profile,
        timetable.breaks,
        timetable.trace,
    )
    kind, start = slots[slot, KIND], nodes.shape[0] - 2 * (slots.shape[0] - slot)
    several, nominal, k = profile.shape[0] > 1, ways.shape[0] - 1, taken
    latest, there = trace[BEGIN, k, count + 1], nodes[start + 1, LOCATION]
    for place in range(count, -1, -1):
        node = rows[row, place - 1] if place > 0 else start
        here = nodes[node, LOCATION]
        way = profile[here, there] if several else profile[0, 0]
        if trace[TOOK, k, place + 1] > 0.0:
            k -= 1
            latest = departure(clocks, way, latest - breaks[kind, k, BREAK_LENGTH], ways[nominal, here, there])
            latest = min(latest, breaks[kind, k, BREAK_LATEST])
        else:
            latest = departure(clocks, way, latest, ways[nominal, here, there])
        if place > 0:
            latest -= seg[node, DURATION]
            due = seg[node, LATEST]
            if soft[node, LATE_COST] > 0.0:
                due = min(due, soft[node, SOFT_DUE])
            latest = min(latest, max(trace[BEGIN, k, place], due))
        there = here
    return max(latest, trace[CLOCK, 0, 0])


@numba.njit(cache=True)
def simulate(
    ways: Floats,
    seg: Floats,
    fleet: Floats,
    nodes: Ints,
    slots: Ints,
    timetable: Timetable,
    rows: Ints,
    row: int,
    count: int,
    slot: int,
) -> float:
    """The cost of time, lateness and overtime of the route ``rows[row, :count]``; infinite when a rule is broken."""
    breaks, trace, kind, reloads = timetable.breaks, timetable.trace, slots[slot, KIND], 0
    num_breaks = 0
    while num_breaks < breaks.shape[1] and breaks[kind, num_breaks, BREAK_LENGTH] >= 0.0:
        num_breaks += 1
    _forwards(ways, seg, fleet, nodes, slots, timetable, rows, row, count, slot, num_breaks)
    best, least = -1, np.inf
    for k in range(num_breaks + 1):
        ends = trace[CLOCK, k, count + 1]
        for later in range(k, num_breaks):
            if ends > breaks[kind, later, BREAK_LATEST] + SLACK:
                ends = np.inf
        if ends < np.inf:
            cost = trace[LATE, k, count + 1] + fleet[kind, OVERTIME] * max(0.0, ends - fleet[kind, OVERTIME_AFTER])
            if cost + fleet[kind, PER_TIME] * ends < least:
                best, least = k, cost + fleet[kind, PER_TIME] * ends
    if best < 0:
        return np.inf
    for place in range(count):
        reloads += int(rows[row, place] >= ways.shape[1])
    ends, begins = trace[CLOCK, best, count + 1], trace[CLOCK, 0, 0]
    if reloads == 0 and slots[slot, LOCKED] == 0:
        begins = _latest_begin(ways, seg, nodes, slots, timetable, rows, row, count, slot, best)
    timetable.out[NUM_TAKEN] = best
    timetable.out[TAKEN_TIME] = ends - begins
    if reloads == 0 and ends - begins > fleet[kind, MOST_DURATION] + SLACK:
        return np.inf
    return float(least - fleet[kind, PER_TIME] * begins)
