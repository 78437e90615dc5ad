"""How a cluster placement is solved: greedy starts, node patterns with their bound, then search where a gap is left."""

from __future__ import annotations

import time
from collections.abc import Callable

from apportion.instances.cluster import ClusterPlacement, Placement
from apportion.instances.errors import CapabilityError
from apportion.models.cluster.classes import Classes
from apportion.solvers.advisor import Advisor
from apportion.solvers.cluster.exact import CpSatSearch, MipSearch, StageSearch
from apportion.solvers.cluster.patterns import Stage
from apportion.solvers.cluster.plain import require_plain
from apportion.solvers.cluster.ruled import place_exactly_with_rules, place_greedy_with_rules, place_with_rules
from apportion.solvers.cluster.search import Search, num_variables
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.result import Answer

_MOST_VARIABLES = 2_000_000


def place(
    instance: ClusterPlacement, options: SolveOptions, monitor: Monitor, advisor: Advisor | None = None
) -> Answer[Placement]:
    """Serve the most GPUs, then the most tasks, then use the fewest nodes; anytime, with proven bounds.

    Greedy kernels give a first plan; the relaxation over node patterns bounds what can be served and is rounded into
    a far better one; CP-SAT then works on the whole of a small instance or on windows of a large one. ``status`` and
    ``bounds`` speak of the served GPUs; ``extras`` has the plan's tasks and nodes with their own bounds. With rules
    beyond fitting, :func:`~apportion.solvers.cluster.ruled.place_with_rules` takes over.
    """
    if not instance.is_plain:
        return place_with_rules(instance, options, monitor, advisor)
    search = Search.begin(instance, options, monitor)
    search.greedy_starts()
    search.advised(advisor)
    if not search.settled(Stage.NODES):
        search.serve_most()
        search.place_most()
        search.use_fewest()
    return search.answer()


def place_best_fit(
    instance: ClusterPlacement, options: SolveOptions, monitor: Monitor, advisor: Advisor | None = None
) -> Answer[Placement]:
    """Greedy placement alone: the best of first, best and matched fit over two orders of the tasks."""
    if not instance.is_plain:
        return place_greedy_with_rules(instance, options, monitor, advisor)
    search = Search.begin(instance, options, monitor)
    search.greedy_starts()
    search.advised(advisor)
    return search.answer()


def place_cp_sat(
    instance: ClusterPlacement, options: SolveOptions, monitor: Monitor, advisor: Advisor | None = None
) -> Answer[Placement]:
    """Exact search with CP-SAT, stage by stage; for small clusters."""
    if not instance.is_plain:
        return place_exactly_with_rules(instance, options, monitor, advisor)
    return _exactly(instance, options, monitor, advisor, CpSatSearch)


def place_mip(
    instance: ClusterPlacement, options: SolveOptions, monitor: Monitor, advisor: Advisor | None = None
) -> Answer[Placement]:
    """Exact search over the array program with HiGHS (or ``options.backend``), stage by stage; for small clusters."""
    require_plain(instance, "mip")
    backend = options.backend or "highs"
    return _exactly(instance, options, monitor, advisor, lambda i, c: MipSearch(i, c, backend))


def _exactly(
    instance: ClusterPlacement,
    options: SolveOptions,
    monitor: Monitor,
    advisor: Advisor | None,
    make: Callable[[ClusterPlacement, Classes], StageSearch],
) -> Answer[Placement]:
    search = Search.begin(instance, options, monitor)
    variables = num_variables(search.classes)
    if variables > _MOST_VARIABLES:
        message = f"{instance.name} needs {variables} variables in an exact formulation, at most {_MOST_VARIABLES}"
        raise CapabilityError(f"{message}\nMaybe the default method, which works on patterns and windows")
    search.greedy_starts()
    search.advised(advisor)
    built = time.perf_counter()
    formulation = make(instance, search.classes)
    search.build_s += time.perf_counter() - built
    search.run_exact(formulation, options)
    return search.answer()
