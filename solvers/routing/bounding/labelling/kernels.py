"""Compiled labelling over ng-routes with subset-row cuts: one direction, joins, arcs that may stay, enumeration.

Labels live in parallel arrays, one row each. ``ints`` holds node, parent, the next label in the same bucket of the same
node, the next in the queue and whether another label beats it; ``amounts`` clock, load, cost; ``memory`` the clients
that the ng-sets remember, as bits; ``parity`` of each cut whether an odd number of its clients was seen. Label 0 is the
depot. The kernels know no direction: backward labels walk the reversed network, whose clock runs from the day's end.

References
----------
Baldacci, R., Mingozzi, A., Roberti, R. (2011). New route relaxation and pricing strategies for the vehicle routing
problem. Operations Research 59(5), 1269-1283.

Righini, G., Salani, M. (2006). Symmetry helps: bounded bi-directional dynamic programming for the elementary shortest
path problem with resource constraints. Discrete Optimization 3(3), 255-273.

Pecin, D., Pessoa, A., Poggi, M., Uchoa, E. (2017). Improved branch-cut-and-price for capacitated vehicle routing.
Mathematical Programming Computation 9, 61-100.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Flags = NDArray[np.bool_]
Long = NDArray[np.int64]

NONE = -1
BITS = 60
"""Clients, or cuts, in one word of a set."""
CUT_BITS = 56
NODE, PARENT, NEXT_AT_NODE, NEXT_IN_QUEUE, DEAD = range(5)
CLOCK, LOAD, COST = range(3)
NUM_LABELS, BUCKET, POSITION, NUM_EXTENDED = range(4)
FINISHED, PAUSED, FULL = range(3)
BY_CLOCK, BY_LOAD, EXACT = range(3)
SLACK = 1e-7


@numba.njit(cache=True)
def _owed(bits: int, word: int, table: Floats) -> float:
    """The sum of the prices of the cuts in ``bits``."""
    total = 0.0
    part = 0
    while bits != 0:
        total += table[word, part, bits & 255]
        bits >>= 8
        part += 1
    return total


@numba.njit(cache=True)
def _beats(amounts: Floats, memory: Long, parity: Long, table: Floats, care: int, one: int, other: int) -> bool:
    """Whether all that label ``other`` can still do, label ``one`` at the same node does at no more cost."""
    spare = amounts[other, COST] - amounts[one, COST]
    if spare < 0.0 or amounts[one, CLOCK] > amounts[other, CLOCK]:
        return False
    if care == BY_CLOCK:
        return True
    if amounts[one, LOAD] > amounts[other, LOAD]:
        return False
    if care == BY_LOAD:
        return True
    for word in range(memory.shape[1]):
        if memory[one, word] & ~memory[other, word]:
            return False
    for word in range(parity.shape[1]):
        spare -= _owed(parity[one, word] & ~parity[other, word], word, table)
        if spare < 0.0:
            return False
    return True


@numba.njit(cache=True)
def _is_beaten(
    new: int,
    bucket: int,
    newest: int,
    ints: Ints,
    amounts: Floats,
    memory: Long,
    parity: Long,
    table: Floats,
    care: int,
    heads: Ints,
    least: Floats,
) -> bool:
    """Whether a label after ``newest`` beats label ``new``; the lists begin with the newest label."""
    node = ints[new, NODE]
    cost = amounts[new, COST]
    for lower in range(bucket, -1, -1):
        if least[node, lower] > cost:
            continue
        label = heads[node, lower]
        while label > newest:
            if ints[label, DEAD] == 0 and _beats(amounts, memory, parity, table, care, label, new):
                return True
            label = ints[label, NEXT_AT_NODE]
    return False


@numba.njit(cache=True)
def _clear_beaten(
    new: int,
    bucket: int,
    ints: Ints,
    amounts: Floats,
    memory: Long,
    parity: Long,
    table: Floats,
    care: int,
    heads: Ints,
) -> None:
    """Take the labels of this bucket that ``new`` beats, and all dead ones, out of the list."""
    node = ints[new, NODE]
    before, label = NONE, heads[node, bucket]
    while label != NONE:
        after = ints[label, NEXT_AT_NODE]
        if ints[label, DEAD] == 0 and _beats(amounts, memory, parity, table, care, new, label):
            ints[label, DEAD] = 1
        if ints[label, DEAD] == 0:
            before = label
        elif before == NONE:
            heads[node, bucket] = after
        else:
            ints[before, NEXT_AT_NODE] = after
        label = after


@numba.njit(cache=True)
def extend(
    starts: Ints,
    ends: Ints,
    reduced: Floats,
    takes: Floats,
    ready: Floats,
    due: Floats,
    demand: Floats,
    capacity: float,
    near: Long,
    keep: Long,
    hit: Long,
    table: Floats,
    care: int,
    middle: float,
    stretch: Floats,
    ints: Ints,
    amounts: Floats,
    memory: Long,
    parity: Long,
    heads: Ints,
    least: Floats,
    first: Ints,
    last: Ints,
    width: float,
    progress: Long,
    most_extended: int,
) -> int:
    """Extend labels in order of the clock up to ``middle``.

    Return FINISHED, PAUSED after ``most_extended`` (call again to go on) or FULL. ``near`` (n + 1, words) holds the
    ng-set of each location, ``keep`` the cuts whose memory it belongs to and ``hit`` those it is a client of; ``table``
    (words, 7, 256) sums the prices of the cuts of each byte. ``stretch`` turns a clock at a location into its bucket.
    """
    extended = 0
    buckets = heads.shape[1]
    words, cut_words = memory.shape[1], parity.shape[1]
    while progress[BUCKET] < len(first):
        queue = progress[BUCKET]
        label = first[queue] if progress[POSITION] == NONE else ints[progress[POSITION], NEXT_IN_QUEUE]
        if label == NONE:
            progress[BUCKET] += 1
            progress[POSITION] = NONE
            continue
        if extended >= most_extended:
            first[queue] = label
            progress[POSITION] = NONE
            return PAUSED
        progress[POSITION] = label
        if ints[label, DEAD] != 0:
            continue
        here = ints[label, NODE]
        if here != 0:
            bucket = min(buckets - 1, int((amounts[label, CLOCK] - ready[here]) * stretch[here]))
            if _is_beaten(label, bucket, label, ints, amounts, memory, parity, table, care, heads, least):
                ints[label, DEAD] = 1
                continue
        extended += 1
        progress[NUM_EXTENDED] += 1
        for arc in range(starts[here], starts[here + 1]):
            there = ends[arc]
            if (memory[label, there // BITS] >> (there % BITS)) & 1:
                continue
            load = amounts[label, LOAD] + demand[there]
            if load > capacity:
                continue
            clock = max(amounts[label, CLOCK] + takes[here, there], ready[there])
            if clock > due[there] or clock > middle:
                continue
            new = progress[NUM_LABELS]
            if new >= len(ints):
                return FULL
            cost = amounts[label, COST] + reduced[here, there]
            for word in range(cut_words):
                odd = parity[label, word] & keep[there, word]
                cost += _owed(odd & hit[there, word], word, table)
                parity[new, word] = odd ^ hit[there, word]
            for word in range(words):
                memory[new, word] = memory[label, word] & near[there, word]
            memory[new, there // BITS] |= np.int64(1) << (there % BITS)
            ints[new, NODE] = there
            amounts[new, CLOCK] = clock
            amounts[new, LOAD] = load
            amounts[new, COST] = cost
            bucket = min(buckets - 1, int((clock - ready[there]) * stretch[there]))
            if _is_beaten(new, bucket, NONE, ints, amounts, memory, parity, table, care, heads, least):
                continue
            _clear_beaten(new, bucket, ints, amounts, memory, parity, table, care, heads)
            progress[NUM_LABELS] += 1
            ints[new, PARENT] = label
            ints[new, DEAD] = 0
            ints[new, NEXT_AT_NODE] = heads[there, bucket]
            heads[there, bucket] = new
            least[there, bucket] = min(least[there, bucket], cost)
            into = min(len(first) - 1, max(queue, int((clock - ready[0]) / width)))
            ints[new, NEXT_IN_QUEUE] = NONE
            if first[into] == NONE:
                first[into] = new
            else:
                ints[last[into], NEXT_IN_QUEUE] = new
            last[into] = new
    return FINISHED


@numba.njit(cache=True)
def _partner(
    label: int,
    there: int,
    base: float,
    limit: float,
    load: float,
    latest: float,
    stops_at_first: bool,
    memory: Long,
    parity: Long,
    table: Floats,
    ready: float,
    stretch: float,
    back_ints: Ints,
    back_amounts: Floats,
    back_memory: Long,
    back_parity: Long,
    heads: Ints,
    least: Floats,
) -> tuple[int, float]:
    """The backward label at ``there`` that completes a forward one at the least total below ``limit``, or NONE."""
    found, best = NONE, limit
    top = min(heads.shape[1] - 1, int((latest - ready) * stretch)) if latest >= ready else -1
    for bucket in range(top + 1):
        if base + least[there, bucket] >= best:
            continue
        other = heads[there, bucket]
        while other != NONE:
            total = base + back_amounts[other, COST]
            fits = total < best and back_amounts[other, CLOCK] <= latest and back_amounts[other, LOAD] <= load
            if fits and back_ints[other, DEAD] == 0:
                for word in range(memory.shape[1]):
                    if memory[label, word] & back_memory[other, word]:
                        fits = False
                if fits:
                    for word in range(parity.shape[1]):
                        total += _owed(parity[label, word] & back_parity[other, word], word, table)
                    if total < best:
                        found, best = other, total
                        if stops_at_first:
                            return found, best
            other = back_ints[other, NEXT_AT_NODE]
    return found, best


@numba.njit(cache=True)
def join(
    starts: Ints,
    ends: Ints,
    home: Flags,
    reduced: Floats,
    takes: Floats,
    ready: Floats,
    due: Floats,
    demand: Floats,
    capacity: float,
    table: Floats,
    middle: float,
    count: int,
    ints: Ints,
    amounts: Floats,
    memory: Long,
    parity: Long,
    back_ready: Floats,
    back_stretch: Floats,
    back_ints: Ints,
    back_amounts: Floats,
    back_memory: Long,
    back_parity: Long,
    heads: Ints,
    least: Floats,
    horizon: float,
    limit: float,
    totals: Floats,
    partners: Ints,
    gains: Floats,
) -> None:
    """Complete every forward label over the arc on which the clock passes ``middle``, or straight home.

    ``totals`` and ``partners`` (count,) receive the best completion of each label below ``limit``; ``gains`` (n + 1,)
    the best by the last client up to the middle, or by the first one when the vehicle is past it there.
    """
    for label in range(count):
        totals[label] = limit
        partners[label] = NONE
        if ints[label, DEAD] != 0:
            continue
        here = ints[label, NODE]
        best = limit
        if here != 0 and home[here] and amounts[label, CLOCK] + takes[here, 0] <= due[0]:
            total = amounts[label, COST] + reduced[here, 0]
            if total < best:
                best, partners[label] = total, 0
        for arc in range(starts[here], starts[here + 1]):
            there = ends[arc]
            clock = max(amounts[label, CLOCK] + takes[here, there], ready[there])
            if clock <= middle or clock > due[there] or amounts[label, LOAD] + demand[there] > capacity:
                continue
            other, total = _partner(
                label,
                there,
                amounts[label, COST] + reduced[here, there],
                limit if here == 0 else best,
                capacity - amounts[label, LOAD],
                horizon - clock + SLACK,
                False,
                memory,
                parity,
                table,
                back_ready[there],
                back_stretch[there],
                back_ints,
                back_amounts,
                back_memory,
                back_parity,
                heads,
                least,
            )
            if other == NONE:
                continue
            if here == 0:
                gains[there] = min(gains[there], total)
            if total < best:
                best, partners[label] = total, other
        totals[label] = best
        if here != 0 and partners[label] != NONE:
            gains[here] = min(gains[here], best)


@numba.njit(cache=True)
def arcs_kept(
    starts: Ints,
    ends: Ints,
    home: Flags,
    reduced: Floats,
    takes: Floats,
    ready: Floats,
    due: Floats,
    demand: Floats,
    capacity: float,
    table: Floats,
    count: int,
    ints: Ints,
    amounts: Floats,
    memory: Long,
    parity: Long,
    back_ready: Floats,
    back_stretch: Floats,
    back_ints: Ints,
    back_amounts: Floats,
    back_memory: Long,
    back_parity: Long,
    heads: Ints,
    least: Floats,
    horizon: float,
    limit: float,
    kept: Flags,
) -> None:
    """Mark in ``kept`` (n + 1, n + 1) every arc on some route of total below ``limit``; both ways unbounded."""
    for label in range(count):
        if ints[label, DEAD] != 0:
            continue
        here = ints[label, NODE]
        if here != 0 and home[here] and amounts[label, CLOCK] + takes[here, 0] <= due[0]:
            kept[here, 0] |= amounts[label, COST] + reduced[here, 0] < limit
        for arc in range(starts[here], starts[here + 1]):
            there = ends[arc]
            if kept[here, there]:
                continue
            clock = max(amounts[label, CLOCK] + takes[here, there], ready[there])
            if clock > due[there] or amounts[label, LOAD] + demand[there] > capacity:
                continue
            other, _ = _partner(
                label,
                there,
                amounts[label, COST] + reduced[here, there],
                limit,
                capacity - amounts[label, LOAD],
                horizon - clock + SLACK,
                True,
                memory,
                parity,
                table,
                back_ready[there],
                back_stretch[there],
                back_ints,
                back_amounts,
                back_memory,
                back_parity,
                heads,
                least,
            )
            if other != NONE:
                kept[here, there] = True


@numba.njit(cache=True)
def _same_visits(memory: Long, one: int, other: int) -> bool:
    """Whether both labels have been to the same clients."""
    different = 0
    for word in range(memory.shape[1]):
        different |= memory[one, word] ^ memory[other, word]
    return different == 0


@numba.njit(cache=True)
def enumerate_routes(
    starts: Ints,
    ends: Ints,
    home: Flags,
    distance: Floats,
    reduced: Floats,
    takes: Floats,
    ready: Floats,
    due: Floats,
    demand: Floats,
    capacity: float,
    keep: Long,
    hit: Long,
    table: Floats,
    ints: Ints,
    amounts: Floats,
    lengths: Floats,
    memory: Long,
    parity: Long,
    chains: Ints,
    back_ready: Floats,
    back_stretch: Floats,
    back_ints: Ints,
    back_amounts: Floats,
    back_memory: Long,
    back_parity: Long,
    heads: Ints,
    least: Floats,
    horizon: float,
    limit: float,
    routes: Ints,
    progress: Long,
    most_extended: int,
) -> int:
    """Every elementary route of reduced cost below ``limit``, but of those over the same clients only the shorter.

    ``routes`` receives the last label of each; ``progress`` (3,) counts labels, labels extended and routes. A path goes
    on only where a backward label completes it below ``limit``. Of two paths over the same clients to the same place
    the one that is neither shorter nor sooner ends. Return FINISHED, PAUSED or FULL.
    """
    extended = 0
    words, cut_words = memory.shape[1], parity.shape[1]
    while progress[1] < progress[0]:
        if extended >= most_extended:
            return PAUSED
        label = progress[1]
        progress[1] += 1
        if ints[label, DEAD] != 0:
            continue
        extended += 1
        here = ints[label, NODE]
        closes = here != 0 and home[here] and amounts[label, CLOCK] + takes[here, 0] <= due[0]
        if closes and amounts[label, COST] + reduced[here, 0] < limit:
            if progress[2] >= len(routes):
                return FULL
            routes[progress[2]] = label
            progress[2] += 1
        for arc in range(starts[here], starts[here + 1]):
            there = ends[arc]
            if (memory[label, there // BITS] >> (there % BITS)) & 1:
                continue
            load = amounts[label, LOAD] + demand[there]
            clock = max(amounts[label, CLOCK] + takes[here, there], ready[there])
            if load > capacity or clock > due[there]:
                continue
            cost = amounts[label, COST] + reduced[here, there]
            other, _ = _partner(
                label,
                there,
                cost,
                limit,
                capacity - amounts[label, LOAD],
                horizon - clock + SLACK,
                True,
                memory,
                parity,
                table,
                back_ready[there],
                back_stretch[there],
                back_ints,
                back_amounts,
                back_memory,
                back_parity,
                heads,
                least,
            )
            if other == NONE:
                continue
            new = progress[0]
            if new >= len(ints):
                return FULL
            for word in range(cut_words):
                odd = parity[label, word] & keep[there, word]
                cost += _owed(odd & hit[there, word], word, table)
                parity[new, word] = odd ^ hit[there, word]
            hashed = np.int64(there)
            for word in range(words):
                memory[new, word] = memory[label, word]
            memory[new, there // BITS] |= np.int64(1) << (there % BITS)
            for word in range(words):
                hashed = (hashed * 1000003) ^ memory[new, word] ^ (memory[new, word] >> 29)
            length = lengths[label] + distance[here, there]
            chain = (hashed ^ (hashed >> 31)) & (len(chains) - 1)
            other = chains[chain]
            beaten = False
            while other != NONE:
                if ints[other, NODE] == there and ints[other, DEAD] == 0 and _same_visits(memory, other, new):
                    if lengths[other] <= length and amounts[other, CLOCK] <= clock:
                        beaten = True
                        break
                    if lengths[other] >= length and amounts[other, CLOCK] >= clock:
                        ints[other, DEAD] = 1
                other = ints[other, NEXT_AT_NODE]
            if beaten:
                continue
            progress[0] += 1
            ints[new, NODE] = there
            ints[new, PARENT] = label
            ints[new, DEAD] = 0
            ints[new, NEXT_AT_NODE] = chains[chain]
            chains[chain] = new
            amounts[new, CLOCK] = clock
            amounts[new, LOAD] = load
            amounts[new, COST] = cost
            lengths[new] = length
    return FINISHED


@numba.njit(cache=True)
def trace(ints: Ints, label: int, into: Ints) -> int:
    """Write the clients up to ``label``, the last one first, to ``into``; return how many."""
    count = 0
    while ints[label, NODE] != 0:
        into[count] = ints[label, NODE]
        count += 1
        label = ints[label, PARENT]
    return count
