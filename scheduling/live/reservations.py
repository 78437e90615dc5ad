"""What has been sent and not been seen yet: held back from other jobs until it is confirmed or has expired."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from apportion.scheduling.live.adapter import Action, Verb
from apportion.scheduling.live.state import ClusterState, Job, Phase


@dataclass(frozen=True)
class Reservation:
    """A start or preemption under way; ``expires_s`` by the monotonic clock."""

    action: Action
    expires_s: float


@dataclass(eq=False)
class Reservations:
    """The actions that observations do not show yet, by job.

    Observations may come late, twice or in the wrong order: a job whose start is under way is never decided again
    before the cluster has confirmed it or the reservation has expired.
    """

    held: dict[str, Reservation] = field(default_factory=dict)

    def hold(self, action: Action, expires_s: float) -> None:
        """Remember an action that has been sent."""
        self.held[action.job] = Reservation(action, expires_s)

    def release(self, job: str) -> None:
        """Forget what was refused."""
        self.held.pop(job, None)

    def settle(self, state: ClusterState, now_s: float) -> list[Action]:
        """Drop what ``state`` confirms and what has expired; returns the expired actions."""
        expired = []
        for name, reservation in list(self.held.items()):
            action = reservation.action
            job = state.job.get(name)
            pending = Phase.WAITING if action.verb is Verb.START else Phase.RUNNING
            if job is None or job.generation != action.generation or job.phase is not pending:
                del self.held[name]
            elif reservation.expires_s <= now_s:
                del self.held[name]
                expired.append(action)
        return expired

    def apply(self, state: ClusterState) -> ClusterState:
        """The state as it is once everything under way has had its effect: started jobs hold their nodes."""
        if not self.held:
            return state
        return replace(state, jobs=tuple(self._applied(job) for job in state.jobs))

    def _applied(self, job: Job) -> Job:
        reservation = self.held.get(job.id)
        if reservation is None or reservation.action.verb is not Verb.START or job.phase is not Phase.WAITING:
            return job
        return replace(job, phase=Phase.STARTING, nodes=reservation.action.nodes, gpus=reservation.action.gpus)
