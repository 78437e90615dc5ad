"""What ``apportion simulate`` does: read, simulate every policy, compare, draw."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite
from pathlib import Path

from apportion.instances.core import Json
from apportion.instances.errors import OptionError
from apportion.instances.files import write_text
from apportion.instances.formats.job_traces import read_trace
from apportion.instances.generate.trace import generate_trace
from apportion.instances.trace import Fleet, JobTrace
from apportion.scenarios import AS_IS, Scenario, parse_quotas
from apportion.scheduling.simulator.failures import Failure, draw_failures
from apportion.scheduling.simulator.record import Simulation
from apportion.scheduling.simulator.rounds import RoundRules
from apportion.scheduling.simulator.run import policy_names, simulate
from apportion.timelines import fairness_curves, gantt, utilisation_curves

_COLUMNS = (
    ("finished", "{:.0f}"),
    ("makespan_h", "{:.3f}"),
    ("mean_jct_h", "{:.3f}"),
    ("p50_jct_h", "{:.3f}"),
    ("p99_jct_h", "{:.2f}"),
    ("worst_fairness", "{:.2f}"),
    ("unfair_percent", "{:.2f}"),
    ("late_percent", "{:.2f}"),
    ("utilisation_percent", "{:.1f}"),
    ("cost", "{:.0f}"),
    ("preemptions", "{:.0f}"),
    ("rejected", "{:.0f}"),
)


@dataclass(frozen=True)
class SimulationRequest:
    """What to simulate; see the command line for the meaning of each."""

    trace: str
    policies: tuple[str, ...]
    cluster: str
    what_if: tuple[str, ...] = ()
    throughputs: Path | None = None
    rate_per_hour: float | None = None
    round_s: float = 360.0
    restart_s: float = 0.0
    until_h: float = inf
    mean_between_failures_h: float | None = None
    repair_h: float = 1.0
    seed: int = 0
    quotas: str | None = None


def run_simulations(request: SimulationRequest) -> list[Simulation]:
    """Simulate every policy as things are and, with ``what_if``, in every scenario."""
    unknown = [name for name in request.policies if name not in policy_names()]
    if unknown or not request.policies:
        raise OptionError(f"unknown policy {', '.join(unknown)!r}\nMaybe one of {', '.join(policy_names())}")
    fleet = Fleet.parse(request.cluster)
    trace = _trace(request, fleet)
    rules = RoundRules(request.round_s, request.restart_s, until_s=request.until_h * 3600.0)
    quotas = parse_quotas(request.quotas) if request.quotas else {}
    cases = []
    for scenario in (Scenario(), *(Scenario.parse(text) for text in request.what_if)):
        changed, moved = scenario.fleet(fleet), scenario.trace(trace)
        failures = _failures(request, changed, moved)
        cases.append((scenario, moved, changed, failures, {**quotas, **scenario.quotas}))
    outcomes = []
    for policy in request.policies:
        for scenario, jobs, gpus, failures, limits in cases:
            found = simulate(jobs, gpus, policy, rules, failures=failures, quotas=limits)
            outcomes.append(replace(found, scenario=scenario.name if request.what_if else ""))
    return outcomes


def _trace(request: SimulationRequest, fleet: Fleet) -> JobTrace:
    if request.trace == "generated":
        rate = 6.0 if request.rate_per_hour is None else request.rate_per_hour
        trace = generate_trace(request.seed, rate_per_hour=rate)
    else:
        trace = read_trace(request.trace, request.throughputs, request.rate_per_hour)
    unknown = [name for name in fleet.types if name not in trace.gpu_types]
    if len(unknown) == len(fleet.types):
        message = f"{trace.name} knows no GPU type of the cluster ({', '.join(unknown)})"
        raise OptionError(f"{message}\nMaybe one of {', '.join(trace.gpu_types)}")
    return trace


def _failures(request: SimulationRequest, fleet: Fleet, trace: JobTrace) -> tuple[Failure, ...]:
    if request.mean_between_failures_h is None:
        return ()
    last = float(trace.arrival_s[-1]) + 4.0 * float(trace.shortest_s[trace.shortest_s < inf].max(initial=0.0))
    return draw_failures(fleet, request.mean_between_failures_h * 3600.0, request.repair_h * 3600.0, last, request.seed)


def comparison_table(outcomes: Sequence[Simulation]) -> str:
    """The figures of every outcome as a Markdown table; with scenarios a second one of what they change."""
    fleets = len({outcome.fleet.num_gpus for outcome in outcomes}) > 1
    scenarios = len({outcome.scenario for outcome in outcomes}) > 1
    headings = ["policy", *(["scenario"] if scenarios else []), *(["cluster"] if fleets else [])]
    body = []
    for outcome in outcomes:
        figures = outcome.figures()
        cells = [form.format(figures[name]) if isfinite(figures[name]) else "-" for name, form in _COLUMNS]
        names = [outcome.policy, *([outcome.scenario] if scenarios else [])]
        body.append([*names, *([_fleet_text(outcome.fleet)] if fleets else []), *cells])
    table = _markdown([*headings, *(name for name, _ in _COLUMNS)], body)
    return f"{table}\n\n{_changes_table(outcomes)}" if scenarios else table


def _changes_table(outcomes: Sequence[Simulation]) -> str:
    """How each scenario differs from things as they are, by policy."""
    before = {outcome.policy: outcome.figures() for outcome in outcomes if outcome.scenario == AS_IS}
    body = []
    for outcome in outcomes:
        if outcome.scenario != AS_IS:
            now, then = outcome.figures(), before[outcome.policy]
            cells = [_change(now[name], then[name]) for name, _ in _COLUMNS]
            body.append([f"{outcome.policy}: {outcome.scenario}", *cells])
    return _markdown(["change", *(name for name, _ in _COLUMNS)], body)


def _change(now: float, then: float) -> str:
    if not (isfinite(now) and isfinite(then)):
        return "-"
    if now == then:
        return "="
    return f"{100.0 * (now / then - 1.0):+.1f} %" if then else f"{now:+.4g}"


def _markdown(headings: list[str], body: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in [headings, *body]) for i in range(len(headings))]
    lines = [headings, ["-" * width for width in widths], *body]
    return "\n".join("| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines)


def _fleet_text(fleet: Fleet) -> str:
    return ",".join(f"{kind}:{count}" for kind, count in zip(fleet.types, fleet.num_gpus, strict=True))


def pending_text(outcomes: Sequence[Simulation], most: int = 10) -> str:
    """Why jobs were rejected or wait at the end, one line each."""
    lines = []
    for outcome in outcomes:
        for job, reason in sorted(outcome.reasons.items())[:most]:
            who = f"{outcome.policy}, {outcome.scenario}" if outcome.scenario else outcome.policy
            lines.append(f"{who}: job {outcome.trace.jobs[job]} {outcome.state[job]}: {reason}")
        if len(outcome.reasons) > most:
            lines.append(f"{outcome.policy}: {len(outcome.reasons) - most} more")
    return "\n".join(lines)


def write_outcomes(outcomes: Sequence[Simulation], folder: Path) -> list[Path]:
    """Write ``simulation.json`` and the pictures as Vega-Lite specifications; returns the files."""
    content: dict[str, Json | list[Json]] = {
        "simulation.json": [{**outcome.to_dict(), "cluster": _fleet_text(outcome.fleet)} for outcome in outcomes],
        "utilisation.vl.json": utilisation_curves(outcomes),
        "fairness.vl.json": fairness_curves(outcomes),
    }
    for number, outcome in enumerate(outcomes):
        content[f"gantt-{number}-{outcome.policy}.vl.json"] = gantt(outcome)
    for name, data in content.items():
        write_text(folder / name, json.dumps(data, indent=1) + "\n")
    return [folder / name for name in content]
