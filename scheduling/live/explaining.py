"""Which reasons are written to the cluster in a round: new ones first, none too often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from apportion.scheduling.live.adapter import Action, Verb
from apportion.scheduling.live.reasons import Decision
from apportion.scheduling.live.state import Job


class Explainer:
    """Spares the cluster: a reason is written when its code is new for a job, or after a while when its words are.

    Parameters
    ----------
    every_s
        How long a reason stays when only its words change.
    most
        How many are written a round.
    """

    def __init__(self, every_s: float, most: int) -> None:
        self._every_s, self._most = every_s, most
        self._written: dict[str, tuple[str, float]] = {}

    def actions(self, waits: Sequence[Decision], jobs: Mapping[str, Job], now_s: float) -> list[Action]:
        """The reasons to write now."""
        fresh: list[tuple[bool, Decision, str]] = []
        for decision in waits:
            job, text = jobs[decision.job], str(decision.reason)
            if job.note == text:
                continue
            written, at = self._written.get(decision.job, (job.note, -self._every_s + now_s))
            same_code = written.split(":")[0] == decision.reason.code
            if written == text or (same_code and now_s - at < self._every_s):
                continue
            fresh.append((same_code, decision, text))
        fresh.sort(key=lambda entry: entry[0])
        chosen = fresh[: self._most]
        for _, decision, text in chosen:
            self._written[decision.job] = text, now_s
        if len(self._written) > 2 * len(jobs) + self._most:
            self._written = {name: entry for name, entry in self._written.items() if name in jobs}
        return [Action(Verb.EXPLAIN, d.job, d.generation, text=text) for _, d, text in chosen]

    def forget(self, job: str) -> None:
        """Write its reason again."""
        self._written.pop(job, None)
