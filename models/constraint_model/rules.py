"""What each kind of CP-SAT constraint demands: a function of values and constraint that returns how far it is broken.

The definitions follow the comments of ``cp_model.proto``. Zero means that the constraint holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from apportion.models.constraint_model.values import Span, Values, in_domain

Rule = Callable[[Values, Any], int]


def _linear(values: Values, rule: Any) -> int:
    total = sum(weight * values.variable(at) for at, weight in zip(rule.vars, rule.coeffs, strict=True))
    if in_domain(total, rule.domain):
        return 0
    return max(1, min((abs(total - end) for end in rule.domain), default=1))


def _true_count(values: Values, rule: Any) -> int:
    return sum(values.literal(literal) for literal in rule.literals)


def _bool_or(values: Values, rule: Any) -> int:
    return int(_true_count(values, rule) == 0)


def _bool_and(values: Values, rule: Any) -> int:
    return len(rule.literals) - _true_count(values, rule)


def _at_most_one(values: Values, rule: Any) -> int:
    return max(0, _true_count(values, rule) - 1)


def _exactly_one(values: Values, rule: Any) -> int:
    return abs(_true_count(values, rule) - 1)


def _bool_xor(values: Values, rule: Any) -> int:
    return int(_true_count(values, rule) % 2 == 0)


def _int_div(values: Values, rule: Any) -> int:
    """Division rounds towards zero."""
    numerator, denominator = values.expressions(rule.exprs)
    if denominator == 0:
        return 1
    quotient = abs(numerator) // abs(denominator)
    signed = quotient if (numerator < 0) == (denominator < 0) else -quotient
    return abs(values.expression(rule.target) - signed)


def _int_mod(values: Values, rule: Any) -> int:
    """The remainder has the sign of the number divided."""
    number, modulus = values.expressions(rule.exprs)
    if modulus == 0:
        return 1
    remainder = abs(number) % abs(modulus)
    return abs(values.expression(rule.target) - (remainder if number >= 0 else -remainder))


def _int_prod(values: Values, rule: Any) -> int:
    product = 1
    for factor in values.expressions(rule.exprs):
        product *= factor
    return abs(values.expression(rule.target) - product)


def _lin_max(values: Values, rule: Any) -> int:
    return abs(values.expression(rule.target) - max(values.expressions(rule.exprs)))


def _all_diff(values: Values, rule: Any) -> int:
    found = values.expressions(rule.exprs)
    return len(found) - len(set(found))


def _element(values: Values, rule: Any) -> int:
    if len(rule.exprs):
        index, target = values.expression(rule.linear_index), values.expression(rule.linear_target)
        members = values.expressions(rule.exprs)
    else:
        index, target = values.variable(rule.index), values.variable(rule.target)
        members = [values.variable(at) for at in rule.vars]
    if not 0 <= index < len(members):
        return 1
    return abs(target - members[index])


def _table(values: Values, rule: Any) -> int:
    found = values.expressions(rule.exprs) or [values.variable(at) for at in rule.vars]
    width, listed = len(found), list(rule.values)
    if not width:
        return 0
    tuples = {tuple(listed[at : at + width]) for at in range(0, len(listed), width)}
    return int((tuple(found) in tuples) == bool(rule.negated))


def _automaton(values: Values, rule: Any) -> int:
    labels = values.expressions(rule.exprs) or [values.variable(at) for at in rule.vars]
    moves = {
        (tail, label): head
        for tail, label, head in zip(rule.transition_tail, rule.transition_label, rule.transition_head, strict=True)
    }
    state = int(rule.starting_state)
    for label in labels:
        if (state, label) not in moves:
            return 1
        state = moves[state, label]
    return int(state not in set(rule.final_states))


def _inverse(values: Values, rule: Any) -> int:
    direct = [values.variable(at) for at in rule.f_direct]
    back = [values.variable(at) for at in rule.f_inverse]
    return sum(not (0 <= image < len(back) and back[image] == at) for at, image in enumerate(direct))


def _reservoir(values: Values, rule: Any) -> int:
    active = list(rule.active_literals)
    changes: Counter[int] = Counter()
    for at, (time, change) in enumerate(zip(rule.time_exprs, rule.level_changes, strict=True)):
        if not active or values.literal(active[at]):
            changes[values.expression(time)] += values.expression(change)
    level, worst = 0, 0
    for time in sorted(changes):
        level += changes[time]
        worst = max(worst, rule.min_level - level, level - rule.max_level)
    return int(worst)


def _interval(values: Values, rule: Any) -> int:
    start, size, end = (values.expression(part) for part in (rule.start, rule.size, rule.end))
    return abs(start + size - end) + max(0, -size)


def _no_overlap(values: Values, rule: Any) -> int:
    """Intervals of size zero count too: the ends must come before the next starts."""
    spans = sorted((span.start, span.end) for span in values.spans(rule.intervals))
    return max((first[1] - second[0] for first, second in pairwise(spans) if first[1] > second[0]), default=0)


def _no_overlap_2d(values: Values, rule: Any) -> int:
    boxes = []
    for across, along in zip(rule.x_intervals, rule.y_intervals, strict=True):
        x_span, y_span = values.span(across), values.span(along)
        if x_span is not None and y_span is not None:
            boxes.append((x_span, y_span))
    boxes.sort(key=lambda box: box[0].start)
    broken = 0
    for at, (x_span, y_span) in enumerate(boxes):
        for other_x, other_y in boxes[at + 1 :]:
            if other_x.start >= x_span.end and other_x.start > x_span.start:
                break
            broken += _meet(x_span, other_x) and _meet(y_span, other_y)
    return broken


def _meet(one: Span, other: Span) -> bool:
    """Whether two spans overlap inside; a point counts when it lies strictly inside the other."""
    return one.start < other.end and other.start < one.end


def _cumulative(values: Values, rule: Any) -> int:
    """Spans are half open, and those of size zero do not count."""
    capacity = values.expression(rule.capacity)
    changes: Counter[int] = Counter()
    for at, demand in zip(rule.intervals, rule.demands, strict=True):
        span = values.span(at)
        if span is not None and span.size > 0:
            changes[span.start] += values.expression(demand)
            changes[span.end] -= values.expression(demand)
    level, most = 0, 0
    for time in sorted(changes):
        level += changes[time]
        most = max(most, level)
    return max(0, most - capacity)


def _chosen_arcs(values: Values, rule: Any) -> list[tuple[int, int]]:
    arcs = zip(rule.tails, rule.heads, rule.literals, strict=True)
    return [(tail, head) for tail, head, literal in arcs if values.literal(literal)]


def _circuit(values: Values, rule: Any) -> int:
    arcs = _chosen_arcs(values, rule)
    nodes = set(rule.tails) | set(rule.heads)
    broken = _degrees_broken(arcs, nodes)
    if broken:
        return broken
    following = dict(arcs)
    on_circuit = {tail for tail, head in arcs if tail != head}
    return _unreached(following, on_circuit)


def _degrees_broken(arcs: Sequence[tuple[int, int]], nodes: set[int]) -> int:
    """How many of ``nodes`` do not have exactly one arc out and one in."""
    leaving, entering = Counter(tail for tail, _ in arcs), Counter(head for _, head in arcs)
    return sum(leaving[node] != 1 or entering[node] != 1 for node in nodes)


def _unreached(following: dict[int, int], members: set[int]) -> int:
    """How many of ``members`` the circuit through the least of them leaves out."""
    if not members:
        return 0
    first = min(members)
    reached, at = {first}, following[first]
    while at != first:
        reached.add(at)
        at = following[at]
    return len(members) - len(reached)


def _routes(values: Values, rule: Any) -> int:
    """Node 0 is the depot: routes leave it, visit every other node once and come back."""
    arcs = _chosen_arcs(values, rule)
    others = (set(rule.tails) | set(rule.heads)) - {0}
    leaving, entering = Counter(tail for tail, _ in arcs), Counter(head for _, head in arcs)
    broken = _degrees_broken(arcs, others) + abs(leaving[0] - entering[0]) + ((0, 0) in arcs)
    if broken:
        return broken
    following = {tail: head for tail, head in arcs if tail != 0}
    reached: set[int] = {tail for tail, head in arcs if tail == head}
    for tail, head in arcs:
        at = head if tail == 0 else 0
        while at != 0:
            reached.add(at)
            at = following[at]
    return len(others - reached)


def _always(_values: Values, _rule: Any) -> int:
    return 0


RULES: dict[str, Rule] = {
    "linear": _linear,
    "bool_or": _bool_or,
    "bool_and": _bool_and,
    "at_most_one": _at_most_one,
    "exactly_one": _exactly_one,
    "bool_xor": _bool_xor,
    "int_div": _int_div,
    "int_mod": _int_mod,
    "int_prod": _int_prod,
    "lin_max": _lin_max,
    "all_diff": _all_diff,
    "element": _element,
    "table": _table,
    "automaton": _automaton,
    "inverse": _inverse,
    "reservoir": _reservoir,
    "interval": _interval,
    "no_overlap": _no_overlap,
    "no_overlap_2d": _no_overlap_2d,
    "cumulative": _cumulative,
    "circuit": _circuit,
    "routes": _routes,
    "dummy_constraint": _always,
}
"""Kind of constraint -> its rule; a test fails when OR-Tools adds a kind."""
