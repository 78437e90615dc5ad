"""Solve the instances to learn from and keep what came out; what is on disk already is not solved again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from zipfile import BadZipFile

import numpy as np

from apportion.instances.errors import Fault, InstanceError
from apportion.instances.program import MixedIntegerProgram
from apportion.learned.graphs import Floats
from apportion.solvers.options import SolveOptions
from apportion.solvers.solve import solve_instance

Progress = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Sample:
    """A solved program: its best values (n,), what is proven, and the CPU seconds that it took."""

    program: MixedIntegerProgram
    values: Floats
    primal: float
    dual: float
    seconds: float

    def save(self, path: Path) -> None:
        """Write all but the program; whole or not at all."""
        figures = json.dumps({"primal": self.primal, "dual": self.dual, "seconds": self.seconds})
        with path.with_suffix(".partial").open("wb") as file:
            np.savez_compressed(file, values=self.values, figures=np.array(figures))
        path.with_suffix(".partial").replace(path)

    @classmethod
    def load(cls, program: MixedIntegerProgram, path: Path) -> Self:
        """Read what :meth:`save` wrote for ``program``.

        Raises
        ------
        InstanceError
            When the file is damaged or belongs to another program.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                values, figures = stored["values"], json.loads(str(stored["figures"]))
            sample = cls(program, values, *(float(figures[name]) for name in ("primal", "dual", "seconds")))
        except (OSError, ValueError, TypeError, KeyError, EOFError, BadZipFile) as error:
            raise InstanceError(str(path), [Fault("file", f"is no solved sample: {error}\nMaybe remove it")]) from error
        if values.shape != (program.num_columns,):
            fault = Fault("values", f"are {values.shape} for {program.num_columns} columns\nMaybe remove the file")
            raise InstanceError(str(path), [fault])
        return sample


def collect(
    programs: Iterable[MixedIntegerProgram], folder: Path, options: SolveOptions, progress: Progress = lambda _: None
) -> list[Sample]:
    """Solve each of ``programs`` by the default method; leave out those without a plan.

    Parameters
    ----------
    programs
        What to learn from; names must differ.
    folder
        Where each solution is kept under the name of its program.
    options
        Limits of each solve.
    progress
        Hears a line for each program.
    """
    folder.mkdir(parents=True, exist_ok=True)
    samples = []
    for program in programs:
        path = folder / f"{program.name}.npz"
        if path.exists():
            samples.append(Sample.load(program, path))
            continue
        begun = time.process_time()
        result = solve_instance(program, options)
        seconds = time.process_time() - begun
        if result.plan is None:
            progress(f"{program.name}: {result.status}, left out")
            continue
        values = result.plan.to_array(program)
        sample = Sample(program, values, result.bounds.primal, result.bounds.dual, seconds)
        sample.save(path)
        progress(f"{program.name}: {result.bounds.primal:.6g}, gap {result.bounds.gap:.2%}, {seconds:.1f} CPU s")
        samples.append(sample)
    return samples
