"""What explanations and certificates are worth: planted conflicts found whole, lies caught, and what that costs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from apportion.bench.faults import LIES, FaultyBackend
from apportion.bench.registry import Context, Measurement, Target, spec
from apportion.bench.runner import median_and_spread
from apportion.instances.generate.program import generate_program
from apportion.instances.program import Floats, MixedIntegerProgram, SparseColumns
from apportion.models.explaining import Conflict
from apportion.models.verdict import TOLERANCE
from apportion.solvers.backends import backend_named
from apportion.solvers.backends.base import BackendAnswer
from apportion.solvers.certificates import certify, verify
from apportion.solvers.events import Monitor
from apportion.solvers.explain import explain
from apportion.solvers.options import SolveOptions
from apportion.solvers.status import Status

_LIMIT_S = 30.0


@dataclass(frozen=True)
class Planted:
    """An infeasible program whose only minimal conflict is ``rows``."""

    program: MixedIntegerProgram
    rows: frozenset[int]


def planted_cycle(seed: int, size: int, num_columns: int, num_rows: int) -> Planted:
    """``x_i - x_{i+1} >= 1`` around a cycle, which the linear relaxation sees, among rows that harm no part of it."""
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 9, num_columns).astype(float)
    points = np.repeat(base[:, None], size, axis=1)
    for k in range(size):
        points[[(k + 1 + i) % size for i in range(size)], k] = np.arange(size)[::-1]
    cycle = np.zeros((size, num_columns))
    for k in range(size):
        cycle[k, k], cycle[k, (k + 1) % size] = 1.0, -1.0
    return _hidden(rng, f"cycle-{size}-s{seed}", cycle, np.ones(size), np.full(size, inf), points, False, num_rows)


def planted_clash(seed: int, size: int, num_columns: int, num_rows: int) -> Planted:
    """At most one of two neighbours on an odd cycle of binaries, and half of all: only whole numbers conflict."""
    rng = np.random.default_rng(seed)
    length = size - 1
    points = np.repeat(rng.integers(0, 2, num_columns).astype(float)[:, None], size, axis=1)
    for k in range(length):
        chosen = np.zeros(length)
        chosen[[(k + 1 + 2 * i) % length for i in range((length + 1) // 2)]] = 1.0
        points[:length, k] = chosen
    points[:length, length] = 0.0
    rows = np.zeros((size, num_columns))
    for k in range(length):
        rows[k, k], rows[k, (k + 1) % length] = 1.0, 1.0
    rows[length, :length] = 1.0
    # whole points reach (length - 1) / 2, fractional ones length / 2
    lower = np.append(np.full(length, -inf), length / 2 - 0.25)
    upper = np.append(np.ones(length), inf)
    return _hidden(rng, f"clash-{size}-s{seed}", rows, lower, upper, points, True, num_rows)


def _hidden(
    rng: np.random.Generator,
    name: str,
    rows: Floats,
    lower: Floats,
    upper: Floats,
    points: Floats,
    binary: bool,
    num_rows: int,
) -> Planted:
    """Hide ``rows`` among others that hold at every point of ``points``, one for each row that may be left out."""
    num_columns = rows.shape[1]
    noise = rng.integers(-3, 4, (num_rows, num_columns)) * 1.0
    noise *= rng.random(noise.shape) < 4 / num_columns
    place = rng.permutation(len(noise) + len(rows))
    matrix = np.vstack([noise, rows])[place]
    most = np.append((noise @ points).max(axis=1), upper)[place]
    least = np.append(np.full(len(noise), -inf), lower)[place]
    columns, positions = np.nonzero(matrix.T)
    starts = np.concatenate(([0], np.cumsum(np.bincount(columns, minlength=num_columns))))
    program = MixedIntegerProgram(
        name=name,
        sense=generate_program().sense,
        cost=np.ones(num_columns),
        matrix=SparseColumns(starts.astype(np.int32), positions.astype(np.int32), matrix.T[columns, positions]),
        row_lower=least,
        row_upper=most,
        lower=np.zeros(num_columns),
        upper=np.full(num_columns, 1.0 if binary else 20.0),
        integer=np.full(num_columns, binary),
    )
    return Planted(program, frozenset(np.flatnonzero(place >= len(noise)).tolist()))


@spec("solvers", "explain")
def conflicts(context: Context) -> Iterator[Measurement]:
    """Share of planted conflicts that are returned exactly and called minimal, and CPU seconds for one explanation."""
    seeds = context.seeds[:1] if context.quick else context.seeds
    sizes = (5,) if context.quick else (3, 5, 9, 15)
    columns = 30 if context.quick else 120
    for kind, plant in (("LP", planted_cycle), ("MIP", planted_clash)):
        exact, seconds, cost = [], [], []
        for seed in seeds:
            for size in sizes:
                planted = plant(seed, size + (kind == "MIP"), columns, 2 * columns)
                began = time.process_time()
                explanation = explain(planted.program, options=SolveOptions(time_limit_s=_LIMIT_S))
                seconds.append(time.process_time() - began)
                exact.append(_is_exact(explanation.conflict, planted))
                relaxation = explanation.relaxation
                cost.append(relaxation is not None and relaxation.confirmed and relaxation.cheapest)
        middle, spread = median_and_spread(seconds)
        total = sum(seconds)
        case = f"explain {kind}"
        share = Target("ours", ">=", 1.0)
        yield Measurement(
            case, "planted conflicts found", float(np.mean(exact)), target=share, seeds=seeds, cpu_s=total
        )
        yield Measurement(case, "cheapest relaxations proven", float(np.mean(cost)), target=share, seeds=seeds)
        yield Measurement(case, "cpu s each", middle, seeds=seeds, spread=spread, cpu_s=total)


def _is_exact(conflict: Conflict | None, planted: Planted) -> bool:
    return conflict is not None and conflict.minimal and not conflict.bounds and set(conflict.rows) == planted.rows


@spec("solvers", "certificates")
def certificates(context: Context) -> Iterable[Measurement]:
    """The cost of a certificate beside the solve, and the share of injected lies that are caught."""
    kinds: tuple[tuple[str, dict[str, int]], ...] = (
        ("set-cover", {"elements": 60, "sets": 80} if context.quick else {"elements": 300, "sets": 600}),
        ("facility", {"sites": 6, "clients": 15} if context.quick else {"sites": 20, "clients": 60}),
        ("knapsack", {"items": 20, "resources": 3} if context.quick else {"items": 40, "resources": 5}),
    )
    seeds = context.seeds[:1] if context.quick else context.seeds
    for kind, sizes in kinds:
        yield from _overhead(kind, sizes, seeds)
    yield from _caught(seeds)


def _overhead(kind: str, sizes: dict[str, int], seeds: tuple[int, ...]) -> Iterator[Measurement]:
    solving, certifying, confirmed, exact, proven = [], [], [], [], []
    options = SolveOptions(time_limit_s=_LIMIT_S)
    for seed in seeds:
        program = generate_program(seed=seed, kind=kind, **sizes)
        began = time.process_time()
        answer = _run(program, options)
        solved = time.process_time()
        certificate = certify(program, answer, source="highs", options=options)
        certifying.append(time.process_time() - solved)
        solving.append(solved - began)
        plan = certificate.plan
        confirmed.append(certificate.ok and plan is not None and plan.within(TOLERANCE))
        exact.append(plan is not None and plan.exactly_feasible)
        proven.append(1.0 - abs(certificate.root_bound - answer.bounds.dual) / max(1.0, abs(answer.bounds.dual)))
    total = sum(solving) + sum(certifying)
    case = f"certificate {kind}"
    ours, theirs = float(np.median(certifying)), float(np.median(solving))
    yield Measurement(case, "cpu s beside the solve", ours, theirs, "highs", seeds=seeds, cpu_s=total)
    bar = Target("ours", ">=", 1.0)
    yield Measurement(case, "plans confirmed within 1e-6", float(np.mean(confirmed)), target=bar, seeds=seeds)
    yield Measurement(case, "plans without any violation", float(np.mean(exact)), seeds=seeds)
    yield Measurement(case, "1 - gap of the proven to the claimed bound", float(np.median(proven)), seeds=seeds)


def _caught(seeds: tuple[int, ...]) -> Iterator[Measurement]:
    """Every lie, told about knapsacks: by the certificate or the second solve; and no honest answer accused."""
    options = SolveOptions(gap=0.0, time_limit_s=_LIMIT_S)
    caught, alone, accused = [], [], []
    began = time.process_time()
    for seed in seeds:
        program = generate_program(seed=seed, kind="knapsack", items=12, resources=2)
        answer = _run(program, options)
        accused.append(not all(_trusted(program, answer, options)))
        for lie in LIES.values():
            told = FaultyBackend(lie).run(program, options, Monitor(program.sense))
            certified, verified = _trusted(program, told, options)
            alone.append(not certified)
            caught.append(not (certified and verified))
    seconds = time.process_time() - began
    bar = Target("ours", ">=", 1.0)
    yield Measurement("injected lies", "caught", float(np.mean(caught)), target=bar, seeds=seeds, cpu_s=seconds)
    yield Measurement("injected lies", "caught by the certificate alone", float(np.mean(alone)), seeds=seeds)
    none = Target("ours", "<=", 0.0)
    yield Measurement("injected lies", "honest answers accused", float(np.mean(accused)), target=none, seeds=seeds)


def _trusted(program: MixedIntegerProgram, answer: BackendAnswer, options: SolveOptions) -> tuple[bool, bool]:
    """Whether the certificate, and whether a second solve, finds nothing against an answer."""
    certificate = certify(program, answer, source="faulty", options=options)
    verification = verify(program, answer, source="faulty", backend="highs", options=options)
    return certificate.ok, verification.ok


def _run(program: MixedIntegerProgram, options: SolveOptions) -> BackendAnswer:
    answer = backend_named("highs").run(program, options, Monitor(program.sense, None, options.time_limit_s))
    return answer if answer.status is not Status.ERROR else replace(answer, values=None)
