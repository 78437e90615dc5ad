"""Training the net that says which binaries are 1."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from apportion.instances.errors import OptionError
from apportion.learned.calibration import Calibration, calibration_error, log_loss
from apportion.learned.graphs import Floats, ProgramGraph, graph_of_problem, root_point
from apportion.learned.memory import Memory
from apportion.learned.nets import Shape
from apportion.learned.store import Card, Trained
from apportion.learned.training.collect import Progress, Sample
from apportion.learned.training.nets import Batch, TorchNet
from apportion.solvers.heuristics.arrays import problem_of

_LEAST_SAMPLES = 4
_CANDIDATES = (0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999)
_LIMITS = (
    "Advice on which binaries are 1, for {what}. It may be wrong on a day unlike those it was trained on: the method "
    "that takes it proves its bound without it. It says nothing about general integers."
)


@dataclass(frozen=True)
class TrainSettings:
    """Sizes, steps and the seed of a training.

    ``validation`` is the share of the samples, the last ones, that is kept out of the gradient; training ends when the
    loss on them has not fallen for ``patience`` epochs. ``errors`` is how many wrong fixings per instance the
    confidence may allow on them in the mean.
    """

    width: int = 32
    attention: bool = False
    epochs: int = 200
    patience: int = 25
    rate: float = 2e-3
    batch: int = 4
    validation: float = 0.25
    errors: float = 0.5
    seed: int = 0


@dataclass(frozen=True, eq=False)
class _Example:
    graph: ProgramGraph
    binary: np.ndarray
    labels: Floats


def train_start(
    samples: Sequence[Sample],
    family: str,
    command: str,
    settings: TrainSettings | None = None,
    progress: Progress = lambda _: None,
) -> Trained:
    """Train on solved programs; those of one structure also become the memory of the advisor.

    Parameters
    ----------
    samples
        At least 4.
    family, command
        For the card.
    settings
        Sizes, steps, seed: the same give the same weights on the same machine.
    progress
        Hears a line every ten epochs.

    Raises
    ------
    OptionError
        With too few samples, or none with a binary.
    """
    settings = settings or TrainSettings()
    if len(samples) < _LEAST_SAMPLES:
        raise OptionError(f"{len(samples)} solved programs are too few to train on\nMaybe at least {_LEAST_SAMPLES}")
    held = max(1, round(settings.validation * len(samples)))
    memory = _memory(samples[:-held])
    examples = [
        _example(sample, memory, day if day < len(samples) - held else -1) for day, sample in enumerate(samples)
    ]
    if not any(example.binary.any() for example in examples):
        raise OptionError("no program has a binary column: there is nothing to predict")
    learned, unseen = examples[:-held], examples[-held:]
    torch.manual_seed(settings.seed)
    torch.set_num_threads(1)  # small graphs: threads cost more than they bring, and one repeats exactly
    net = TorchNet(Shape(width=settings.width, attention=settings.attention))
    net.scale_to([example.graph for example in learned])
    epochs = _descend(net, learned, unseen, settings, progress)
    logits = _logits(net, unseen)
    labels = np.concatenate([example.labels for example in unseen])
    calibration = Calibration.fitted(logits, labels)
    sizes = [len(example.labels) for example in unseen]
    confidence = _confidence(calibration.probabilities(logits), labels, len(unseen), settings.errors)
    arrays = net.exported() | (memory.arrays() if memory is not None else {})
    what = f"programs of the one structure of {family}" if memory is not None else f"programs like {family}"
    card = Card(
        advisor="start",
        family=family,
        command=command,
        data={
            "solved programs": len(samples),
            "of them unseen in training": len(unseen),
            "CPU seconds of the solves": float(sum(sample.seconds for sample in samples)),
            "binaries per program": float(np.mean(sizes)),
        },
        metrics=_metrics(calibration, logits, labels, confidence) | {"epochs": epochs},
        calibration=calibration.to_dict(),
        settings={"width": settings.width, "attention": settings.attention, "confidence": confidence},
        limits=_LIMITS.format(what=what),
    )
    return Trained(card, arrays)


def _memory(samples: Sequence[Sample]) -> Memory | None:
    """The memory of all samples when they share one structure."""
    first = Memory.of([samples[0].program], [samples[0].values])
    if not all(first.knows(sample.program) for sample in samples):
        return None
    return Memory.of([sample.program for sample in samples], [sample.values for sample in samples])


def _example(sample: Sample, memory: Memory | None, day: int) -> _Example:
    """What the net would have seen of ``sample`` without knowing its solution."""
    program, problem = sample.program, problem_of(sample.program)
    root = root_point(problem)
    if root is None:
        raise OptionError(f"{program.name!r} has no optimal relaxation: leave it out")
    usual = memory.usual(program, without=day) if memory is not None and memory.knows(program) else None
    binary = program.integer & (program.lower == 0.0) & (program.upper == 1.0)
    labels = np.rint(sample.values[binary])
    return _Example(graph_of_problem(problem, root, usual), binary, labels)


def _descend(
    net: TorchNet, learned: list[_Example], unseen: list[_Example], settings: TrainSettings, progress: Progress
) -> int:
    """Adam with early stopping; the best weights stay in ``net``. Returns the epochs that it took."""
    optimiser = torch.optim.Adam(net.parameters(), settings.rate)
    random = np.random.default_rng(settings.seed)
    best, since, kept = np.inf, 0, copy.deepcopy(net.state_dict())
    batches = _Batches(learned)
    epoch = 0
    for epoch in range(1, settings.epochs + 1):
        net.train()
        for chosen in np.array_split(random.permutation(len(learned)), max(1, len(learned) // settings.batch)):
            optimiser.zero_grad()
            loss = _loss(net, *batches.of(chosen.tolist()))
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        net.eval()
        now = log_loss(_sigmoid(_logits(net, unseen)), np.concatenate([example.labels for example in unseen]))
        if now < best - 1e-5:
            best, since, kept = now, 0, copy.deepcopy(net.state_dict())
        else:
            since += 1
        if epoch % 10 == 0:
            progress(f"epoch {epoch}: loss on unseen {now:.4f}, best {best:.4f}")
        if since >= settings.patience:
            break
    net.load_state_dict(kept)
    return epoch


class _Batches:
    """Batches of examples, with the labels of their binaries."""

    def __init__(self, examples: list[_Example]) -> None:
        self._examples = examples

    def of(self, chosen: list[int]) -> tuple[Batch, Tensor, Tensor]:
        examples = [self._examples[place] for place in chosen]
        binary = torch.from_numpy(np.concatenate([example.binary for example in examples]))
        labels = torch.from_numpy(np.concatenate([example.labels for example in examples]).astype(np.float32))
        return Batch([example.graph for example in examples]), binary, labels


def _loss(net: TorchNet, batch: Batch, binary: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.binary_cross_entropy_with_logits(net(batch)[binary], labels)


def _logits(net: TorchNet, examples: list[_Example]) -> Floats:
    with torch.no_grad():
        parts = [net(Batch([example.graph])).numpy()[example.binary] for example in examples]
    return np.concatenate(parts).astype(np.float64)


def _sigmoid(values: Floats) -> Floats:
    return Calibration().probabilities(values)


def _confidence(probabilities: Floats, labels: Floats, programs: int, errors: float) -> float:
    """The least confidence at which the mean number of wrong fixings per program is at most ``errors``."""
    wrong = (probabilities >= 0.5) != (labels >= 0.5)
    certain = np.maximum(probabilities, 1.0 - probabilities)
    for confidence in _CANDIDATES:
        if (wrong & (certain >= confidence)).sum() <= errors * programs:
            return confidence
    return _CANDIDATES[-1]


def _metrics(calibration: Calibration, logits: Floats, labels: Floats, confidence: float) -> dict[str, float]:
    probabilities = calibration.probabilities(logits)
    certain = np.maximum(probabilities, 1.0 - probabilities) >= confidence
    wrong = (probabilities >= 0.5) != (labels >= 0.5)
    return {
        "loss": log_loss(probabilities, labels),
        "loss before calibration": log_loss(_sigmoid(logits), labels),
        "accuracy": float(1.0 - wrong.mean()),
        "expected calibration error": calibration_error(probabilities, labels),
        "share that is fixed": float(certain.mean()),
        "share of the fixed that is wrong": float(wrong[certain].mean()) if certain.any() else 0.0,
    }
