"""Generated programs: seeded, feasible, and what their kind says."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apportion.instances.core import Sense
from apportion.instances.errors import OptionError
from apportion.instances.formats import mps
from apportion.instances.generate import generate
from apportion.instances.generate.program import KINDS, generate_program
from apportion.instances.program import MixedIntegerProgram
from apportion.instances.reading import read
from apportion.solvers.backends import backend_named
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.status import Status


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_bytes(kind: str) -> None:
    assert mps.render(generate_program(4, kind)) == mps.render(generate_program(4, kind))
    assert mps.render(generate_program(4, kind)) != mps.render(generate_program(5, kind))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_always_feasible_also_at_odd_sizes(kind: str, seed: int) -> None:
    sizes = dict.fromkeys(KINDS[kind][1], 1 + seed * 2)
    program = generate_program(seed, kind, **sizes)
    monitor = Monitor(sense=program.sense, time_limit_s=30)
    assert backend_named("highs").run(program, SolveOptions(threads=1), monitor).status is Status.OPTIMAL


def test_shapes_and_senses() -> None:
    assert generate_program(0, "knapsack", items=7, resources=2).sense is Sense.MAXIMISE
    facility = generate_program(0, "facility", sites=3, clients=4)
    assert (facility.num_columns, facility.num_rows) == (3 + 12, 4 + 3 + 12)
    assert facility.integer.sum() == 3
    cover = generate_program(0, elements=9, sets=6)
    assert (cover.num_rows, cover.num_columns) == (9, 6)
    assert cover.row_name(8) == "cover[8]"
    instance = generate("mixed-integer-program", seed=2, kind="assignment", jobs=3)
    assert isinstance(instance, MixedIntegerProgram)
    assert instance.name == "assignment-5-3-s2"


@pytest.mark.parametrize(
    ("wrong", "word"),
    [({"kind": "tsp"}, "set-cover"), ({"items": 3}, "elements"), ({"sets": 0}, "at least 1"), ({"sets": 1.5}, "1.5")],
)
def test_wrong_sizes_are_option_errors(wrong: dict[str, Any], word: str) -> None:
    with pytest.raises(OptionError, match=word):
        generate_program(0, **wrong)


def test_the_shipped_set_cover_is_the_generated_one() -> None:
    path = Path(str(files("apportion.instances") / "data" / "setcover_small.mps"))
    shipped = read(path)
    assert isinstance(shipped, MixedIntegerProgram)
    assert path.stat().st_size < 100_000
    made = generate_program(3)
    np.testing.assert_array_equal(shipped.matrix.values, made.matrix.values)
    np.testing.assert_array_equal(shipped.cost, made.cost)
    assert shipped.column_names == made.column_names
