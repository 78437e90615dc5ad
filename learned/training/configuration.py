"""Racing configurations on programs to learn which is fastest on which: few runs, and hopeless ones are cut short."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from apportion.instances.errors import Fault, InstanceError, OptionError
from apportion.instances.program import MixedIntegerProgram
from apportion.learned.configurations import CONFIGURATIONS, able, features_of
from apportion.learned.graphs import Floats
from apportion.learned.store import Card, Trained
from apportion.learned.training.collect import Progress
from apportion.solvers.options import SolveOptions
from apportion.solvers.solve import solve_instance
from apportion.solvers.status import Status

_CAP = 2.0
_LEAST_CAP_S = 1.0
_ROUNDS_BEFORE_DROPPING = 4
_HOPELESS = 1.5
_LIMITS = (
    "Advice on solver and settings for programs like {family}, of about these sizes. "
    "Times depend on the machine and on versions; the answers do not."
)


class Race:
    """Runs configurations on one program after another.

    A run is stopped at twice the best time so far on its program, and counts as that long. After four programs a
    configuration whose times are worse than the best one's by half, by more than twice the standard error of the
    logarithms, runs no more: it counts as its mean ratio to the best.

    Parameters
    ----------
    names
        Configurations; the first is the default.
    options
        Gap, seed and the time limit of a run.
    """

    def __init__(self, names: Sequence[str], options: SolveOptions) -> None:
        self.names, self._options = tuple(names), options
        self._rows: list[Floats] = []

    @property
    def seconds(self) -> Floats:
        """Shape (programs, configurations)."""
        return np.array(self._rows).reshape(len(self._rows), len(self.names))

    def add(self, row: Floats) -> None:
        """Take a row that was raced before."""
        self._rows.append(row)

    def run(self, program: MixedIntegerProgram) -> Floats:
        """Race on ``program``; the row of its CPU seconds."""
        ratios = self._dropped()
        runs, row, best = able(program), np.full(len(self.names), np.nan), np.inf
        order = np.argsort(np.exp(np.log(self.seconds).mean(0))) if self._rows else np.arange(len(self.names))
        for place in map(int, order):
            name = self.names[place]
            if name in runs and place not in ratios:
                row[place] = self._one(program, name, best)
                best = min(best, row[place])
        for place, ratio in ratios.items():
            row[place] = ratio * best
        row[np.isnan(row)] = _CAP * (best if np.isfinite(best) else self._options.time_limit_s)
        self.add(row)
        return row

    def _one(self, program: MixedIntegerProgram, name: str, best: float) -> float:
        cap = min(self._options.time_limit_s, max(_LEAST_CAP_S, _CAP * best))
        options = self._options.with_(time_limit_s=cap, **CONFIGURATIONS[name])
        begun = time.process_time()
        result = solve_instance(program, options)
        seconds = time.process_time() - begun
        return seconds if result.status is Status.OPTIMAL else max(seconds, _CAP * min(best, cap))

    def _dropped(self) -> dict[int, float]:
        """The configurations that run no more, and their ratio to the best."""
        if len(self._rows) < _ROUNDS_BEFORE_DROPPING:
            return {}
        logs = np.log(self.seconds)
        best = int(np.argmin(logs.mean(0)))
        behind = logs - logs[:, [best]]
        mean, error = behind.mean(0), behind.std(0, ddof=1) / np.sqrt(len(behind))
        hopeless = np.flatnonzero(mean - 2.0 * error > np.log(_HOPELESS))
        return {int(place): float(np.exp(mean[place])) for place in hopeless if place != 0}


def train_configuration(
    programs: Sequence[MixedIntegerProgram],
    family: str,
    command: str,
    folder: Path,
    options: SolveOptions,
    progress: Progress = lambda _: None,
) -> Trained:
    """Race all configurations on ``programs``; rows that ``folder`` has are not raced again.

    Raises
    ------
    OptionError
        Without programs.
    InstanceError
        When a row in ``folder`` is damaged.
    """
    if not programs:
        raise OptionError("there is no program to race on")
    race = Race(tuple(CONFIGURATIONS), options)
    folder.mkdir(parents=True, exist_ok=True)
    for program in programs:
        path = folder / f"{program.name}.race.json"
        if path.exists():
            race.add(_row(path, len(race.names)))
            continue
        row = race.run(program)
        path.write_text(json.dumps(row.tolist()), encoding="utf-8")
        best = race.names[int(np.argmin(row))]
        progress(f"{program.name}: {best} {row.min():.1f} CPU s, default {row[0]:.1f}")
    seconds = race.seconds
    means = np.exp(np.log(np.maximum(seconds, 1e-3)).mean(0))
    card = Card(
        advisor="configuration",
        family=family,
        command=command,
        data={"programs": len(programs), "CPU seconds of the races": float(seconds.sum())},
        metrics={f"geometric mean, {name}": float(mean) for name, mean in zip(race.names, means, strict=True)},
        settings={"configurations": list(race.names)},
        limits=_LIMITS.format(family=family),
    )
    return Trained(card, {"features": np.array([features_of(program) for program in programs]), "seconds": seconds})


def _row(path: Path, size: int) -> Floats:
    try:
        row = np.array(json.loads(path.read_text(encoding="utf-8")), np.float64)
    except (OSError, ValueError) as error:
        raise InstanceError(str(path), [Fault("file", f"is no raced row: {error}\nMaybe remove it")]) from error
    if row.shape != (size,) or not np.isfinite(row).all():
        raise InstanceError(str(path), [Fault("row", f"does not hold {size} numbers\nMaybe remove the file")])
    return row
