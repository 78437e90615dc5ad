"""Whole routes change hands: another type of vehicle drives them."""

from __future__ import annotations

import numba

from apportion.solvers.rich_routing.segments.kernels import (
    CAPACITY,
    COST,
    DISTANCE,
    FAR,
    FIRST_SLOT,
    FIXED,
    KIND,
    LENGTH,
    LOCATION,
    LOCKED,
    NONE,
    PER_DISTANCE,
    RELOADS,
    ROOM_BACK,
    ROOM_OUT,
    Flags,
    Floats,
    Ints,
)
from apportion.solvers.rich_routing.state import TOUCHED, Words, free_slot, move_to, touch
from apportion.solvers.rich_routing.timetable.kernels import Timetable
from apportion.solvers.routing.kernels import uniform


@numba.njit(cache=True)
def _cost_of(
    ways: Floats,
    fleet: Floats,
    kinds: Ints,
    nodes: Ints,
    slots: Ints,
    facts: Floats,
    sequence: Ints,
    slot: int,
    kind: int,
) -> float:
    """What the route would cost a vehicle of another type, its time not counted."""
    size, num_slots = nodes.shape[0], slots.shape[0]
    start, other = size - 2 * (num_slots - slot), size - 2 * (num_slots - kinds[kind, FIRST_SLOT])
    first = nodes[sequence[slot, 0], LOCATION]
    last = nodes[sequence[slot, slots[slot, LENGTH] - 1], LOCATION]
    driven = facts[slot, DISTANCE]
    driven += ways[FAR, nodes[other, LOCATION], first] - ways[FAR, nodes[start, LOCATION], first]
    driven += ways[FAR, last, nodes[other + 1, LOCATION]] - ways[FAR, last, nodes[start + 1, LOCATION]]
    return fleet[kind, FIXED] + fleet[kind, PER_DISTANCE] * driven


@numba.njit(cache=True)
def retype(
    ways: Floats,
    seg: Floats,
    fleet: Floats,
    kinds: Ints,
    serves: Flags,
    nodes: Ints,
    slots: Ints,
    facts: Floats,
    sequence: Ints,
    rows: Ints,
    random: Words,
    timetable: Timetable,
    is_timed: int,
    num_touched: int,
    at_random: bool,
) -> int:
    """Give each touched route the cheapest type of vehicle that can drive it, or a random one."""
    num_kinds, num_locations = kinds.shape[0], ways.shape[1]
    for number in range(num_touched):
        slot = rows[TOUCHED, number]
        if slots[slot, LENGTH] == 0 or slots[slot, RELOADS] > 0 or slots[slot, LOCKED] > 0:
            continue
        turn = int(uniform(random) * num_kinds)
        for step in range(num_kinds):
            kind, now = (turn + step) % num_kinds, slots[slot, KIND]
            able = kind != now
            if able and not at_random:
                now_costs = facts[slot, COST] - 1e-9
                able = _cost_of(ways, fleet, kinds, nodes, slots, facts, sequence, slot, kind) < now_costs
            able = able and facts[slot, ROOM_OUT] + fleet[kind, CAPACITY] >= fleet[now, CAPACITY]
            able = able and facts[slot, ROOM_BACK] + fleet[kind, CAPACITY] >= fleet[now, CAPACITY]
            for position in range(slots[slot, LENGTH] if able else 0):
                node = sequence[slot, position]
                able = able and (node >= num_locations or serves[kind, node])
            other = free_slot(kinds, slots, kind) if able else NONE
            if other == NONE:
                continue
            cost = facts[slot, COST]
            num_touched = touch(slots, facts, sequence, rows, other, num_touched)
            if move_to(ways, seg, fleet, nodes, slots, facts, sequence, rows, timetable, is_timed, slot, other):
                if at_random or facts[other, COST] < cost - 1e-9:
                    slot = other
                    if at_random:
                        break
                else:
                    move_to(ways, seg, fleet, nodes, slots, facts, sequence, rows, timetable, is_timed, other, slot)
    return num_touched
