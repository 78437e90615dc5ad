"""The flags of ``apportion solve`` as a dataclass."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

DEFAULT_TIME_LIMIT_S = 60.0


@Parameter(name="*")
@dataclass(frozen=True)
class SolveFlags:
    """How to solve, and where results go."""

    time_limit: Annotated[float, Parameter(help="Wall-clock seconds per instance; 'inf' for none.")] = (
        DEFAULT_TIME_LIMIT_S
    )
    gap: Annotated[float, Parameter(help="Stop at this relative gap: 0.001 is 0.1 %.")] = 1e-4
    threads: Annotated[int, Parameter(help="Threads of the solver, per instance.")] = 1
    seed: Annotated[int, Parameter(help="Seed of everything random.")] = 0
    start: Annotated[Path | None, Parameter(help="A plan to begin with; for several, a folder of plans.")] = None
    out: Annotated[
        Path | None,
        Parameter(
            help="Folder for plans, ledger, summary and page; or a file (.json, .sol) for one plan; or '-'. "
            "By default several instances go to 'results', one plan to standard output if that is no terminal."
        ),
    ] = None
    method: Annotated[str | None, Parameter(help="A method of the problem instead of its default.")] = None
    advisor: Annotated[
        Path | None, Parameter(help="Weights that 'train' wrote; programs are then solved by the method 'advised'.")
    ] = None
    backend: Annotated[str | None, Parameter(help="highs, cp-sat or scip.")] = None
    format: Annotated[str | None, Parameter(help="Format of the files; suffix and content tell otherwise.")] = None
    nodes: Annotated[Path | None, Parameter(help="The node list that belongs to openb pod lists.")] = None
    jobs: Annotated[int | None, Parameter(help="Instances at the same time; by default processors / threads.")] = None
    resume: Annotated[
        bool, Parameter(help="Skip what the ledger in --out already has.", negative="", show_default=False)
    ] = False
    events: Annotated[Path | None, Parameter(help="Write every event as a JSON line; '-' for standard output.")] = None
    shard: Annotated[str | None, Parameter(help="i/n: solve the i-th of n parts (1/n to n/n).")] = None
    hard_limit: Annotated[
        float | None,
        Parameter(help="Kill an instance after these seconds; in a batch twice the time limit and a minute."),
    ] = None
    memory_limit: Annotated[float | None, Parameter(help="GiB that one instance may use; no limit otherwise.")] = None
    deterministic: Annotated[
        bool, Parameter(help="Repeat exactly: limits by work, not time.", negative="", show_default=False)
    ] = False
    node_limit: Annotated[int | None, Parameter(help="Branch-and-bound nodes, or iterations.")] = None
    verify: Annotated[
        bool,
        Parameter(
            help="Solve programs again with another backend; a contradicted answer is refused with exit code 6.",
            negative="",
            show_default=False,
        ),
    ] = False
    page: Annotated[bool, Parameter(help="Write the page with pictures, of a batch.", show_default=False)] = True
    verbose: Annotated[
        bool, Parameter(help="Show the solver's own log too, of one instance.", negative="", show_default=False)
    ] = False
    quiet: Annotated[bool, Parameter(help="Show no log.", negative="", show_default=False)] = False
