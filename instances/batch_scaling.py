"""Jobs that change their batch size while they train, as the traces of Shockwave describe them.

Two rules are known: ``accordion`` (Agarwal et al., MLSys 2021) trains with small batches while gradients change fast
and with the largest otherwise; ``gns`` (gradient noise scale, McCandlish et al., 2018) doubles the batch at epochs that
were measured. The tables are facts of the traces: after which epochs which model doubles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from types import MappingProxyType

DATASET_SIZE: Mapping[str, int] = MappingProxyType(
    {
        "ResNet-18": 50_000,
        "ResNet-50": 100_000,
        "Transformer": 10_000,
        "LM": 59_675,
        "Recommendation": 117_907,
        "CycleGAN": 6_287,
        "A3C": 4,
    }
)
"""Samples of one epoch."""

MODES = ("static", "accordion", "gns")

LARGEST_BATCH: Mapping[str, int] = MappingProxyType(
    {"LM": 80, "ResNet-18": 256, "ResNet-50": 128, "Transformer": 128, "Recommendation": 8192}
)
SMALLEST_BATCH: Mapping[str, int] = MappingProxyType(
    {"LM": 5, "ResNet-18": 16, "ResNet-50": 16, "Transformer": 16, "Recommendation": 512}
)

_ACCORDION_MODELS = ("LM", "ResNet-18", "ResNet-50", "Recommendation")

_DOUBLES_AT: Mapping[tuple[str, int, int], tuple[int, ...]] = MappingProxyType(
    {
        ("ResNet-18", 16, 1): (31, 41, 51, 71),
        ("ResNet-18", 32, 1): (21, 31, 51),
        ("ResNet-18", 64, 1): (11, 31),
        ("ResNet-18", 128, 1): (11,),
        ("ResNet-18", 16, 2): (21, 31, 91, 111),
        ("ResNet-18", 32, 2): (11, 21, 41),
        ("ResNet-18", 64, 2): (21, 41),
        ("ResNet-18", 128, 2): (41,),
        ("ResNet-18", 16, 4): (11, 21, 81, 91),
        ("ResNet-18", 32, 4): (21, 31, 61),
        ("ResNet-18", 64, 4): (11, 61),
        ("ResNet-18", 128, 4): (11,),
        ("ResNet-50", 64, 1): (101,),
        ("ResNet-50", 32, 2): (101, 111),
        ("ResNet-50", 64, 2): (81,),
        ("ResNet-50", 32, 4): (131, 221),
        ("ResNet-50", 64, 4): (191,),
        ("LM", 5, 1): (31, 41, 61, 71),
        ("LM", 10, 1): (11, 21, 41),
        ("LM", 20, 1): (11, 41),
        ("LM", 40, 1): (11,),
        ("LM", 5, 2): (31, 51, 61, 71),
        ("LM", 10, 2): (11, 31, 41),
        ("LM", 20, 2): (31, 41),
        ("LM", 40, 2): (11,),
        ("LM", 5, 4): (11, 31, 71, 91),
        ("LM", 10, 4): (11, 31, 61),
        ("LM", 20, 4): (11, 61),
        ("LM", 40, 4): (61,),
        ("Recommendation", 512, 1): (21, 41, 71, 91),
        ("Recommendation", 1024, 1): (21, 51, 91),
        ("Recommendation", 2048, 1): (21, 41),
        ("Recommendation", 4096, 1): (41,),
    }
)
"""(model, first batch size, GPUs) -> the epochs from which the batch is doubled once more."""


@dataclass(frozen=True)
class ScalingJob:
    """How one job changes its batch size.

    ``rates`` are the steps a second by batch size, one for each GPU type of the trace.
    """

    model: str
    batch_size: int
    mode: str
    num_gpus: int
    rates: Mapping[int, tuple[float, ...]]

    def onto(self, types: tuple[str, ...], wanted: tuple[str, ...]) -> ScalingJob:
        """The same with rates in another order of types."""
        places = [types.index(name) if name in types else -1 for name in wanted]
        rates = {b: tuple(0.0 if p < 0 else r[p] for p in places) for b, r in self.rates.items()}
        return ScalingJob(self.model, self.batch_size, self.mode, self.num_gpus, MappingProxyType(rates))

    def steps_per_epoch(self, batch_size: int) -> int:
        """Steps of one epoch."""
        return ceil(DATASET_SIZE[self.model] / batch_size)

    def epochs(self, steps: float, batch_size: int) -> int:
        """How many epochs that many steps have begun."""
        return ceil(steps / self.steps_per_epoch(batch_size))

    def expected_batches(self, num_epochs: int) -> list[int]:
        """The batch size of every epoch, as it is declared when the job arrives."""
        if self.mode == "accordion":
            return self._accordion_batches(num_epochs)
        if self.mode == "gns":
            return gns_batches(self.model, self.batch_size, self.num_gpus, num_epochs)
        return [self.batch_size] * num_epochs

    def alone_s(self, steps: float) -> float:
        """How long the job is expected to take alone on its fastest type."""
        size = DATASET_SIZE[self.model]
        batches = self.expected_batches(self.epochs(steps, self.batch_size))
        return sum(size / batch / max(self.rates[batch]) for batch in batches)

    def _accordion_batches(self, num_epochs: int) -> list[int]:
        if self.model not in _ACCORDION_MODELS:
            return [self.batch_size] * num_epochs
        largest = LARGEST_BATCH[self.model]
        late = (e > num_epochs * 0.3 and not self._expected_critical(e) for e in range(num_epochs))
        return [largest if is_late else self.batch_size for is_late in late]

    def _expected_critical(self, epoch: int) -> bool:
        if self.model == "Recommendation":
            return epoch < self._warm_up() or 60 <= epoch < 70 or 80 <= epoch < 90
        return self.critical(epoch)

    def critical(self, epoch: int) -> bool:
        """Whether accordion keeps the first batch size in this epoch."""
        if self.model == "ResNet-18":
            return epoch < (20 if self.batch_size == 256 else 10) or 150 <= epoch < 160 or 250 <= epoch < 260
        if self.model == "ResNet-50":
            return epoch % 30 < 10
        return epoch < self._warm_up()

    def _warm_up(self) -> int:
        if self.model != "Recommendation":
            return 10
        return {512: 30, 1024: 30, 2048: 40}.get(self.batch_size, 10)

    def wish(self, batch_size: int, steps_done: float) -> int:
        """The batch size that the rule asks for after ``steps_done`` steps of the present one; the present for none."""
        if self.model not in LARGEST_BATCH:
            return batch_size
        epoch = self.epochs(steps_done, batch_size)
        if self.mode == "gns":
            return self._gns_wish(batch_size, epoch)
        if self.mode == "accordion" and self.model in _ACCORDION_MODELS:
            return self._accordion_wish(batch_size, epoch)
        return batch_size

    def _gns_wish(self, batch_size: int, epoch: int) -> int:
        batches = gns_batches(self.model, self.batch_size, self.num_gpus, max(760, epoch + 2))
        larger = batches[epoch + 1] > batch_size or batches[epoch] > batch_size
        return 2 * batch_size if larger and batch_size != LARGEST_BATCH[self.model] else batch_size

    def _accordion_wish(self, batch_size: int, epoch: int) -> int:
        critical = self.critical(epoch)
        if batch_size == self.batch_size and not critical and batch_size != LARGEST_BATCH[self.model]:
            return LARGEST_BATCH[self.model]
        if batch_size != self.batch_size and critical and batch_size != SMALLEST_BATCH[self.model]:
            return self.batch_size
        return batch_size

    def rescaled(self, total: float, done: float, old: int, new: int) -> tuple[float, float]:
        """Total and finished steps after a change of batch size that keeps the epochs."""
        epochs = self.epochs(total, old)
        shrunk = ceil(total * (1.0 / (new / old)))
        if self.epochs(shrunk, new) != epochs:
            shrunk = self.steps_per_epoch(new) * epochs
        return float(shrunk), float(self.epochs(done, old) * self.steps_per_epoch(new))


def gns_batches(model: str, batch_size: int, num_gpus: int, num_epochs: int) -> list[int]:
    """The batch size of every epoch under the gradient noise scale.

    >>> gns_batches("LM", 40, 1, 14)[9:]
    [40, 40, 80, 80, 80]
    """
    batches = [batch_size] * num_epochs
    starts = _DOUBLES_AT.get((model, batch_size, num_gpus), ())
    if not starts or num_epochs <= starts[0]:
        return batches
    # the first stage reaches the last epoch; the later ones stop before it, as in the published profiles
    for stage, start in enumerate(starts):
        last = starts[stage + 1] if stage + 1 < len(starts) else num_epochs
        stop = min(last, num_epochs if stage == 0 else num_epochs - 1)
        for epoch in range(start, stop):
            batches[epoch] = min(batch_size * 2 ** (stage + 1), LARGEST_BATCH[model])
    return batches
