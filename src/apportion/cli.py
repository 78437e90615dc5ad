"""The command line. Results go to standard output or to files, everything else to standard error.

Exit codes: 0 every instance has a checked plan; 1 one has none within its limits; 2 usage; 3 one is infeasible or
unbounded; 4 a bad file; 5 a backend is missing; 6 a plan failed the check; 70 internal error; 130 and 143 interrupted,
incumbents written. Of several instances the largest counts.

Only what parses and prints help is imported here; every command imports what it needs when it runs.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, CycloptsError, Parameter

from apportion import __version__
from apportion.flags import SolveFlags
from apportion.instances.errors import ApportionError, OptionError

if TYPE_CHECKING:
    from apportion.bench import Row
    from apportion.instances.core import Instance, Plan

USAGE, FAILED_CHECK, MISSING, INTERNAL, BROKEN_PIPE, INTERRUPTED = 2, 6, 5, 70, 141, 130

DEBUG_VARIABLE = "APPORTION_DEBUG"
"""Set to 1, errors keep their tracebacks."""

app = App(
    name="apportion",
    help="Divide scarce things well: an instance file goes in, a checked plan with a proven bound comes out.",
    version=__version__,
    help_format="plaintext",
    result_action="return_value",
)

Format = Annotated[str | None, Parameter(help="Format of the instance file; suffix and content tell otherwise.")]
NodeList = Annotated[Path | None, Parameter(help="The node list that belongs to an openb pod list.")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app(_dashes(sys.argv[1:] if arguments is None else arguments), exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except CycloptsError as error:
        return _complain(str(error), USAGE)
    except ApportionError as error:
        from apportion.tasks import exit_code_of_error

        return _raise_or(error, str(error), exit_code_of_error(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 (the outermost boundary: one line, and where the rest is)
        return _internal(error)
    return code if isinstance(code, int) else 0


def _complain(message: str, code: int) -> int:
    sys.stderr.write(f"apportion: {message}\n")
    return code


def _raise_or(error: BaseException, message: str, code: int) -> int:
    if os.environ.get(DEBUG_VARIABLE) == "1":
        raise error
    return _complain(message, code)


def _internal(error: Exception) -> int:
    if os.environ.get(DEBUG_VARIABLE) == "1":
        raise error
    from apportion.tasks import keep_traceback

    where = keep_traceback()
    message = f"internal error: {type(error).__name__}: {error}; the traceback is in {where}"
    return _complain(message, INTERNAL)


@app.command
def solve(files: list[str], /, *, flags: SolveFlags = SolveFlags()) -> int:  # noqa: B008 (frozen)
    """Solve instances and check every plan.

    Parameters
    ----------
    files
        Instance files, folders, glob patterns; '-' is standard input.
    """
    from apportion.solving import solve_files

    return solve_files(files, flags)


@app.command
def check(
    instance: str,
    plan: str,
    /,
    *,
    format: Format = None,  # noqa: A002
    nodes: NodeList = None,
    json: bool = False,
    certify: bool = False,
) -> int:
    """Check a plan against its instance, from the data alone.

    Parameters
    ----------
    instance
        The instance file.
    plan
        The plan, .json or the field's own solution file; '-' is standard input.
    json
        Print the verdict as JSON.
    certify
        Also check the plan of a program in exact arithmetic and prove a bound of its relaxation.
    """
    from apportion.instances.plans import read_plan
    from apportion.models.checking import check as check_plan
    from apportion.report import verdict_text, verdict_to_dict

    problem = _read(instance, format, nodes)
    given = read_plan(plan, problem)
    verdict = check_plan(problem, given)
    print(_json(verdict_to_dict(verdict)) if json else verdict_text(problem.name, verdict), end="")
    if certify:
        print(_certificate(problem, given))
    return 0 if verdict.ok else FAILED_CHECK


@app.command
def explain(
    file: str,
    plan: str | None = None,
    /,
    *,
    time_limit: float = 60.0,
    format: Format = None,  # noqa: A002
    nodes: NodeList = None,
) -> int:
    """Say why there is no plan and the least change that gives one; otherwise what binds.

    Parameters
    ----------
    file
        The instance file.
    plan
        A plan: say which rules it breaks, and explain the program at its whole numbers.
    time_limit
        Wall-clock seconds.
    """
    from apportion.instances.plans import read_plan
    from apportion.solvers.explain import explain_text
    from apportion.solvers.options import SolveOptions

    problem = _read(file, format, nodes)
    given = None if plan is None else read_plan(plan, problem)
    print(explain_text(problem, plan=given, options=SolveOptions(time_limit_s=time_limit)))
    return 0


@app.command
def show(files: list[str], /, *, format: Format = None, nodes: NodeList = None) -> int:  # noqa: A002
    """Show the sizes of instances; a plan after its instance shows its measures.

    Parameters
    ----------
    files
        Instance files, folders, glob patterns, and plans after their instances.
    """
    from apportion.instances.plans import read_plan
    from apportion.models.checking import check as check_plan
    from apportion.report import summary_text, verdict_text

    last: Instance | None = None
    for number, path in enumerate(_with_plans(files, format)):
        if number:
            print()
        if _is_plan(path):
            if last is None:
                raise OptionError(f"{path} is a plan\nMaybe name its instance before it")
            print(verdict_text(f"{last.name}, plan {path}", check_plan(last, read_plan(path, last))), end="")
        else:
            last = _read(str(path), format, nodes)
            print(summary_text(last), end="")
    return 0


@app.command
def convert(
    file: str,
    out: str,
    /,
    *,
    to: str | None = None,
    plan: str | None = None,
    format: Format = None,  # noqa: A002
    nodes: NodeList = None,
) -> int:
    """Write an instance in another format of its problem, or a plan as the field's own solution file.

    Parameters
    ----------
    file
        The instance file.
    out
        The file to write; '-' is standard output.
    to
        The format to write; the suffix tells otherwise.
    plan
        Write this plan of the instance instead.
    """
    from apportion.instances.plans import read_plan, write_plan
    from apportion.instances.reading import write

    instance = _read(file, format, nodes)
    if plan is not None:
        write_plan(read_plan(plan, instance), out, instance)
        return 0
    _require_format(instance, out, to)
    write(instance, out, to)
    return 0


@app.command
def generate(
    problem: str,
    /,
    *,
    seed: int = 0,
    size: list[str] | None = None,
    out: str = "-",
    to: str | None = None,
) -> int:
    """Generate an instance. Same seed, same bytes.

    Parameters
    ----------
    problem
        cluster-placement, vehicle-routing, unit-commitment or mixed-integer-program.
    seed
        Seed of everything random.
    size
        name=value, such as clients=50; may be repeated.
    out
        The file to write; '-' is standard output.
    to
        The format to write; the suffix tells otherwise.
    """
    from apportion.instances.generate import generate as make
    from apportion.instances.reading import write

    instance = make(problem, seed, **dict(_size(text) for text in size or ()))
    _require_format(instance, out, to)
    write(instance, out, to)
    return 0


@app.command
def train(
    source: str,
    /,
    *,
    out: Path,
    advisor: str = "start",
    instances: int = 40,
    size: list[str] | None = None,
    work: Path | None = None,
    time_limit: float = 600.0,
    gap: float = 1e-3,
    width: int = 32,
    attention: bool = False,
    seed: int = 0,
    quiet: bool = False,
) -> int:
    """Learn from solved instances, for 'solve --advisor'; what is solved already is not solved again.

    Parameters
    ----------
    source
        A family (facility-day, network-day, set-cover, auction, independent-set, facility), or a folder of programs.
    out
        The weights to write (.safetensors); the model card goes beside them (.md).
    advisor
        What to advise on: start (values of binaries, with confidence) or configuration (solver and settings, by races).
    instances
        How many to generate of a family.
    size
        name=value of the family, such as customers=50; may be repeated.
    work
        Folder of the solved instances; by default beside the weights.
    time_limit, gap
        Limits of each solve.
    width, attention
        Of the net.
    seed
        Of the training.
    quiet
        Show no progress.
    """
    from apportion.training import train as run

    sizes = dict(_size(text) for text in size or ())
    settings = {"width": width, "attention": attention, "seed": seed}
    card = run(
        source,
        out,
        advisor,
        instances=instances,
        sizes=sizes,
        work=work,
        time_limit_s=time_limit,
        gap=gap,
        settings=settings,
        quiet=quiet,
    )
    print(card, end="")
    return 0


@app.command
def doctor(*, compile: bool = False) -> int:  # noqa: A002
    """Look whether all that solving needs is there, and solve a small program with every backend.

    Parameters
    ----------
    compile
        Compile the kernels of the default methods now: the first solve then has its whole time limit.
    """
    from apportion.doctor import compiled, findings

    found = [*findings(), *(compiled() if compile else ())]
    width = max(len(finding.what) for finding in found)
    for finding in found:
        print(f"{'ok ' if finding.good else 'BAD'}  {finding.what:<{width}}  {finding.text}")
    return 0 if all(finding.good for finding in found) else MISSING


def _listed(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


@app.command
def bench(
    suite: str,
    /,
    *,
    only: str | None = None,
    against: str | None = None,
    quick: bool = False,
    limit: float | None = None,
    json: Path | None = None,
    data: Path | None = None,
) -> int:
    """Repeat registered measurements. Always exits with 0: the table says what holds.

    Parameters
    ----------
    suite
        Such as build.
    only
        Parts of the suite, separated by commas, such as lns; all of them otherwise.
    against
        Peers to measure against, separated by commas; all that are known otherwise.
    quick
        Only the smallest case of each target.
    limit
        Seconds for each solve instead of those of the suite, where it gives all the same.
    json
        Keep the rows in this file.
    data
        Folder of real instances; otherwise APPORTION_DATA, otherwise generated stand-ins.
    """
    from apportion.bench import render_protocols, render_table, run_suite

    peers, parts = _listed(against), _listed(only)

    def tell(row: Row) -> None:
        beside = "" if row.peer is None else f" against {row.peer} ({row.peer_name})"
        sys.stderr.write(f"{row.suite} {row.case} {row.metric}: {row.ours}{beside}\n")

    rows = run_suite(
        suite, only=parts, against=peers, quick=quick, limit_s=limit, data=data, json_file=json, on_row=tell
    )
    if protocols := render_protocols(rows):
        print(f"{protocols}\n")
    print(render_table(rows))
    return 0


@app.command
def simulate(
    trace: str,
    /,
    *,
    policy: str,
    cluster: str,
    what_if: list[str] | None = None,
    quotas: str | None = None,
    throughputs: Path | None = None,
    rate: float | None = None,
    round_seconds: float = 360.0,
    restart_seconds: float = 0.0,
    until_hours: float | None = None,
    failures_every_hours: float | None = None,
    repair_hours: float = 1.0,
    seed: int = 0,
    out: Path | None = None,
) -> int:
    """Simulate policies on a trace of jobs and compare them.

    Parameters
    ----------
    trace
        A .trace of Gavel or Shockwave, a CSV file of Chronus or Philly, or 'generated'.
    policy
        Names separated by commas, such as planner,gavel-las,queue-srtf.
    cluster
        GPUs by type, such as v100:8,p100:16,k80:24.
    what_if
        Changes such as "add v100:4", "remove k80:2", "quota lab=16", "move 17=k80", "at 17=2h" or "drop 17",
        separated by semicolons; every policy is simulated with and without them. May be given several times.
    quotas
        The most GPUs that jobs of a kind may hold at once, such as lab=16,web=4.
    throughputs
        The table of throughputs of a .trace; one beside it otherwise.
    rate
        Jobs an hour, for a generated list of jobs.
    round_seconds
        Length of a round.
    restart_seconds
        What starting a job again costs.
    until_hours
        Stop after this many hours.
    failures_every_hours
        Mean time between failures of a node.
    repair_hours
        How long a node is down.
    seed
        Of everything random.
    out
        Folder for the outcome as JSON, the Gantt of GPUs and the curves.
    """
    from math import inf

    from apportion.simulation import (
        SimulationRequest,
        comparison_table,
        pending_text,
        run_simulations,
        write_outcomes,
    )

    names = tuple(name.strip() for name in policy.split(",") if name.strip())
    request = SimulationRequest(
        trace,
        names,
        cluster,
        tuple(what_if or ()),
        throughputs,
        rate,
        round_seconds,
        restart_seconds,
        inf if until_hours is None else until_hours,
        failures_every_hours,
        repair_hours,
        seed,
        quotas,
    )
    outcomes = run_simulations(request)
    print(comparison_table(outcomes))
    if reasons := pending_text(outcomes):
        sys.stderr.write(f"{reasons}\n")
    for path in write_outcomes(outcomes, out) if out is not None else ():
        sys.stderr.write(f"wrote {path}\n")
    return 0


@app.command
def roll(
    files: list[str],
    /,
    *,
    window: int = 48,
    keep: int = 24,
    hours_each: int | None = None,
    out: Path = Path("rolled"),
    time_limit: float = 60.0,
    gap: float = 1e-3,
    method: str | None = None,
    cold: bool = False,
    format: Format = None,  # noqa: A002
) -> int:
    """Solve unit commitment over a long horizon, window by window, and check the joined plan.

    Parameters
    ----------
    files
        The horizon: one file, or files that follow each other, in order.
    window
        Hours that each window looks at.
    keep
        Hours of it that are carried out.
    hours_each
        Of several files take only so many hours of each but the last.
    out
        Folder for the windows, the joined instance and its plan.
    time_limit
        Wall-clock seconds for each window.
    gap
        Relative gap for each window.
    method
        A method of unit commitment instead of its default.
    cold
        Solve each window without what the one before it knew.
    """
    from apportion.rolling import RollRequest, exit_code_of_rolled, roll_files, rolled_text
    from apportion.solvers.options import SolveOptions
    from apportion.tasks import expand

    options = SolveOptions(time_limit_s=time_limit, gap=gap)
    paths = tuple(expand(files, format))
    request = RollRequest(paths, window, keep, hours_each, out, options, method, format, not cold)
    rolled = roll_files(request, lambda line: sys.stderr.write(f"{line}\n"))
    print(rolled_text(rolled))
    return exit_code_of_rolled(rolled)


@app.command
def price(
    instance: str,
    plan: str,
    /,
    *,
    kind: str = "lmp",
    out: Path | None = None,
    fast_start: int = 1,
    time_limit: float = 60.0,
    format: Format = None,  # noqa: A002
) -> int:
    """Price the energy and the reserve of each hour of a plan, and settle with every unit; on a network, by bus.

    Parameters
    ----------
    instance
        The instance file, of unit commitment with or without a network.
    plan
        Its plan.
    kind
        lmp: at the planned states; aelmp: units that start fast are on in part; hull: the prices of least uplift.
    out
        Write prices and accounts to this file as JSON; '-' is standard output.
    fast_start
        For aelmp: units whose shortest run is at most so many hours start fast.
    time_limit
        For hull: wall-clock seconds for the search.
    """
    from apportion.instances.plans import read_plan
    from apportion.pricing import prices, prices_text, write_prices

    problem = _read(instance, format, None)
    found = prices(problem, read_plan(plan, problem), kind, fast_start_h=fast_start, time_limit_s=time_limit)
    if out is not None:
        write_prices(found, out)
    if str(out) != "-":
        print(prices_text(problem.name, found))
    return 0


@app.command
def plot(
    results: str,
    plan: str | None = None,
    /,
    *,
    out: Path | None = None,
    prices: str = "lmp",
    format: Format = None,  # noqa: A002
    nodes: NodeList = None,
) -> int:
    """Draw a plan, or write the page of a folder of results again.

    Parameters
    ----------
    results
        A folder that 'solve --out' wrote; or an instance file, with its plan after it.
    plan
        The plan to draw.
    out
        The picture: .html, .png or .svg; by default the name of the instance with .html.
    prices
        Of unit commitment: which prices are drawn, lmp, aelmp, hull, a file that 'price' wrote, or none.
    """
    from apportion.drawing import draw_plan, draw_results

    if plan is None:
        print(draw_results(Path(results)))
        return 0
    from apportion.instances.plans import read_plan

    instance = _read(results, format, nodes)
    print(draw_plan(instance, read_plan(plan, instance), out or Path(f"{instance.name}.html"), prices))
    return 0


serve = App(name="serve", help="Run a live scheduler on a cluster.", help_format="plaintext")
app.command(serve)


@serve.command(name="slurm")
def serve_slurm(
    *,
    policy: str = "completion",
    interval: float = 2.0,
    journal: Path | None = Path("apportion-journal.db"),
    dry_run: bool = False,
    once: bool = False,
    preempt: bool = False,
    config: Path | None = None,
    heartbeat: Path | None = None,
    budget: float = 0.25,
    deadline: float = 1.0,
    confirm: float = 30.0,
    command_timeout: float = 10.0,
    ahead: float = 2.5,
    overhead: float = 1.5,
    hand_back: bool = False,
    seed: int = 0,
) -> int:
    """Place the held jobs of a Slurm cluster until interrupted; what runs goes on when this ends.

    Parameters
    ----------
    policy
        completion, completion-greedy, a rule such as least-loss, or a policy of the simulator such as planner.
    interval
        Seconds from one round to the next.
    journal
        The file of decisions with their reasons (SQLite).
    dry_run
        Print what would be done and do nothing.
    once
        One round.
    preempt
        Send preemptible jobs back to the queue for jobs of higher priority.
    config
        The slurm.conf; Slurm's own place otherwise.
    heartbeat
        Written every round; while it is fresh, job_submit.lua holds new jobs.
    budget
        Seconds that the policy may search in a round.
    deadline
        Seconds after which the policy is killed and the fallback decides.
    confirm
        Seconds after which a start that did not come to be is taken back.
    command_timeout
        Seconds for one of Slurm's programs.
    ahead
        Starts that are planned within so many seconds are sent already; Slurm begins them when the GPUs are free.
    overhead
        Seconds that a start costs beside the run of a job.
    hand_back
        Release every held job to Slurm's own scheduler, and end.
    seed
        Of everything random.
    """
    from apportion.serving import ServeRequest
    from apportion.serving import serve_slurm as run

    request = ServeRequest(
        policy, interval, budget, deadline, confirm, journal, heartbeat, dry_run, once, preempt, ahead, overhead, seed
    )
    return run(request, config=config, command_timeout_s=command_timeout, hand_back=hand_back)


def _certificate(problem: Instance, plan: Plan) -> str:
    from apportion.instances.program import MixedIntegerProgram, VariableValues
    from apportion.solvers.certificates import Claim, certify
    from apportion.solvers.status import Bounds, Status

    if not (isinstance(problem, MixedIntegerProgram) and isinstance(plan, VariableValues)):
        raise OptionError(f"--certify is for programs (MPS and LP files), {problem.name!r} is {problem.problem}")
    claim = Claim("the plan", Status.FEASIBLE, Bounds.unknown(problem.sense), plan.to_array(problem))
    return str(certify(problem, claim))


def _read(file: str, format_name: str | None, nodes: Path | None) -> Instance:
    from apportion.instances.reading import read

    companions = {} if nodes is None else {"nodes": nodes}
    return read(file, format_name, **companions)


def _dashes(arguments: Sequence[str]) -> list[str]:
    """Spell ``-`` as ``./-``, which is the same path and cannot be taken for a flag."""
    return ["./-" if argument == "-" else argument for argument in arguments]


def _with_plans(files: Sequence[str], format_name: str | None) -> list[Path]:
    from apportion.tasks import expand

    return [path for file in files for path in ([Path(file)] if _is_plan(Path(file)) else expand([file], format_name))]


def _is_plan(path: Path) -> bool:
    """Whether a file is a plan: by its suffix, or as the JSON envelope that we write."""
    name = path.name.removesuffix(".gz")
    if name.endswith(".sol"):
        return True
    if not name.endswith(".json") or not path.is_file():
        return False
    from apportion.tasks import is_plan_envelope

    return is_plan_envelope(path)


def _require_format(instance: Instance, out: str, to: str | None) -> None:
    """Refuse a suffix that no format of this problem has, instead of writing another format under it."""
    from apportion.instances.formats import FORMATS

    if to is not None or str(Path(out)) == "-":
        return
    suffix = Path(out.removesuffix(".gz")).suffix.lower()
    known = [f for f in FORMATS if f.problem == instance.problem and f.writes]
    if not any(suffix in f.suffixes for f in known):
        names = ", ".join(f"{f.name} ({' '.join(f.suffixes)})" for f in known)
        raise OptionError(f"{instance.problem} is not written as {suffix or 'a file without suffix'!r}\nMaybe {names}")


def _size(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise OptionError(f"--size must be name=value, got {text!r}")
    for convert_to in (int, float):
        try:
            return name, convert_to(value)
        except ValueError:
            continue
    return name, {"true": True, "false": False}.get(value.lower(), value)


def _json(data: object) -> str:
    import json

    return json.dumps(data, indent=1, allow_nan=False) + "\n"


if __name__ == "__main__":
    sys.exit(main())
