"""MATPOWER case files, version 2, as pglib-opf publishes them.

The text is taken apart by matpowercaseframes (extra ``power``); what it means is checked here. Generators and branches
that are out of service and isolated buses (type 4) are left out. A rate of 0 and angle limits of 0 or 360 mean none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from apportion.instances.errors import BackendMissingError, Fault, InstanceError
from apportion.instances.power_flow import (
    FULL_CIRCLE_DEG,
    Branches,
    Buses,
    CostCurve,
    Floats,
    Generators,
    Ints,
    OptimalPowerFlow,
)
from apportion.instances.validation import FaultList

if TYPE_CHECKING:
    from apportion.instances.reading import Source

_TABLES = {"bus": (13, 17), "gen": (10, 25), "branch": (11, 21), "gencost": (5, 60)}
"""Table -> least and most columns."""

_COLUMNS = {
    "buses": ("bus", {"voltage_min": "VMIN", "voltage_max": "VMAX", "shunt_mw": "GS", "shunt_mvar": "BS"}),
    "branches": (
        "branch",
        {
            "from_bus": "F_BUS",
            "to_bus": "T_BUS",
            "resistance": "BR_R",
            "reactance": "BR_X",
            "charging": "BR_B",
            "tap": "TAP",
            "shift_deg": "SHIFT",
            "rate_mva": "RATE_A",
            "angle_min_deg": "ANGMIN",
            "angle_max_deg": "ANGMAX",
        },
    ),
    "generators": (
        "gen",
        {
            "bus": "GEN_BUS",
            "power_min_mw": "PMIN",
            "power_max_mw": "PMAX",
            "reactive_min_mvar": "QMIN",
            "reactive_max_mvar": "QMAX",
            "cost_quadratic": "COST",
            "cost_linear": "COST",
            "cost_constant": "COST",
            "curves": "COST",
        },
    ),
}
_DC_LINES = "dcline"
_REFERENCE, _ISOLATED = 3, 4
_POLYNOMIAL, _PIECEWISE = 2, 1
_BUS_TYPES = (1, 2, 3, 4)
_MOST_BUS = 10**9
_MOST_FAULTS = 100
_MOST_CHARACTERS = 10**7


def parse(text: str, source: Source) -> OptimalPowerFlow:
    """Read a case.

    Raises
    ------
    InstanceError
        With every fault found, at its table, row and column.
    BackendMissingError
        When matpowercaseframes is not installed.
    """
    where = str(source.path)
    faults = FaultList(where)
    tables = _tables(text, faults)
    base = _base(text, faults)
    if faults.faults:
        raise InstanceError(where, faults.faults[:_MOST_FAULTS])
    case = _Case.of(tables, faults)
    if faults.faults:
        raise InstanceError(where, faults.faults[:_MOST_FAULTS])
    try:
        return case.instance(source.name, base)
    except InstanceError as error:
        raise InstanceError(where, [case.placed(fault) for fault in error.faults]) from error


def _tables(text: str, faults: FaultList) -> dict[str, Floats]:
    """The numeric tables by name, every row as long as its table is wide."""
    if not find_spec("matpowercaseframes"):
        raise BackendMissingError("matpowercaseframes is not installed\nMaybe pip install 'apportion[power]'")
    from matpowercaseframes.reader import find_attributes, parse_file

    plain = _plain(text, faults)
    names = find_attributes(plain)
    for name in sorted({name for name in names if names.count(name) > 1}):
        faults.add(f"mpc.{name}", "is set twice or changed by a computation", hint="write its final numbers")
    for name in sorted(names):
        if "(" in name or "{" in name:
            faults.add(f"mpc.{name}", "is set by a computation, which is not read", hint="write its final numbers")
    found: dict[str, Floats] = {}
    for name, widths in _TABLES.items():
        if name not in names:
            faults.add(f"mpc.{name}", "is missing")
            continue
        rows = parse_file(name, plain)
        if rows is None:
            faults.add(f"mpc.{name}", "does not end with ];", hint="the file is cut off")
            continue
        found[name] = _numbers(name, rows, widths, faults)
    dc_lines = parse_file(_DC_LINES, plain) if _DC_LINES in names else None
    for row, values in enumerate(dc_lines or (), 1):
        if len(values) > 2 and values[2] != 0:
            faults.add(f"mpc.{_DC_LINES} row {row}", "is a DC line in service, which is not read")
    return found


def _plain(text: str, faults: FaultList) -> str:
    """The text without comments, one table row a line."""
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        kept = line.split("%", 1)[0]
        if "..." in kept:
            faults.add(f"line {number}", "goes on in the next line, which is not read", line.strip())
        opened = re.sub(r"=\s*\[\s*(?=\S)", "= [\n", kept) if "[" in kept else kept
        split = re.sub(r";\s*(?=\S)", ";\n", opened) if ";" in opened else opened
        lines.append(re.sub(r"(?<=\S)\s*\];", "\n];", split).replace(",", " ") if "]" in split else split)
    return "\n".join(lines).replace(",", " ") + "\n"


def _numbers(name: str, rows: list[list[Any]], widths: tuple[int, int], faults: FaultList) -> Floats:
    least, most = widths
    rows = [row for row in rows if row != ["]"]]
    before = len(faults.faults)
    for number, row in enumerate(rows, 1):
        place = f"mpc.{name} row {number}"
        if not least <= len(row) <= most and name != "gencost":
            faults.add(place, f"must have {least} to {most} numbers", len(row))
        elif len(row) < least:
            faults.add(place, f"must have {least} or more numbers", len(row))
        for column, value in enumerate(row, 1):
            if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
                faults.add(f"{place}, column {column}", "must be a number", value)
            elif abs(value) > 1e300:
                row[column - 1] = np.inf if value > 0 else -np.inf
    if len(faults.faults) > before:
        return np.zeros((0, least))
    width = max((len(row) for row in rows), default=least)
    table = np.zeros((len(rows), max(width, least)))
    for number, row in enumerate(rows):
        table[number, : len(row)] = row
    return table


def _base(text: str, faults: FaultList) -> float:
    for name, wanted in (("version", r"['\"]?2['\"]?"), ("baseMVA", r"[-+.\deE]+")):
        match = re.search(rf"^\s*mpc\.{name}\s*=\s*(?P<value>[^;%\n]*)", text, re.MULTILINE)
        if match is None:
            faults.add(f"mpc.{name}", "is missing", hint="the file is cut off")
        elif not re.fullmatch(wanted, match["value"].strip()):
            faults.add(f"mpc.{name}", "must be a case of version '2' with a number as its base", match["value"].strip())
        elif name == "baseMVA":
            try:
                return float(match["value"])
            except ValueError:
                faults.add("mpc.baseMVA", "must be a number", match["value"].strip())
    return 1.0


@dataclass(frozen=True, eq=False)
class _Case:
    """The tables with only what is in service; ``rows`` holds the row numbers in the file, from 1."""

    bus: Floats
    gen: Floats
    branch: Floats
    costs: list[Floats]
    rows: dict[str, Ints]
    position: dict[int, int]

    @classmethod
    def of(cls, tables: dict[str, Floats], faults: FaultList) -> _Case:
        bus, gen, branch, costs = (tables[name] for name in ("bus", "gen", "branch", "gencost"))
        numbers = _identifiers("bus", "BUS_I", bus[:, 0], faults)
        ends = [
            _identifiers("branch", "F_BUS", branch[:, 0], faults),
            _identifiers("branch", "T_BUS", branch[:, 1], faults),
        ]
        at = _identifiers("gen", "GEN_BUS", gen[:, 0], faults)
        _duplicates(numbers, faults)
        for row in np.flatnonzero(~np.isin(bus[:, 1], _BUS_TYPES))[:5]:
            faults.add(f"mpc.bus row {row + 1}, BUS_TYPE", "must be 1, 2, 3 or 4", float(bus[row, 1]))
        in_use = bus[:, 1] != _ISOLATED
        isolated = set(numbers[~in_use].tolist())
        everywhere = set(numbers.tolist())
        for name, column, values in (
            ("branch", "F_BUS", ends[0]),
            ("branch", "T_BUS", ends[1]),
            ("gen", "GEN_BUS", at),
        ):
            for row in [r for r, value in enumerate(values.tolist()) if value not in everywhere][:5]:
                faults.add(f"mpc.{name} row {row + 1}, {column}", "is no bus of mpc.bus", int(values[row]))
        cut_off = np.array(
            [f in isolated or t in isolated for f, t in zip(*(e.tolist() for e in ends), strict=True)], bool
        )
        lines = (branch[:, 10] > 0) & ~cut_off if len(branch) else np.zeros(0, np.bool_)
        running = (gen[:, 7] > 0) & ~np.array([value in isolated for value in at.tolist()], bool)
        if len(costs) not in (len(gen), 2 * len(gen)):
            faults.add("mpc.gencost", f"must have one row for each of the {len(gen)} generators", len(costs))
        elif len(costs) == 2 * len(gen) and costs[len(gen) :, 4:].any():
            faults.add(f"mpc.gencost row {len(gen) + 1}", "prices reactive power, which is not read", hint="remove it")
        if not in_use.any() or not running.any():
            faults.add("mpc.bus" if not in_use.any() else "mpc.gen", "has no row in service")
        rows = {
            "bus": np.flatnonzero(in_use) + 1,
            "gen": np.flatnonzero(running) + 1,
            "branch": np.flatnonzero(lines) + 1,
        }
        kept_costs = [costs[k] for k in np.flatnonzero(running)] if not faults.faults else []
        kept = numbers[in_use].tolist()
        return cls(bus[in_use], gen[running], branch[lines], kept_costs, rows, {n: k for k, n in enumerate(kept)})

    def instance(self, name: str, base: float) -> OptimalPowerFlow:
        bus, position = self.bus, self.position
        buses = Buses(
            names=tuple(str(number) for number in position),
            voltage_min=bus[:, 12],
            voltage_max=bus[:, 11],
            shunt_mw=bus[:, 4],
            shunt_mvar=bus[:, 5],
            reference=bus[:, 1] == _REFERENCE,
            area=np.nan_to_num(bus[:, 6], posinf=0, neginf=0).astype(np.int64),
        )
        return OptimalPowerFlow(
            name=name,
            base_mva=base,
            buses=buses,
            branches=self._branches(),
            generators=self._generators(),
            load_mw=bus[None, :, 2],
            load_mvar=bus[None, :, 3],
        )

    def _branches(self) -> Branches:
        table = self.branch
        ends = [np.array([self.position[int(v)] for v in table[:, k]], np.int64) for k in (0, 1)]
        tap = np.where(table[:, 8] == 0.0, 1.0, table[:, 8])
        rate = np.where(table[:, 5] == 0.0, np.inf, table[:, 5])
        has_angles = table.shape[1] >= 13
        angles = table[:, 11:13].T if has_angles else np.zeros((2, len(table)))
        free = (angles[0] == 0.0) & (angles[1] == 0.0)
        low = np.where(free | (angles[0] <= -FULL_CIRCLE_DEG), -FULL_CIRCLE_DEG, angles[0])
        high = np.where(free | (angles[1] >= FULL_CIRCLE_DEG), FULL_CIRCLE_DEG, angles[1])
        names = [f"{int(f)}-{int(t)}" for f, t in table[:, :2]]
        return Branches(
            names=_distinct(names),
            from_bus=ends[0],
            to_bus=ends[1],
            resistance=table[:, 2],
            reactance=table[:, 3],
            charging=table[:, 4],
            tap=tap,
            shift_deg=table[:, 9],
            rate_mva=rate,
            angle_min_deg=low,
            angle_max_deg=high,
        )

    def _generators(self) -> Generators:
        table = self.gen
        faults = FaultList("")
        costs = [_cost(row, int(self.rows["gen"][k]), faults) for k, row in enumerate(self.costs)]
        if faults.faults:
            raise InstanceError("", faults.faults)
        polynomials = np.array([polynomial for polynomial, _ in costs]).reshape(len(costs), 3)
        return Generators(
            names=tuple(f"gen-{row}" for row in self.rows["gen"]),
            bus=np.array([self.position[int(v)] for v in table[:, 0]], np.int64),
            power_min_mw=table[:, 9],
            power_max_mw=table[:, 8],
            reactive_min_mvar=table[:, 4],
            reactive_max_mvar=table[:, 3],
            cost_quadratic=polynomials[:, 0],
            cost_linear=polynomials[:, 1],
            cost_constant=polynomials[:, 2],
            curves=tuple(curve for _, curve in costs),
            ramp_mw_h=np.full(len(table), np.inf),
        )

    def placed(self, fault: Fault) -> Fault:
        """The same fault in the words of the file."""
        match = re.fullmatch(r"(\w+)\.(\w+)\[(\d+)\]", fault.place)
        loads = re.fullmatch(r"load_(mw|mvar)\[0,(\d+)\]", fault.place)
        if loads:
            row = int(self.rows["bus"][int(loads[2])])
            return Fault(
                f"mpc.bus row {row}, {'PD' if loads[1] == 'mw' else 'QD'}", fault.message, fault.value, fault.hint
            )
        if match is None or match[1] not in _COLUMNS:
            return fault
        table, columns = _COLUMNS[match[1]]
        row = int(self.rows[table][int(match[3])])
        column = columns.get(match[2], match[2])
        message = re.sub(r"\b(" + "|".join(columns) + r")\b", lambda m: columns[m[1]], fault.message)
        head = "gencost" if column == "COST" else table
        return Fault(f"mpc.{head} row {row}, {column}", message, fault.value, fault.hint)


def _identifiers(table: str, column: str, values: Floats, faults: FaultList) -> Ints:
    bad = ~np.isfinite(values) | (values != np.floor(values)) | (values < 0) | (values > _MOST_BUS)
    for row in np.flatnonzero(bad)[:5]:
        faults.add(f"mpc.{table} row {row + 1}, {column}", "must be a bus number", float(values[row]))
    return np.where(bad, 0, values).astype(np.int64)


def _duplicates(numbers: NDArray[np.int64], faults: FaultList) -> None:
    first: dict[int, int] = {}
    for row, number in enumerate(numbers.tolist(), 1):
        if number in first:
            faults.add(f"mpc.bus row {row}, BUS_I", f"repeats the bus number of row {first[number]}", number)
        first.setdefault(number, row)


def _distinct(names: list[str]) -> tuple[str, ...]:
    """The second branch between two buses is ``3-5#2``."""
    seen: dict[str, int] = {}
    distinct = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        distinct.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return tuple(distinct)


def _cost(row: Floats, number: int, faults: FaultList) -> tuple[tuple[float, float, float], CostCurve]:
    """The polynomial (quadratic, linear, constant) or the curve of one row of ``mpc.gencost``."""
    place = f"mpc.gencost row {number}"
    nothing: tuple[tuple[float, float, float], CostCurve] = ((0.0, 0.0, 0.0), ())
    model, count = row[0], row[3]
    most = len(row) - 4
    if model not in (_POLYNOMIAL, _PIECEWISE):
        faults.add(f"{place}, MODEL", "must be 1 (piecewise linear) or 2 (polynomial)", float(model))
        return nothing
    if not (count == np.floor(count) and 0 <= count * (2 if model == _PIECEWISE else 1) <= most):
        faults.add(f"{place}, NCOST", "must say how many numbers follow", float(count))
        return nothing
    if model == _PIECEWISE:
        points = row[4 : 4 + 2 * int(count)].reshape(-1, 2)
        return (0.0, 0.0, 0.0), tuple((float(x), float(y)) for x, y in points)
    coefficients = row[4 : 4 + int(count)]
    if np.any(coefficients[:-3]):
        faults.add(place, "must be a polynomial of degree 2 at most", coefficients.tolist(), "a piecewise linear cost")
        return nothing
    padded = np.concatenate((np.zeros(3), coefficients))[-3:]
    return (float(padded[0]), float(padded[1]), float(padded[2])), ()
