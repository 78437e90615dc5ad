"""The second-order cone relaxation of AC optimal power flow, and a bound that any of its duals proves.

Squares ``w`` and products ``wr + i wi`` of voltages take the place of voltages, and ``wr^2 + wi^2 = wf wt`` is relaxed
to ``<=``. Sources: Jabr, "Radial distribution load flow using conic programming", IEEE Trans. Power Syst. 21(3), 2006;
Coffrin, Hijazi and Van Hentenryck, "Strengthening the SDP relaxation of AC power flows with convex envelopes, bound
tightening, and valid inequalities", IEEE Trans. Power Syst. 32(5), 2017 (the lifted cuts between angle limits).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from apportion.instances.core import Sense
from apportion.instances.power_flow import OptimalPowerFlow
from apportion.instances.program import MixedIntegerProgram, SparseColumns
from apportion.models.power_flow.ac import (
    Columns,
    add_balance,
    add_devices,
    add_ratings,
    admittance_parameters,
    bus_ends,
    rated_branches,
    reactive_limits,
    sent,
)
from apportion.models.power_flow.devices import Devices
from apportion.models.power_flow.network import angle_limits
from apportion.models.power_flow.nonlinear import Elements, Families, Matrix, NonlinearProgram, scattered

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_RIGHT_ANGLE = 0.5 * np.pi - 1e-6
_SMALLEST = 1e-9


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of buses with a branch between them, and the narrowest limits of their angle, each by pair.

    ``of_branch`` and ``sign`` say to which pair each branch belongs, and whether it runs the other way (-1).
    """

    one: Ints
    other: Ints
    of_branch: Ints
    sign: Floats
    low: Floats
    high: Floats

    @classmethod
    def of(cls, instance: OptimalPowerFlow) -> Pairs:
        """Collect them."""
        f, t = instance.branches.from_bus, instance.branches.to_bus
        sign = np.where(f < t, 1.0, -1.0)
        keys = np.minimum(f, t) * len(instance.buses) + np.maximum(f, t)
        distinct, of_branch = np.unique(keys, return_inverse=True)
        limits = angle_limits(instance)
        low, high = np.where(sign > 0, limits[0], -limits[1]), np.where(sign > 0, limits[1], -limits[0])
        narrow = np.full(len(distinct), -np.inf), np.full(len(distinct), np.inf)
        np.maximum.at(narrow[0], of_branch, low)
        np.minimum.at(narrow[1], of_branch, high)
        one, other = np.divmod(distinct, len(instance.buses))
        return cls(one, other, of_branch.astype(np.int64), sign, *narrow)

    @property
    def narrow(self) -> Bools:
        """Whether the limits lie within a right angle, so that tangents say them."""
        return (self.low > -_RIGHT_ANGLE) & (self.high < _RIGHT_ANGLE)


@dataclass(frozen=True, eq=False)
class Relaxation:
    """The relaxation of an instance.

    Columns: ``w`` by bus, ``wr`` and ``wi`` by pair, the power into each branch (from p, from q, to p, to q), devices,
    reactive outputs, slacks. ``sent`` is where the power of branches begins; ``slack`` is where the slacks of an
    elastic relaxation lie, in per unit, empty otherwise.
    """

    instance: OptimalPowerFlow
    devices: Devices
    program: NonlinearProgram
    pairs: Pairs
    sent: int
    slack: slice

    def start(self) -> Floats:
        """All voltages 1, and every device in the middle of its range."""
        periods, buses, pairs = self.instance.num_periods, len(self.instance.buses), len(self.pairs.one)
        middle = 0.5 * (self.program.lower + self.program.upper)
        middle[: periods * (buses + pairs)] = 1.0
        middle[periods * (buses + pairs) : periods * (buses + 2 * pairs + 4 * len(self.instance.branches))] = 0.0
        return np.asarray(np.clip(middle, self.program.lower, self.program.upper))

    def voltages(self, values: Floats) -> tuple[Floats, Floats]:
        """Magnitudes and angles (radians) that come near ``values``: angles add up along a spanning tree."""
        periods, buses, pairs = self.instance.num_periods, len(self.instance.buses), len(self.pairs.one)
        magnitude = np.sqrt(np.maximum(values[: periods * buses].reshape(periods, buses), 0.0))
        real, imaginary = values[periods * buses : periods * (buses + 2 * pairs)].reshape(2, periods, pairs)
        step = np.arctan2(imaginary, real)
        angle = np.zeros((periods, buses))
        for before, after, pair, sign in spanning_tree(self.instance, self.pairs):
            angle[:, after] = angle[:, before] - sign * step[:, pair]
        return magnitude, angle

    def outer(self, values: Floats, row_duals: Floats) -> tuple[MixedIntegerProgram, Floats]:
        """The relaxation with a tangent half-space for each cone and rating at ``values``, and duals for its rows.

        Every point of the relaxation satisfies each half-space, whatever ``values`` is, so that a bound of this program
        is one of the relaxation. ``row_duals`` are the multipliers of the nonlinear program as Ipopt counts them.
        """
        program, families = self.program, self.program.families
        cones, cone_duals = self._cone_cuts(values, row_duals[families["cone"]])
        ends = [self._rating_cuts(values, row_duals[families[f"rating {end}"]], end) for end in ("from", "to")]
        curved = np.zeros(len(program.row_lower), np.bool_)
        for name in ("cone", "rating from", "rating to"):
            curved[families[name]] = True
        plain = ~curved
        cuts = sparse.vstack([cones, *(rows for rows, _, _ in ends)])
        matrix = sparse.csc_array(sparse.vstack([program.matrix[plain], cuts]))
        matrix.sum_duplicates()
        matrix.sort_indices()
        upper = np.concatenate([np.zeros(len(cone_duals)), *(most for _, _, most in ends)])
        quadratic = SparseColumns(
            np.arange(len(program.lower) + 1, dtype=np.int32),
            np.arange(len(program.lower), dtype=np.int32),
            2.0 * program.quadratic,
        )
        bounded = MixedIntegerProgram(
            name=self.instance.name,
            sense=Sense.MINIMISE,
            cost=program.linear,
            matrix=SparseColumns(matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32), matrix.data),
            row_lower=np.concatenate([program.row_lower[plain], np.full(len(upper), -np.inf)]),
            row_upper=np.concatenate([program.row_upper[plain], upper]),
            lower=program.lower,
            upper=program.upper,
            integer=np.zeros(len(program.lower), np.bool_),
            offset=program.constant,
            hessian=quadratic if program.quadratic.any() else None,
        )
        duals = -np.concatenate([row_duals[plain], cone_duals, *(duals for _, duals, _ in ends)])
        duals = np.where(np.isneginf(bounded.row_lower), np.minimum(duals, 0.0), duals)
        return bounded, np.where(np.isposinf(bounded.row_upper), np.maximum(duals, 0.0), duals)

    def _cone_cuts(self, values: Floats, duals: Floats) -> tuple[Matrix, Floats]:
        """``2 u.(wr, wi) <= r wf + wt / r`` for a unit vector ``u`` and any ``r > 0``: it follows from the cone."""
        columns = pair_columns(self.instance, self.pairs)
        w_f, w_t, real, imaginary = values[columns]
        length = np.maximum(np.hypot(real, imaginary), _SMALLEST)
        ratio = np.sqrt(np.maximum(w_t, _SMALLEST) / np.maximum(w_f, _SMALLEST))
        row = np.arange(len(length))
        entries = np.concatenate((-ratio, -1.0 / ratio, 2.0 * real / length, 2.0 * imaginary / length))
        shape = len(row), len(self.program.lower)
        return Matrix((entries, (np.tile(row, 4), columns.ravel())), shape=shape), duals * length / np.maximum(
            w_f, _SMALLEST
        )

    def _rating_cuts(self, values: Floats, duals: Floats, end: str) -> tuple[Matrix, Floats, Floats]:
        """``u.(p, q) <= rate`` for a unit vector ``u``."""
        rated, squared = rated_branches(self.instance)
        columns = power_columns(self.instance, self.sent, end)[:, rated]
        length = np.maximum(np.hypot(*values[columns]), _SMALLEST)
        entries = (values[columns] / length).ravel(), (np.tile(np.arange(len(rated)), 2), columns.ravel())
        return Matrix(entries, shape=(len(rated), len(values))), 2.0 * duals * length, np.sqrt(squared)


def formulate_soc(instance: OptimalPowerFlow, elastic: bool = False) -> Relaxation:
    """Write the relaxation.

    Parameters
    ----------
    instance
        The data.
    elastic
        Whether power may be missing or left over at any bus; its sum in MW and MVAr is then the objective.
    """
    devices, pairs = Devices.of(instance), Pairs.of(instance)
    periods, size = instance.num_periods, instance.num_periods * len(instance.buses)
    columns = Columns.of(instance, devices, 1, 2 * len(pairs.one) + 4 * len(instance.branches))
    families = Families(columns.size)
    add_balance(families, instance, devices, columns)
    add_ratings(families, instance)
    begin = periods * (len(instance.buses) + 2 * len(pairs.one))
    _add_power(families, instance, pairs, begin)
    cones = families.add("cone", np.full(periods * len(pairs.one), -np.inf), np.zeros(periods * len(pairs.one)))
    _add_angles(families, instance, pairs)
    add_devices(families, instance, devices, columns)
    matrix, row_lower, row_upper = families.finished()
    matrix = Matrix(matrix + _taken(instance, families, begin))
    lower, upper = (np.concatenate(side) for side in _limits(instance, devices, pairs))
    linear, quadratic = columns.cost(devices, instance.base_mva)
    constant, slack = devices.constant, slice(columns.size, columns.size)
    if elastic:
        slack = slice(columns.size, columns.size + 4 * size)
        both = sparse.vstack([sparse.eye_array(2 * size), sparse.csr_array((families.height - 2 * size, 2 * size))])
        matrix = Matrix(sparse.hstack([matrix, both, -both]))
        most = 10.0 * (1.0 + float(np.abs(instance.load_mw).max()) / instance.base_mva)
        lower, upper = np.append(lower, np.zeros(4 * size)), np.append(upper, np.full(4 * size, most))
        linear = np.append(np.zeros(columns.size), np.full(4 * size, instance.base_mva))
        quadratic, constant = np.zeros(len(linear)), 0.0
    elements = (_cone_elements(families, instance, pairs, cones), _rating_elements(families, instance, begin))
    program = NonlinearProgram(
        lower, upper, constant, linear, quadratic, matrix, row_lower, row_upper, elements, families.slices
    )
    return Relaxation(instance, devices, program, pairs, begin, slack)


def power_columns(instance: OptimalPowerFlow, begin: int, end: str) -> Ints:
    """The columns of active and reactive power at one end of each branch by period, shape (2, branches by period)."""
    count = instance.num_periods * len(instance.branches)
    first = begin + (0 if end == "from" else 2 * count)
    return np.array([first + np.arange(count), first + count + np.arange(count)])


def _add_power(families: Families, instance: OptimalPowerFlow, pairs: Pairs, begin: int) -> None:
    """Power into each branch follows from the squares and products of its voltages."""
    power = sparse.coo_array(sent_matrix(instance, pairs, families.size))
    count = power.shape[0]
    row = np.concatenate((power.row, np.arange(count)))
    column = np.concatenate((power.col, begin + np.arange(count)))
    entries = np.concatenate((power.data, -np.ones(count)))
    families.add("power", np.zeros(count), np.zeros(count), Matrix((entries, (row, column)), shape=power.shape))


def pair_columns(instance: OptimalPowerFlow, pairs: Pairs) -> Ints:
    """The columns ``wf``, ``wt``, ``wr``, ``wi`` of each pair by period, shape (4, pairs by period)."""
    periods, buses, count = instance.num_periods, len(instance.buses), len(pairs.one)
    offset = np.arange(periods)[:, None] * buses
    position = periods * buses + np.arange(periods * count)
    return np.array(
        [(offset + pairs.one).ravel(), (offset + pairs.other).ravel(), position, position + periods * count]
    )


def _branch_columns(instance: OptimalPowerFlow, pairs: Pairs) -> tuple[Ints, Floats]:
    """The columns ``wf``, ``wt``, ``wr``, ``wi`` of each branch by period, and the sign of its ``wi``."""
    periods, count = instance.num_periods, len(pairs.one)
    at = (np.arange(periods)[:, None] * count + pairs.of_branch).ravel()
    first = periods * len(instance.buses)
    columns = np.array([*bus_ends(instance), first + at, first + periods * count + at])
    return columns, np.tile(pairs.sign, periods)


def sent_matrix(instance: OptimalPowerFlow, pairs: Pairs, size: int) -> Matrix:
    """Active and reactive power into each branch by period: from p, from q, to p, to q, one after another."""
    columns, sign = _branch_columns(instance, pairs)
    count, admittance = columns.shape[1], list(admittance_parameters(instance))
    rows, places, values = [], [], []
    for k in range(4):
        square_f, square_t, cosine, sine = (np.full(count, float(k == j)) for j in range(4))
        for output, factor in enumerate(sent(square_f, square_t, cosine, sine * sign, admittance)):
            rows.append(output * count + np.arange(count))
            places.append(columns[k])
            values.append(factor)
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(places)))
    return Matrix(entries, shape=(4 * count, size))


def _taken(instance: OptimalPowerFlow, families: Families, begin: int) -> Matrix:
    """What branches and shunts take from each balance, over all rows of the program."""
    f, t = bus_ends(instance)
    total, count = instance.num_periods * len(instance.buses), len(f)
    active, reactive = families.slices["active balance"].start, families.slices["reactive balance"].start
    every, base = np.arange(total), instance.base_mva
    shunts = (
        np.tile(-instance.buses.shunt_mw / base, instance.num_periods),
        np.tile(instance.buses.shunt_mvar / base, instance.num_periods),
    )
    rows = np.concatenate((active + f, reactive + f, active + t, reactive + t, active + every, reactive + every))
    columns = np.concatenate((begin + np.arange(4 * count), every, every))
    entries = np.concatenate((-np.ones(4 * count), *shunts))
    return Matrix((entries, (rows, columns)), shape=(families.height, families.size))


def _add_angles(families: Families, instance: OptimalPowerFlow, pairs: Pairs) -> None:
    """Angle limits as tangents, and the two lifted cuts that they make with the voltage limits."""
    near = np.flatnonzero(pairs.narrow)
    low, high = pairs.low[near], pairs.high[near]
    buses, ends = instance.buses, (pairs.one[near], pairs.other[near])
    least, most = ([side[end] for end in ends] for side in (buses.voltage_min, buses.voltage_max))
    middle, half = 0.5 * (high + low), 0.5 * (high - low)
    sums = [least[k] + most[k] for k in (0, 1)]
    nothing, side = np.zeros(len(near)), np.cos(half)
    lifted = [sums[0] * sums[1] * np.cos(middle), sums[0] * sums[1] * np.sin(middle)]
    difference = least[0] * least[1] - most[0] * most[1]
    kinds = (
        ("angle above", (nothing, nothing, -np.tan(low), nothing + 1.0), nothing),
        ("angle below", (nothing, nothing, np.tan(high), nothing - 1.0), nothing),
        (
            "lifted above",
            (-most[1] * side * sums[1], -most[0] * side * sums[0], *lifted),
            most[0] * most[1] * side * difference,
        ),
        (
            "lifted below",
            (-least[1] * side * sums[1], -least[0] * side * sums[0], *lifted),
            -least[0] * least[1] * side * difference,
        ),
    )
    columns = pair_columns(instance, pairs).reshape(4, instance.num_periods, -1)[:, :, near].reshape(4, -1)
    row = np.arange(columns.shape[1])
    for name, factors, lower in kinds:
        values = np.concatenate([np.tile(factor, instance.num_periods) for factor in factors])
        matrix = Matrix((values, (np.tile(row, 4), columns.ravel())), shape=(len(row), families.size))
        families.add(name, np.tile(lower, instance.num_periods), np.full(len(row), np.inf), matrix)


def _limits(instance: OptimalPowerFlow, devices: Devices, pairs: Pairs) -> list[tuple[Floats, ...]]:
    """Squares within the voltage limits, products within what voltage and angle limits leave."""
    buses, periods, base = instance.buses, instance.num_periods, instance.base_mva
    least = buses.voltage_min[pairs.one] * buses.voltage_min[pairs.other]
    most = buses.voltage_max[pairs.one] * buses.voltage_max[pairs.other]
    low, high = (np.where(pairs.narrow, side, 0.0) for side in (pairs.low, pairs.high))
    across = (low <= 0.0) & (high >= 0.0)
    largest = np.where(across, 1.0, np.maximum(np.cos(low), np.cos(high)))
    smallest = np.minimum(np.cos(low), np.cos(high))
    real = np.where(pairs.narrow, least * smallest, -most), np.where(pairs.narrow, most * largest, most)
    sines = np.sin(low), np.sin(high)
    imaginary = (
        np.where(pairs.narrow, np.where(sines[0] < 0, most, least) * sines[0], -most),
        np.where(pairs.narrow, np.where(sines[1] > 0, most, least) * sines[1], most),
    )
    square = buses.voltage_min**2, buses.voltage_max**2
    reactive = reactive_limits(instance)
    device = devices.lower / base, devices.upper / base
    most_sent = _most_sent(instance)
    return [
        (
            *(np.tile(one[k], periods) for one in (square, real, imaginary)),
            (-most_sent, most_sent)[k],
            device[k],
            reactive[k],
        )
        for k in (0, 1)
    ]


def _most_sent(instance: OptimalPowerFlow) -> Floats:
    """The rate of each branch, or what its admittance lets through; once for each kind of power, flat."""
    g_ff, b_ff, g_ft, b_ft, g_tf, b_tf, g_tt, b_tt = admittance_parameters(instance)
    f, t = bus_ends(instance)
    highest = np.tile(instance.buses.voltage_max, instance.num_periods)
    rate = np.tile(instance.branches.rate_mva / instance.base_mva, instance.num_periods)
    ways = (
        np.hypot(g_ff, b_ff) * highest[f] ** 2 + np.hypot(g_ft, b_ft) * highest[f] * highest[t],
        np.hypot(g_tt, b_tt) * highest[t] ** 2 + np.hypot(g_tf, b_tf) * highest[f] * highest[t],
    )
    one, other = (np.minimum(rate, way) for way in ways)
    return np.concatenate([one, one, other, other])


def _cone_elements(families: Families, instance: OptimalPowerFlow, pairs: Pairs, rows: slice) -> Elements:
    columns = pair_columns(instance, pairs)
    count = columns.shape[1]
    every = np.arange(count)
    scatter = scattered(families.height, count, 1, [(0, every, rows.start + every, np.ones(count))])
    return Elements(lambda v, _: [(v[2] ** 2 + v[3] ** 2) / v[0] - v[1]], columns, np.zeros((0, count)), scatter)


def _rating_elements(families: Families, instance: OptimalPowerFlow, begin: int) -> Elements:
    rated, _ = rated_branches(instance)
    columns = np.hstack([power_columns(instance, begin, end)[:, rated] for end in ("from", "to")])
    rows = np.concatenate([families.slices[f"rating {end}"].start + np.arange(len(rated)) for end in ("from", "to")])
    every = np.arange(len(rows))
    scatter = scattered(families.height, len(rows), 1, [(0, every, rows, np.ones(len(rows)))])
    return Elements(lambda v, _: [v[0] ** 2 + v[1] ** 2], columns, np.zeros((0, len(rows))), scatter)


def spanning_tree(instance: OptimalPowerFlow, pairs: Pairs) -> list[tuple[int, int, int, float]]:
    """Steps ``(bus before, bus after, pair, sign)`` from the reference of each island to all of its buses."""
    beside: list[list[tuple[int, int, float]]] = [[] for _ in range(len(instance.buses))]
    for k, (one, other) in enumerate(zip(pairs.one.tolist(), pairs.other.tolist(), strict=True)):
        beside[one].append((other, k, 1.0))
        beside[other].append((one, k, -1.0))
    seen = instance.buses.reference.copy()
    queue = np.flatnonzero(seen).tolist()
    steps = []
    for bus in queue:
        for other, pair, sign in beside[bus]:
            if not seen[other]:
                seen[other] = True
                steps.append((bus, other, pair, sign))
                queue.append(other)
    return steps
