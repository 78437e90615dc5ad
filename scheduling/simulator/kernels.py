"""The compiled loop from event to event."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]

NOT_ARRIVED, PENDING, RUNNING, FINISHED, REJECTED = 0, 1, 2, 3, 4
BY_ARRIVAL, BY_LENGTH, BY_REST, BY_DEADLINE = 0, 1, 2, 3
HELD_BACK, TOO_LARGE, NO_FREE, OVER_QUOTA = 0, 1, 2, 3


@numba.njit(cache=True)
def run_events(
    arrival: Floats,
    seconds: Floats,
    gpus: Longs,
    deadline: Floats,
    capacity: Longs,
    rule: int,
    gpu_power: float,
    preemptive: bool,
    overtaking: bool,
    restart: float,
    until: float,
    change_time: Floats,
    change_kind: Longs,
    change_gpus: Longs,
    group: Longs,
    quota: Longs,
    held: Longs,
    state: Longs,
    kind: Longs,
    left: Floats,
    begun: Floats,
    end: Floats,
    key: Floats,
    active: Longs,
    wanted: Longs,
    free: Longs,
    finish: Floats,
    first_start: Floats,
    preemptions: Longs,
    code: Longs,
    queueing: Floats,
    row_job: Longs,
    row_kind: Longs,
    row_start: Floats,
    row_end: Floats,
    out: Floats,
) -> int:
    """Simulate until nothing is left or ``until``; returns the rows of work written, or -1 when there is no room.

    ``seconds`` (J, T) is how long a job takes alone on a type, infinite where it cannot run. ``left`` is the part of a
    job still to do, ``end`` when a running one is done. Jobs of a ``group`` (-1 for none) hold at most its ``quota``.
    ``change_*`` are GPUs that go (negative) or come back. ``free`` ends with the GPUs up, ``out`` with the last time.
    All other arrays are state and results.
    """
    jobs, types = seconds.shape
    up = capacity.copy()
    now, arrived, changed, count, rows = 0.0, 0, 0, 0, 0
    while True:
        # what waits, waits until the next event
        following = np.inf
        if arrived < jobs:
            following = arrival[arrived]
        if changed < len(change_time) and (count > 0 or arrived < jobs):
            following = min(following, change_time[changed])
        for position in range(count):
            job = active[position]
            if state[job] == RUNNING and end[job] < following:
                following = end[job]
        stop = following == np.inf or following > until
        moment = now if following == np.inf else min(following, until)
        for position in range(count):
            job = active[position]
            if state[job] == PENDING:
                queueing[code[job]] += (moment - now) * gpus[job]
        now = moment
        if stop:
            break
        # finishes
        kept = 0
        for position in range(count):
            job = active[position]
            if state[job] == RUNNING and end[job] <= now:
                if rows == len(row_job):
                    return -1
                row_job[rows], row_kind[rows], row_start[rows], row_end[rows] = job, kind[job], begun[job], now
                rows += 1
                state[job] = FINISHED
                finish[job] = now
                left[job] = 0.0
            else:
                active[kept] = job
                kept += 1
        count = kept
        while arrived < jobs and arrival[arrived] <= now:
            job = arrived
            arrived += 1
            if state[job] == REJECTED:
                continue
            state[job] = PENDING
            active[count] = job
            count += 1
        while changed < len(change_time) and change_time[changed] <= now:
            up[change_kind[changed]] += change_gpus[changed]
            changed += 1
        # keys, and an insertion sort of a list that is nearly in order
        for position in range(count):
            job = active[position]
            if state[job] == RUNNING and not preemptive:
                key[job] = -np.inf
                continue
            shortest = np.inf
            for t in range(types):
                shortest = min(shortest, seconds[job, t])
            if rule == BY_ARRIVAL:
                key[job] = arrival[job]
            else:
                part = left[job]
                if state[job] == RUNNING:
                    part = min(part, (end[job] - now) / seconds[job, kind[job]])
                rest = part * shortest
                if rule == BY_LENGTH:
                    key[job] = shortest * max(1, gpus[job]) ** gpu_power
                elif rule == BY_REST:
                    key[job] = rest * max(1, gpus[job]) ** gpu_power
                else:
                    # what is too late already must not make others late
                    key[job] = deadline[job] if now + rest <= deadline[job] else 1e15 + arrival[job]
        for position in range(1, count):
            job = active[position]
            place = position
            while place > 0 and key[active[place - 1]] > key[job]:
                active[place] = active[place - 1]
                place -= 1
            active[place] = job
        # who runs
        for t in range(types):
            free[t] = max(0, up[t])
        blocked = False
        most_free = free.max()
        held[:] = 0
        for position in range(count):
            job = active[position]
            wanted[job] = -1
            if group[job] >= 0 and held[group[job]] + gpus[job] > quota[group[job]]:
                continue
            if blocked or (gpus[job] > most_free and state[job] != RUNNING):
                blocked = blocked or not overtaking
                continue
            best = np.inf
            if state[job] == RUNNING and gpus[job] <= free[kind[job]]:
                wanted[job] = kind[job]
            else:
                for t in range(types):
                    if gpus[job] <= free[t] and seconds[job, t] < best:
                        best = seconds[job, t]
                        wanted[job] = t
            if wanted[job] >= 0:
                if group[job] >= 0:
                    held[group[job]] += gpus[job]
                free[wanted[job]] -= gpus[job]
                most_free = free.max()
            elif not overtaking:
                blocked = True
        for position in range(count):
            job = active[position]
            if state[job] == RUNNING and wanted[job] != kind[job]:
                if rows == len(row_job):
                    return -1
                row_job[rows], row_kind[rows], row_start[rows], row_end[rows] = job, kind[job], begun[job], now
                rows += 1
                left[job] = min(left[job], (end[job] - now) / seconds[job, kind[job]])
                preemptions[job] += 1
                state[job] = PENDING
            if state[job] == PENDING and wanted[job] >= 0:
                cost = restart if preemptions[job] > 0 else 0.0
                kind[job] = wanted[job]
                begun[job] = now
                end[job] = now + cost + left[job] * seconds[job, kind[job]]
                state[job] = RUNNING
                if np.isnan(first_start[job]):
                    first_start[job] = now
            elif state[job] == PENDING:
                most = 0
                if most_free > 0:
                    for t in range(types):
                        if seconds[job, t] < np.inf:
                            most = max(most, free[t])
                code[job] = HELD_BACK if most >= gpus[job] else TOO_LARGE if most > 0 else NO_FREE
                if group[job] >= 0 and held[group[job]] + gpus[job] > quota[group[job]]:
                    code[job] = OVER_QUOTA
    for position in range(count):
        job = active[position]
        if state[job] == RUNNING:
            if rows == len(row_job):
                return -1
            row_job[rows], row_kind[rows], row_start[rows], row_end[rows] = job, kind[job], begun[job], now
            rows += 1
    out[0] = now
    return rows
