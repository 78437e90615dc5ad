"""Compiled loops of the priced method: what each job buys when the types of GPU have prices.

A job pays ``size * price[t]`` for all its time on type t and gets ``rates[t]`` steps per second. The cheapest way to
reach a rate mixes two neighbours on the lower hull of the points (rate, cost), the origin included.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ENDLESS = 2.0  # a slope beyond 1 ends the search for the level, so any such number stands for infinity


@numba.njit(cache=True)
def _next_vertex(rates: Floats, job: int, size: float, price: Floats, rate: float, cost: float) -> int:
    """The hull's vertex after (rate, cost): the flattest edge, the longest of equals; -1 at the end."""
    best, flattest, longest = -1, np.inf, 0.0
    for t in range(price.shape[0]):
        gain = rates[job, t] - rate
        if gain > 0.0:
            slope = (size * price[t] - cost) / gain
            if slope < flattest or (slope == flattest and rates[job, t] > longest):
                best, flattest, longest = t, slope, rates[job, t]
    return best


@numba.njit(cache=True)
def spread(rates: Floats, sizes: Floats, price: Floats, wanted: Floats, part: float, x: Floats, load: Floats) -> float:
    """Let every job reach ``wanted`` (J,) most cheaply; add ``part`` of that to ``x`` (J, T) and ``load`` (T,).

    Returns the cost of all jobs, infinite when a job cannot be so fast.
    """
    total = 0.0
    for job in range(rates.shape[0]):
        goal = wanted[job]
        if goal <= 0.0:
            continue
        size, last, rate, cost = sizes[job], -1, 0.0, 0.0
        while True:
            t = _next_vertex(rates, job, size, price, rate, cost)
            if t < 0:
                return np.inf
            if rates[job, t] >= goal:
                share = (goal - rate) / (rates[job, t] - rate)
                x[job, t] += part * share
                load[t] += part * size * share
                total += cost + share * (size * price[t] - cost)
                if last >= 0:
                    x[job, last] += part * (1.0 - share)
                    load[last] += part * size * (1.0 - share)
                break
            last, rate, cost = t, rates[job, t], size * price[t]
    return total


@numba.njit(cache=True)
def total_cost(rates: Floats, sizes: Floats, price: Floats, wanted: Floats) -> float:
    """What all jobs pay to reach ``wanted`` (J,) most cheaply; infinite when one cannot."""
    total = 0.0
    for job in range(rates.shape[0]):
        goal = wanted[job]
        if goal <= 0.0:
            continue
        size, rate, cost = sizes[job], 0.0, 0.0
        while True:
            t = _next_vertex(rates, job, size, price, rate, cost)
            if t < 0:
                return np.inf
            if rates[job, t] >= goal:
                total += cost + (goal - rate) / (rates[job, t] - rate) * (size * price[t] - cost)
                break
            rate, cost = rates[job, t], size * price[t]
    return total


@numba.njit(cache=True)
def marginal_costs(rates: Floats, sizes: Floats, price: Floats, wanted: Floats, slopes: Floats) -> None:
    """What one more step per second costs each job at ``wanted``, into ``slopes`` (J,); infinite at its fastest.

    At a vertex of the hull it is the slope of the edge below.
    """
    for job in range(rates.shape[0]):
        size, rate, cost = sizes[job], 0.0, 0.0
        slopes[job] = np.inf
        while True:
            t = _next_vertex(rates, job, size, price, rate, cost)
            if t < 0:
                break
            if rates[job, t] >= wanted[job]:
                slopes[job] = (size * price[t] - cost) / (rates[job, t] - rate)
                break
            rate, cost = rates[job, t], size * price[t]


@numba.njit(cache=True)
def best_level(
    rates: Floats, sizes: Floats, price: Floats, fixed: Floats, need: Floats, keys: Floats, jumps: Floats
) -> float:
    """The level L that maximises ``L - cost of reaching fixed + need * L``.

    ``keys`` and ``jumps`` are work arrays of J * (T + 1) entries: levels at which the slope of the cost jumps.
    """
    count = 0
    for job in range(rates.shape[0]):
        if need[job] <= 0.0:
            continue
        size, rate, cost, slope = sizes[job], 0.0, 0.0, 0.0
        while True:
            t = _next_vertex(rates, job, size, price, rate, cost)
            keys[count] = (rate - fixed[job]) / need[job]
            if t < 0:
                jumps[count] = _ENDLESS
                count += 1
                break
            steeper = (size * price[t] - cost) / (rates[job, t] - rate)
            jumps[count] = need[job] * max(0.0, steeper - slope)
            count += 1
            rate, cost, slope = rates[job, t], size * price[t], steeper
    return float(_crossing(keys, jumps, count))


@numba.njit(cache=True)
def _crossing(keys: Floats, jumps: Floats, count: int) -> float:
    """The smallest key at which the jumps of all keys up to it reach 1: a weighted selection in linear time."""
    low, high, before = 0, count, 0.0
    while high - low > 1:
        first, middle, last = keys[low], keys[(low + high) // 2], keys[high - 1]
        pivot = max(min(first, middle), min(max(first, middle), last))
        left, right, here = low, high - 1, low
        below, equal = 0.0, 0.0
        while here <= right:  # three parts: smaller, equal, larger
            if keys[here] < pivot:
                below += jumps[here]
                keys[here], keys[left] = keys[left], keys[here]
                jumps[here], jumps[left] = jumps[left], jumps[here]
                left += 1
                here += 1
            elif keys[here] > pivot:
                keys[here], keys[right] = keys[right], keys[here]
                jumps[here], jumps[right] = jumps[right], jumps[here]
                right -= 1
            else:
                equal += jumps[here]
                here += 1
        if before + below >= 1.0:
            high = left
        elif before + below + equal >= 1.0 or right + 1 >= high:
            return float(pivot)
        else:
            before += below + equal
            low = right + 1
    return float(keys[low])


@numba.njit(cache=True)
def best_value(
    rates: Floats, sizes: Floats, price: Floats, value: Floats, least: Floats, part: float, x: Floats, load: Floats
) -> float:
    """Let every job choose the time that is worth most: ``sum (value - size * price) x`` with ``rate >= least``.

    ``value`` is (J, T), ``least`` (J,). Adds ``part`` of the choice to ``x`` and ``load``; returns the worth of all,
    minus infinity when a job cannot be so fast.
    """
    total = 0.0
    num_types = price.shape[0]
    for job in range(rates.shape[0]):
        size, goal = sizes[job], least[job]
        one, other, share, most = -1, -1, 0.0, -np.inf
        if goal <= 0.0:
            most = 0.0
        for s in range(num_types):
            if rates[job, s] <= 0.0:
                continue
            worth = value[job, s] - size * price[s]
            if rates[job, s] >= goal:
                if worth > most:
                    one, other, share, most = s, -1, 1.0, worth
                if goal > 0.0 and goal / rates[job, s] * worth > most:
                    one, other, share = s, -1, goal / rates[job, s]
                    most = share * worth
                for t in range(num_types):
                    if 0.0 < rates[job, t] < goal:
                        fast = (goal - rates[job, t]) / (rates[job, s] - rates[job, t])
                        mixed = fast * worth + (1.0 - fast) * (value[job, t] - size * price[t])
                        if mixed > most:
                            one, other, share, most = s, t, fast, mixed
        if one < 0:
            if goal > 0.0:
                return -np.inf
            continue
        total += most
        x[job, one] += part * share
        load[one] += part * size * share
        if other >= 0:
            x[job, other] += part * (1.0 - share)
            load[other] += part * size * (1.0 - share)
    return total


@numba.njit(cache=True)
def best_logarithm(rates: Floats, sizes: Floats, price: Floats, weights: Floats, wanted: Floats) -> float:
    """The rate at which ``weight * log(rate) - cost`` is greatest for every job, into ``wanted`` (J,); the sum of all.

    Jobs that cannot run or have weight 0 count nothing.
    """
    total = 0.0
    for job in range(rates.shape[0]):
        size, rate, cost = sizes[job], 0.0, 0.0
        wanted[job] = 0.0
        while weights[job] > 0.0:
            t = _next_vertex(rates, job, size, price, rate, cost)
            if t < 0:
                break
            slope = (size * price[t] - cost) / (rates[job, t] - rate)
            if slope * rates[job, t] <= weights[job]:  # worth the whole edge
                rate, cost = rates[job, t], size * price[t]
                continue
            goal = weights[job] / slope
            if goal > rate:
                cost += (goal - rate) * slope
                rate = goal
            break
        if rate > 0.0:
            wanted[job] = rate
            total += weights[job] * np.log(rate) - cost
    return total
