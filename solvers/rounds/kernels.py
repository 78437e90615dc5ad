"""Compiled search over the order in which jobs start."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]

_PRIME, _FACTOR = 2147483647, 48271


@numba.njit(cache=True)
def next_random(state: int) -> int:
    """The next state of Lehmer's generator (Park and Miller's minimal standard), from 1 to 2 ** 31 - 2."""
    return state * _FACTOR % _PRIME


@numba.njit(cache=True)
def list_schedule(
    order: Longs,
    rest: Floats,
    gpus: Longs,
    held: Longs,
    capacity: int,
    length: float,
    restart: float,
    waiting: Longs,
    release: Floats,
    start: Floats,
    finish: Floats,
) -> None:
    """Start every job as early as the order allows; one that fits overtakes those that do not.

    GPUs come free at the end of a round of ``length``. ``held`` is 1 for jobs that run now: they pay ``restart`` only
    when they start later. ``waiting`` and ``release`` are work arrays of the length of ``order``.
    """
    count = len(order)
    for position in range(count):
        waiting[position] = order[position]
        release[position] = np.inf
    left = count
    free = capacity
    now = 0.0
    while left > 0:
        kept = 0
        for position in range(left):
            job = waiting[position]
            if gpus[job] <= free:
                cost = 0.0 if held[job] == 1 and now == 0.0 else restart
                start[job] = now
                finish[job] = now + rest[job] + cost
                release[job] = np.ceil(finish[job] / length - 1e-9) * length
                free -= gpus[job]
            else:
                waiting[kept] = job
                kept += 1
        left = kept
        if left == 0:
            break
        soon = np.inf
        for job in range(count):
            if release[job] > now and release[job] < soon:
                soon = release[job]
        if soon == np.inf:
            for position in range(left):
                start[waiting[position]] = np.inf
                finish[waiting[position]] = np.inf
            break
        now = soon
        for job in range(count):
            if release[job] == now:
                free += gpus[job]


@numba.njit(cache=True)
def plan_cost(
    finish: Floats, age: Floats, fair: Floats, weights: Floats, unit: float, horizon: float, due: Floats
) -> float:
    """Weighted sum of mean completion, makespan, share of unfair jobs, excess unfairness and worst fairness.

    ``weights`` are those of the five; times count in ``unit``. ``fair`` is the time on a fair share, ``due`` the
    fairness above which a job counts as unfair (one entry).
    """
    count = len(finish)
    total, last, unfair, excess, worst = 0.0, horizon, 0.0, 0.0, 0.0
    for job in range(count):
        total += finish[job]
        last = max(last, finish[job])
        ratio = (age[job] + finish[job]) / fair[job]
        if ratio > due[0]:
            unfair += 1.0
            excess += ratio - due[0]
        worst = max(worst, ratio)
    mean = total / unit
    ends = last / unit
    beyond = max(0.0, worst - due[1])
    return float(
        weights[0] * mean + weights[1] * ends + weights[2] * unfair + weights[3] * excess + weights[4] * beyond
    )


@numba.njit(cache=True)
def improve_order(
    order: Longs,
    rest: Floats,
    gpus: Longs,
    held: Longs,
    capacity: int,
    length: float,
    restart: float,
    age: Floats,
    fair: Floats,
    weights: Floats,
    unit: float,
    horizon: float,
    due: Floats,
    moves: int,
    heat: float,
    seed: int,
    best: Longs,
    trial: Longs,
    waiting: Longs,
    release: Floats,
    start: Floats,
    finish: Floats,
) -> float:
    """Anneal ``order`` in place by moving one job to another place; ``best`` keeps the best order. Returns its cost."""
    count = len(order)
    state = next_random(1 + seed % (_PRIME - 1))
    list_schedule(order, rest, gpus, held, capacity, length, restart, waiting, release, start, finish)
    here = plan_cost(finish, age, fair, weights, unit, horizon, due)
    lowest = here
    best[:] = order
    for move in range(moves):
        state = next_random(state)
        source = state % count
        state = next_random(state)
        target = state % count
        if source == target:
            continue
        trial[:] = order
        job = trial[source]
        if source < target:
            for position in range(source, target):
                trial[position] = trial[position + 1]
        else:
            for position in range(source, target, -1):
                trial[position] = trial[position - 1]
        trial[target] = job
        list_schedule(trial, rest, gpus, held, capacity, length, restart, waiting, release, start, finish)
        cost = plan_cost(finish, age, fair, weights, unit, horizon, due)
        cold = heat * (1.0 - move / moves)
        state = next_random(state)
        chance = state / _PRIME
        if cost <= here or (cold > 0.0 and chance < np.exp((here - cost) / cold)):
            here = cost
            order[:] = trial
            if here < lowest:
                lowest = here
                best[:] = order
    return float(lowest)


@numba.njit(cache=True, error_model="numpy")
def central_level(
    ratio: Floats,
    has_row: Longs,
    gpus: Floats,
    capacity: Floats,
    columns: int,
    most_steps: int,
    tolerance: float,
    x: Floats,
    zx: Floats,
    time_slack: Floats,
    time_z: Floats,
    time_y: Floats,
    level_slack: Floats,
    level_z: Floats,
    level_y: Floats,
    type_slack: Floats,
    type_z: Floats,
    type_y: Floats,
    schur: Floats,
    side: Floats,
    time_p: Floats,
    level_p: Floats,
    type_p: Floats,
    dual: Floats,
    comp: Floats,
    weight: Floats,
    dx: Floats,
    dzx: Floats,
    step_slack: Floats,
    step_z: Floats,
    step_y: Floats,
    best: Floats,
    out: Floats,
) -> float:
    """The central solution of: maximise L with ``ratio[j] @ x[j] >= L``, whole times at most 1, GPUs at most capacity.

    Mehrotra's predictor-corrector method as in :func:`~apportion.solvers.rounds.central.central_optimum`, with the
    normal equations reduced job by job to one small system over types and L. ``ratio`` (J, T) is 0 where a job cannot
    run; only jobs with ``has_row`` must reach L. Rows are ordered: jobs' times, jobs' levels, types. ``best`` (J, T)
    and ``out[0]`` get the answer; returns its error.
    """
    jobs, types = ratio.shape
    size = types + 1
    levels = 0
    for j in range(jobs):
        levels += has_row[j]
    right = max(1.0, capacity.max())
    first = max(1.0, right / max(1, columns))
    level, level_zx = first, 1.0
    for j in range(jobs):
        for t in range(types):
            x[j, t] = first if ratio[j, t] > 0 else 0.0
            zx[j, t] = 1.0
        time_slack[j], time_z[j], time_y[j] = first, 1.0, 0.0
        level_slack[j], level_z[j], level_y[j] = first, 1.0, 0.0
    for t in range(types):
        type_slack[t], type_z[t], type_y[t] = first, 1.0, 0.0
    width = 1.0 + right
    length = columns + jobs + levels + types
    reached = np.inf
    for _ in range(most_steps):
        # residuals and the gap
        gap, far, off = level * level_zx, 0.0, 0.0
        total_y = 0.0
        for t in range(types):
            type_p[t] = capacity[t] - type_slack[t]
            off = max(off, abs(type_z[t] + type_y[t]))
            gap += type_slack[t] * type_z[t]
        for j in range(jobs):
            time_p[j] = 1.0 - time_slack[j]
            level_p[j] = -level - level_slack[j]
            for t in range(types):
                if ratio[j, t] > 0:
                    time_p[j] -= x[j, t]
                    level_p[j] += ratio[j, t] * x[j, t]
                    type_p[t] -= gpus[j] * x[j, t]
                    dual[j, t] = -zx[j, t] - time_y[j] - gpus[j] * type_y[t]
                    if has_row[j]:
                        dual[j, t] += ratio[j, t] * level_y[j]
                    off = max(off, abs(dual[j, t]))
                    gap += x[j, t] * zx[j, t]
            far = max(far, abs(time_p[j]))
            off = max(off, abs(time_z[j] + time_y[j]))
            gap += time_slack[j] * time_z[j]
            if has_row[j]:
                far = max(far, abs(level_p[j]))
                off = max(off, abs(level_z[j] + level_y[j]))
                gap += level_slack[j] * level_z[j]
                total_y += level_y[j]
        for t in range(types):
            far = max(far, abs(type_p[t]))
        level_dual = -1.0 - level_zx - total_y
        off = max(off, abs(level_dual))
        gap /= length
        error = max(gap, far / width, off / 10.0)
        if error < reached:
            reached = error
            best[:] = x
            out[0] = level
        if error < tolerance or not np.isfinite(error):
            break
        sigma_gap = 0.0
        for corrector in range(2):
            # right side: primal + A (w * dual - comp / z)
            for j in range(jobs):
                for t in range(types):
                    if ratio[j, t] > 0:
                        comp[j, t] = sigma_gap - x[j, t] * zx[j, t]
                        if corrector:
                            comp[j, t] -= dx[j, t] * dzx[j, t]
            level_comp = sigma_gap - level * level_zx
            if corrector:
                level_comp -= out[1] * out[2]
            schur[:] = 0.0
            for t in range(types):
                w = type_slack[t] / type_z[t]
                c = sigma_gap - type_slack[t] * type_z[t]
                if corrector:
                    c -= step_slack[2 * jobs + t] * step_z[2 * jobs + t]
                step_y[2 * jobs + t] = c
                schur[t, t] = w
                schur[t, size] = type_p[t] + w * (-type_z[t] - type_y[t]) - c / type_z[t]
            # the last unknown is the step of L: its own weight may be huge, and would cancel
            schur[types, types] = -level_zx / level
            schur[types, size] = level_dual - level_comp / level
            for j in range(jobs):
                own = time_slack[j] / time_z[j]
                c = sigma_gap - time_slack[j] * time_z[j]
                if corrector:
                    c -= step_slack[j] * step_z[j]
                step_y[j] = c
                side[j, 0] = time_p[j] + own * (-time_z[j] - time_y[j]) - c / time_z[j]
                side[j, 1], side[j, 2], side[j, 3] = 0.0, own, 1.0
                if has_row[j]:
                    low = level_slack[j] / level_z[j]
                    c = sigma_gap - level_slack[j] * level_z[j]
                    if corrector:
                        c -= step_slack[jobs + j] * step_z[jobs + j]
                    step_y[jobs + j] = c
                    side[j, 1] = level_p[j] + low * (-level_z[j] - level_y[j]) - c / level_z[j]
                    side[j, 3] = low
                for t in range(types):
                    weight[j, t] = x[j, t] / zx[j, t] if ratio[j, t] > 0 else 0.0
                _reduce_job(j, ratio, has_row, gpus, weight, x, dual, comp, side, schur, types)
            if not _eliminate(schur, size):
                return reached
            # back to the rows
            for j in range(jobs):
                _expand_job(j, ratio, has_row, gpus, weight, x, dual, comp, side, schur, types)
            # steps of z and x
            longest_p, longest_d, aimed = 1.0, 1.0, 0.0
            d_level = schur[types, size]
            d_level_z = (level_comp - level_zx * d_level) / level
            longest_p = _shorter(longest_p, level, d_level)
            longest_d = _shorter(longest_d, level_zx, d_level_z)
            for j in range(jobs):
                for t in range(types):
                    if ratio[j, t] > 0:
                        back = side[j, 6] + gpus[j] * schur[t, size] - ratio[j, t] * side[j, 7]
                        change = dual[j, t] - back
                        dx[j, t] = (comp[j, t] - x[j, t] * change) / zx[j, t]
                        dzx[j, t] = change
                        longest_p = _shorter(longest_p, x[j, t], dx[j, t])
                        longest_d = _shorter(longest_d, zx[j, t], change)
                c = step_y[j]
                step_z[j] = -time_z[j] - time_y[j] - side[j, 6]
                step_slack[j] = (c - time_slack[j] * step_z[j]) / time_z[j]
                longest_p = _shorter(longest_p, time_slack[j], step_slack[j])
                longest_d = _shorter(longest_d, time_z[j], step_z[j])
                if has_row[j]:
                    c = step_y[jobs + j]
                    step_z[jobs + j] = -level_z[j] - level_y[j] - side[j, 7]
                    step_slack[jobs + j] = (c - level_slack[j] * step_z[jobs + j]) / level_z[j]
                    longest_p = _shorter(longest_p, level_slack[j], step_slack[jobs + j])
                    longest_d = _shorter(longest_d, level_z[j], step_z[jobs + j])
            for t in range(types):
                c = step_y[2 * jobs + t]
                step_z[2 * jobs + t] = -type_z[t] - type_y[t] - schur[t, size]
                step_slack[2 * jobs + t] = (c - type_slack[t] * step_z[2 * jobs + t]) / type_z[t]
                longest_p = _shorter(longest_p, type_slack[t], step_slack[2 * jobs + t])
                longest_d = _shorter(longest_d, type_z[t], step_z[2 * jobs + t])
            if corrector == 0:
                aimed = (level + longest_p * d_level) * (level_zx + longest_d * d_level_z)
                for j in range(jobs):
                    for t in range(types):
                        if ratio[j, t] > 0:
                            aimed += (x[j, t] + longest_p * dx[j, t]) * (zx[j, t] + longest_d * dzx[j, t])
                    aimed += (time_slack[j] + longest_p * step_slack[j]) * (time_z[j] + longest_d * step_z[j])
                    if has_row[j]:
                        k = jobs + j
                        aimed += (level_slack[j] + longest_p * step_slack[k]) * (level_z[j] + longest_d * step_z[k])
                for t in range(types):
                    k = 2 * jobs + t
                    aimed += (type_slack[t] + longest_p * step_slack[k]) * (type_z[t] + longest_d * step_z[k])
                aimed /= length
                sigma_gap = gap * min(1.0, max((aimed / max(gap, 1e-300)) ** 3, 1e-3))
            out[1], out[2] = d_level, d_level_z
        longest_p *= 0.9995
        longest_d *= 0.9995
        level += longest_p * out[1]
        level_zx += longest_d * out[2]
        for j in range(jobs):
            for t in range(types):
                if ratio[j, t] > 0:
                    x[j, t] += longest_p * dx[j, t]
                    zx[j, t] += longest_d * dzx[j, t]
            time_slack[j] += longest_p * step_slack[j]
            time_z[j] += longest_d * step_z[j]
            time_y[j] += longest_d * side[j, 6]
            if has_row[j]:
                level_slack[j] += longest_p * step_slack[jobs + j]
                level_z[j] += longest_d * step_z[jobs + j]
                level_y[j] += longest_d * side[j, 7]
        for t in range(types):
            type_slack[t] += longest_p * step_slack[2 * jobs + t]
            type_z[t] += longest_d * step_z[2 * jobs + t]
            type_y[t] += longest_d * schur[t, size]
    return reached


@numba.njit(cache=True, error_model="numpy")
def _determinant(
    job: int, ratio: Floats, has_row: Longs, weight: Floats, own: float, low: float, types: int, without: int
) -> float:
    """Of the two rows of a job, as a sum of what is not negative; without the part of one type unless that is -1."""
    total, squares, found = 0.0, 0.0, own * low
    for t in range(types):
        if t == without:
            continue
        rho = ratio[job, t] * has_row[job]
        total += weight[job, t]
        squares += rho * rho * weight[job, t]
        for u in range(t):
            if u != without:
                apart = rho - ratio[job, u] * has_row[job]
                found += weight[job, t] * weight[job, u] * apart * apart
    return found + low * total + own * squares


@numba.njit(cache=True, error_model="numpy")
def _reduce_job(
    job: int,
    ratio: Floats,
    has_row: Longs,
    gpus: Floats,
    weight: Floats,
    x: Floats,
    dual: Floats,
    comp: Floats,
    side: Floats,
    schur: Floats,
    types: int,
) -> None:
    """Take the two rows of a job out of the small system.

    Huge weights cancel exactly: every difference is written out before it is multiplied.
    """
    size, own, low, has = types + 1, side[job, 2], side[job, 3], has_row[job]
    det = _determinant(job, ratio, has_row, weight, own, low, types, -1)
    side[job, 5] = det
    total = own
    for t in range(types):
        total += weight[job, t]
    schur[types, types] -= has * total / det
    # p * b_level - q * b_time over the determinant, with the types' parts written out below
    slope = 0.0
    for s in range(types):
        slope += weight[job, s] * ratio[job, s] * has
    schur[types, size] -= has * (total * side[job, 1] + slope * side[job, 0]) / det
    for t in range(types):
        if weight[job, t] == 0.0:
            continue
        rho, heavy = ratio[job, t] * has, gpus[job] * weight[job, t]
        level_side, time_side = -rho * own, low
        for s in range(types):
            apart = (ratio[job, s] - ratio[job, t]) * has
            level_side += weight[job, s] * apart
            time_side += weight[job, s] * ratio[job, s] * has * apart
        schur[t, types] -= has * heavy * level_side / det
        schur[types, t] -= has * heavy * level_side / det
        part = dual[job, t] - comp[job, t] / x[job, t]
        schur[types, size] -= has * weight[job, t] * part * level_side / det
        schur[t, size] -= heavy * (time_side * side[job, 0] + level_side * side[job, 1]) / det
        kept = _determinant(job, ratio, has_row, weight, own, low, types, t) / det
        schur[t, t] += gpus[job] * heavy * kept
        schur[t, size] += heavy * part * kept
        for u in range(types):
            if u == t or weight[job, u] == 0.0:
                continue
            common = low + own * rho * ratio[job, u] * has
            for s in range(types):
                apart = (ratio[job, s] - ratio[job, t]) * (ratio[job, s] - ratio[job, u]) * has
                common += weight[job, s] * apart
            other = dual[job, u] - comp[job, u] / x[job, u]
            schur[t, u] -= gpus[job] * heavy * weight[job, u] * common / det
            schur[t, size] -= heavy * weight[job, u] * other * common / det


@numba.njit(cache=True, error_model="numpy")
def _expand_job(
    job: int,
    ratio: Floats,
    has_row: Longs,
    gpus: Floats,
    weight: Floats,
    x: Floats,
    dual: Floats,
    comp: Floats,
    side: Floats,
    schur: Floats,
    types: int,
) -> None:
    """The multipliers of the two rows of a job from those of the small system, into ``side[job, 6]`` and ``7``."""
    size, own, low, has = types + 1, side[job, 2], side[job, 3], has_row[job]
    b_time, b_level = side[job, 0], side[job, 1] - has * schur[types, size]
    total, slope, squares = own, 0.0, low
    for t in range(types):
        rho = ratio[job, t] * has
        total += weight[job, t]
        slope += weight[job, t] * rho
        squares += weight[job, t] * rho * rho
    time_y, level_y = squares * b_time + slope * b_level, total * b_level + slope * b_time
    for t in range(types):
        if weight[job, t] == 0.0:
            continue
        rho = ratio[job, t] * has
        level_side, time_side = -rho * own, low
        for s in range(types):
            apart = (ratio[job, s] - ratio[job, t]) * has
            level_side += weight[job, s] * apart
            time_side += weight[job, s] * ratio[job, s] * has * apart
        moved = weight[job, t] * (dual[job, t] - comp[job, t] / x[job, t] - gpus[job] * schur[t, size])
        time_y += moved * time_side
        level_y += moved * level_side
    side[job, 6] = time_y / side[job, 5]
    side[job, 7] = has * level_y / side[job, 5]


@numba.njit(cache=True, error_model="numpy")
def _shorter(length: float, value: float, step: float) -> float:
    """The length of a step that keeps a value from going below 0."""
    if step < 0 and -value / step < length:
        return -value / step
    return length


@numba.njit(cache=True, error_model="numpy")
def _eliminate(table: Floats, size: int) -> bool:
    """Solve a small system in place, right side in the last column; False when it is singular."""
    for column in range(size):
        pivot = column
        for row in range(column + 1, size):
            if abs(table[row, column]) > abs(table[pivot, column]):
                pivot = row
        if table[pivot, column] == 0.0 or not np.isfinite(table[pivot, column]):
            return False
        for k in range(size + 1):
            table[column, k], table[pivot, k] = table[pivot, k], table[column, k]
        for row in range(size):
            if row != column:
                factor = table[row, column] / table[column, column]
                for k in range(column, size + 1):
                    table[row, k] -= factor * table[column, k]
    for row in range(size):
        table[row, size] /= table[row, row]
    return True
