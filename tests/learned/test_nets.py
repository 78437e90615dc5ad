from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.errors import InstanceError, OptionError
from apportion.instances.generate.benchmark_programs import benchmark_program
from apportion.instances.program import MixedIntegerProgram
from apportion.learned.graphs import (
    COLUMN_FEATURES,
    ROW_FEATURES,
    ProgramGraph,
    Usual,
    graph_of_problem,
    program_graph,
    root_point,
)
from apportion.learned.kernels import attend, gather
from apportion.learned.nets import Net, Shape
from apportion.solvers.heuristics.arrays import problem_of
from contract.programs import CASES
from tiny_programs import make_program, tiny_programs

SHAPES = [Shape(width=16), Shape(width=16, attention=True)]


def graph_of(family: str = "set-cover", **sizes: float) -> ProgramGraph:
    program = benchmark_program(family, 1, **sizes)
    root = root_point(problem_of(program))
    assert root is not None
    return program_graph(program, root)


def weights_of(shape: Shape, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    made = {name: random.normal(size=size).astype(np.float32) / 4 for name, size in shape.weights().items()}
    return made | {name: np.abs(made[name]) + 0.5 for name in made if name.endswith(".scale")}


def slow_messages(
    starts: Any, others: Any, entries: Any, mine: Any, theirs: Any, weight: Any, query: Any
) -> np.ndarray:
    """The twin of both kernels, neighbour by neighbour."""
    heard = np.zeros(mine.shape)
    for i in range(len(mine)):
        near = range(starts[i], starts[i + 1])
        messages = [np.maximum(0.0, mine[i] + theirs[others[e]] + entries[e] * weight) for e in near]
        if messages:
            raised = [1.0 if query is None else np.exp(float(query @ message)) for message in messages]
            heard[i] = sum(r * m for r, m in zip(raised, messages, strict=True)) / sum(raised)
    return heard


@pytest.mark.kernels
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(0, 6), columns=st.integers(1, 5), width=st.integers(1, 4))
def test_messages_equal_their_twin(seed: int, rows: int, columns: int, width: int) -> None:
    random = np.random.default_rng(seed)
    degrees = random.integers(0, columns + 1, rows)
    starts = np.concatenate(([0], np.cumsum(degrees))).astype(np.int64)
    others = random.integers(0, columns, starts[-1]).astype(np.int64)

    def drawn(*size: int) -> np.ndarray:
        return random.normal(size=size).astype(np.float32)

    entries, mine, theirs = drawn(len(others)), drawn(rows, width), drawn(columns, width)
    weight, query, out = drawn(width), drawn(width), np.full((rows, width), np.nan, np.float32)
    gather(starts, others, entries, mine, theirs, weight, out)
    assert out == pytest.approx(slow_messages(starts, others, entries, mine, theirs, weight, None), abs=1e-5)
    attend(starts, others, entries, mine, theirs, weight, query, np.empty(len(others), np.float32), out)
    assert out == pytest.approx(slow_messages(starts, others, entries, mine, theirs, weight, query), abs=1e-5)


@pytest.mark.parametrize("shape", SHAPES, ids=["mean", "attention"])
@pytest.mark.parametrize("family", ["set-cover", "facility", "lot-sizing"])
def test_torch_computes_the_same(shape: Shape, family: str) -> None:
    torch = pytest.importorskip("torch", reason="training needs torch")
    from apportion.learned.training.nets import Batch, TorchNet

    sizes = {"set-cover": {"rows": 30, "columns": 60}, "facility": {"customers": 8, "facilities": 5}}
    graph = graph_of(family, **sizes.get(family, {}))
    torch.manual_seed(3)
    twin = TorchNet(shape)
    twin.scale_to([graph])
    with torch.no_grad():
        expected = twin(Batch([graph])).numpy()
        both = twin(Batch([graph, graph])).numpy()
    assert Net(shape, twin.exported()).logits(graph) == pytest.approx(expected, abs=1e-5)
    assert both == pytest.approx(np.concatenate((expected, expected)), abs=1e-5)


def test_columns_in_another_order_get_the_same_numbers() -> None:
    program = benchmark_program("set-cover", 2, rows=20, columns=30)
    order = np.random.default_rng(1).permutation(program.num_columns)
    problem, net = problem_of(program), Net(Shape(width=8), weights_of(Shape(width=8)))
    root = root_point(problem)
    assert root is not None
    plain = net.logits(graph_of_problem(problem, root))
    shuffled = problem_of(_shuffled(program, order))
    turned = type(root)(root.objective, root.values[order], root.reduced_costs[order], root.duals)
    assert net.logits(graph_of_problem(shuffled, turned)) == pytest.approx(plain[order], abs=1e-4)


def _shuffled(program: MixedIntegerProgram, order: np.ndarray) -> MixedIntegerProgram:
    from dataclasses import replace

    import scipy.sparse

    from apportion.instances.program import SparseColumns

    matrix = program.matrix
    columns = scipy.sparse.csc_array((matrix.values, matrix.rows, matrix.starts))[:, order]
    moved = {name: getattr(program, name)[order] for name in ("cost", "lower", "upper", "integer")}
    return replace(
        program,
        matrix=SparseColumns(columns.indptr.astype(np.int32), columns.indices.astype(np.int32), columns.data),
        **moved,
    )


@settings(max_examples=30, deadline=None)
@given(program=tiny_programs(integer=True))
def test_features_are_numbers(program: MixedIntegerProgram) -> None:
    problem = problem_of(program)
    root = root_point(problem)
    if root is None:
        return
    graph = graph_of_problem(problem, root)
    assert graph.columns.shape == (program.num_columns, len(COLUMN_FEATURES))
    assert graph.rows.shape == (program.num_rows, len(ROW_FEATURES))
    assert np.isfinite(graph.columns).all()
    assert np.isfinite(graph.rows).all()
    assert np.isfinite(Net(SHAPES[0], weights_of(SHAPES[0])).logits(graph)).all()


def test_what_is_remembered_is_a_feature() -> None:
    program = benchmark_program("set-cover", 1, rows=6, columns=9)
    root = root_point(problem_of(program))
    assert root is not None
    usual = Usual(np.linspace(0, 1, 9), np.ones(9), np.zeros(9))
    graph = program_graph(program, root, usual)
    assert graph.columns[:, COLUMN_FEATURES.index("usual value")] == pytest.approx(usual.mean)


def test_programs_beyond_the_graph_are_refused() -> None:
    case = next(case for case in CASES if case.build().hessian is not None)
    program = benchmark_program("set-cover", 1, rows=6, columns=9)
    root = root_point(problem_of(program))
    assert root is not None
    with pytest.raises(OptionError, match="has no graph"):
        program_graph(case.build(), root)


def test_no_root_without_an_optimum() -> None:
    impossible = make_program([[1.0]], [2.0], [np.inf], [1.0], [0.0], [1.0], integer=True)
    assert root_point(problem_of(impossible)) is None


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda w: w.pop("out.first.bias"), "out.first.bias"),
        (lambda w: w.update(extra=np.zeros(1, np.float32)), "extra"),
        (lambda w: w.update({"row.mean": np.zeros(3, np.float32)}), "row.mean"),
        (lambda w: w["out.second.weight"].fill(np.nan), "out.second.weight"),
        (lambda w: w["column.scale"].fill(0.0), "column.scale"),
    ],
    ids=["missing", "unknown", "shape", "no number", "scale"],
)
def test_weights_that_do_not_fit_are_refused_by_name(change: Any, place: str) -> None:
    weights = weights_of(Shape())
    change(weights)
    with pytest.raises(InstanceError, match=place):
        Net(Shape(), weights, "w.safetensors")


def test_another_number_of_features_is_refused() -> None:
    shape = Shape(columns=4)
    with pytest.raises(InstanceError, match="features"):
        Net(shape, weights_of(shape)).logits(graph_of(rows=6, columns=9))
