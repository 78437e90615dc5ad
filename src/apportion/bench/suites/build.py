"""Building a model and handing it to HiGHS, no solve: a transport LP of ``m`` plants and ``n`` shops.

Minimise the cost of shipping from plants (``sum_j x[i,j] <= supply[i]``) to shops (``sum_i x[i,j] >= demand[j]``):
``m * n`` variables and twice as many nonzeros. Each ``transport_*`` function builds the same program with one
library, passes it to HiGHS and returns the HiGHS object, which the tests compare entry by entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from math import nan
from typing import Any

import highspy
import numpy as np

from apportion.bench.registry import Context, Measurement, Target, spec
from apportion.bench.runner import alternate, median_and_spread
from apportion.instances.program import Floats
from apportion.models.algebra import Model
from apportion.solvers.backends.highs import pass_model, quiet_solver

_REPEATS = 5
_METRIC = "build + hand over, cpu s"
_IMPORT_METRIC = "read a Pyomo model + hand over, cpu s"


@dataclass(frozen=True)
class Transport:
    """The data: ``cost`` of shape (m, n), ``supply`` (m,), ``demand`` (n,)."""

    cost: Floats
    supply: Floats
    demand: Floats

    @classmethod
    def generate(cls, plants: int, shops: int, seed: int) -> Transport:
        """Random costs and demands; supply a quarter above demand."""
        rng = np.random.default_rng(seed)
        demand = rng.uniform(1.0, 10.0, shops)
        supply = np.full(plants, 1.25 * demand.sum() / plants)
        return cls(rng.uniform(1.0, 100.0, (plants, shops)), supply, demand)


def transport_ours(data: Transport) -> Any:
    """Our array layer and our HiGHS backend's way in."""
    model = Model("transport")
    ship = model.add_variables("ship", data.cost.shape)
    model.add_constraints("supply", ship.sum(axis=1) <= data.supply)
    model.add_constraints("demand", ship.sum(axis=0) >= data.demand)
    model.minimise((data.cost * ship).sum())
    return _handed_over(model)


def transport_raw(data: Transport) -> Any:
    """Arrays written by hand for ``passModel``: the floor."""
    plants, shops = data.cost.shape
    size = plants * shops
    starts = np.arange(0, 2 * size + 1, 2, dtype=np.int32)
    rows = np.empty((plants, shops, 2), np.int32)
    rows[:, :, 0] = np.arange(plants, dtype=np.int32)[:, None]
    rows[:, :, 1] = np.arange(plants, plants + shops, dtype=np.int32)
    infinite = highspy.kHighsInf
    solver = quiet_solver()
    solver.passModel(
        size,
        plants + shops,
        2 * size,
        int(highspy.MatrixFormat.kColwise),
        int(highspy.ObjSense.kMinimize),
        0.0,
        data.cost.ravel(),
        np.zeros(size),
        np.full(size, infinite),
        np.concatenate((np.full(plants, -infinite), data.demand)),
        np.concatenate((data.supply, np.full(shops, infinite))),
        starts,
        rows.ravel(),
        np.ones(2 * size),
        np.zeros(size, np.int32),
    )
    return solver


def pyomo_model(data: Transport) -> Any:
    """The model as one writes it in Pyomo."""
    import pyomo.environ as pyo

    plants, shops = data.cost.shape
    cost, supply, demand = data.cost.tolist(), data.supply.tolist(), data.demand.tolist()
    model: Any = pyo.ConcreteModel()
    model.plants, model.shops = pyo.RangeSet(0, plants - 1), pyo.RangeSet(0, shops - 1)
    model.ship = pyo.Var(model.plants, model.shops, domain=pyo.NonNegativeReals)
    model.supply = pyo.Constraint(
        model.plants, rule=lambda m, i: pyo.quicksum(m.ship[i, j] for j in m.shops) <= supply[i]
    )
    model.demand = pyo.Constraint(
        model.shops, rule=lambda m, j: pyo.quicksum(m.ship[i, j] for i in m.plants) >= demand[j]
    )
    model.cost = pyo.Objective(
        expr=pyo.quicksum(cost[i][j] * model.ship[i, j] for i in range(plants) for j in range(shops))
    )
    return model


def pyomo_hands_over(model: Any) -> Any:
    """Pyomo's own interface to HiGHS (``pyomo.contrib.solver``)."""
    from pyomo.contrib.solver.solvers.highs import Highs

    interface = Highs()
    interface.set_instance(model)
    return interface._solver_model


def ours_reads_pyomo(model: Any) -> Any:
    """Our way in for the same Pyomo model."""
    return _handed_over(Model.from_pyomo(model))


def transport_pyomo(data: Transport) -> Any:
    """Pyomo from data to HiGHS."""
    return pyomo_hands_over(pyomo_model(data))


def transport_linopy(data: Transport) -> Any:
    """Linopy with its direct way to HiGHS, without names, which is its fastest."""
    import linopy
    import pandas as pd  # type: ignore[import-untyped]
    import xarray as xr
    from linopy.io import to_highspy

    plants, shops = (pd.RangeIndex(n, name=name) for n, name in zip(data.cost.shape, ("plant", "shop"), strict=True))
    cost = xr.DataArray(data.cost, coords=[plants, shops])
    model = linopy.Model()
    ship = model.add_variables(lower=0, coords=[plants, shops], name="ship")
    model.add_constraints(ship.sum("shop") <= xr.DataArray(data.supply, coords=[plants]), name="supply")
    model.add_constraints(ship.sum("plant") >= xr.DataArray(data.demand, coords=[shops]), name="demand")
    model.add_objective((cost * ship).sum())
    return to_highspy(model, set_names=False)


def _handed_over(model: Model) -> Any:
    solver = quiet_solver()
    pass_model(solver, model.compile())
    return solver


@dataclass(frozen=True)
class _Peer:
    name: str
    package: str
    build: Callable[[Transport], Any]
    target: Target


_PEERS = (
    _Peer("highspy arrays", "highspy", transport_raw, Target("ratio", "<=", 3.0)),
    _Peer("pyomo", "pyomo", transport_pyomo, Target("ratio", "<=", 0.1)),
    _Peer("linopy", "linopy", transport_linopy, Target("ratio", "<=", 0.5)),
)


def _transport(plants: int, shops: int, context: Context) -> Iterator[Measurement]:
    """Ours beside every peer, one after another in each round."""
    data = Transport.generate(plants, shops, seed=1)
    wanted = [peer for peer in _PEERS if context.wants(peer.name) or context.wants(peer.package)]
    present = [peer for peer in wanted if find_spec(peer.package)]
    runs: dict[str, Callable[[], object]] = {"ours": partial(transport_ours, data)}
    runs.update({peer.name: partial(peer.build, data) for peer in present})
    seconds = alternate(runs, _REPEATS)
    ours, spread = median_and_spread(seconds["ours"])
    case = f"transport {plants}x{shops}"
    for peer in wanted:
        row = partial(Measurement, case, _METRIC, ours, peer_name=peer.name, target=peer.target, seeds=(1,))
        if peer in present:
            theirs = median_and_spread(seconds[peer.name])[0]
            yield row(theirs, cpu_s=sum(seconds["ours"] + seconds[peer.name]), spread=spread)
        else:
            yield row(cpu_s=sum(seconds["ours"]), spread=spread, note=f"{peer.package} is not installed")


def _from_pyomo(plants: int, shops: int, context: Context) -> Iterator[Measurement]:
    """A Pyomo model that is there already, read by us and by Pyomo's interface."""
    if not context.wants("pyomo"):
        return
    case, target = f"from_pyomo {plants}x{shops}", Target("ratio", "<=", 1.0)
    if not find_spec("pyomo"):
        yield Measurement(case, _IMPORT_METRIC, nan, peer_name="pyomo", target=target, note="pyomo is not installed")
        return
    model = pyomo_model(Transport.generate(plants, shops, seed=1))
    runs = {"ours": partial(ours_reads_pyomo, model), "pyomo": partial(pyomo_hands_over, model)}
    seconds = alternate(runs, _REPEATS)
    (ours, spread), (theirs, _) = median_and_spread(seconds["ours"]), median_and_spread(seconds["pyomo"])
    cpu_s = sum(seconds["ours"] + seconds["pyomo"])
    yield Measurement(case, _IMPORT_METRIC, ours, theirs, "pyomo", target, (1,), cpu_s, spread)


_SMALL, _LARGE = (60, 300), (200, 1000)


@spec("build", "transport")
def transport(context: Context) -> Iterator[Measurement]:
    """The array layer beside raw arrays, Pyomo and linopy."""
    yield from _transport(*(_SMALL if context.quick else _LARGE), context)


@spec("build", "from_pyomo")
def from_pyomo(context: Context) -> Iterator[Measurement]:
    """Reading a Pyomo model beside Pyomo's own interface."""
    yield from _from_pyomo(*(_SMALL if context.quick else _LARGE), context)
