"""After a crash: what became of the actions that were under way, told from the cluster itself."""

from __future__ import annotations

from apportion.scheduling.live.adapter import Action, Outcome, OutcomeStatus, Verb
from apportion.scheduling.live.journal import Journal
from apportion.scheduling.live.state import ClusterState, Phase


def recover(journal: Journal, state: ClusterState) -> list[str]:
    """Close the open entries of the journal; returns a line for each start or preemption among them."""
    entries = journal.open_entries()
    outcomes = [_found(entry.action, state) for entry in entries]
    journal.record([entry.number for entry in entries], outcomes)
    return [
        f"{outcome.action.key} was under way when the last scheduler ended: {outcome.text}"
        for outcome in outcomes
        if outcome.action.verb in (Verb.START, Verb.PREEMPT)
    ]


def _found(action: Action, state: ClusterState) -> Outcome:
    job = state.job.get(action.job)
    if job is None:
        return Outcome(action, OutcomeStatus.UNKNOWN, "the job is gone")
    moved = job.generation > action.generation
    if action.verb is Verb.START:
        done = moved or job.phase is not Phase.WAITING
        text = f"the job is {job.phase}" if done else "it had no effect, the job still waits"
    elif action.verb is Verb.PREEMPT:
        done = moved
        text = "the job is back in the queue" if done else "it had no effect, the job still runs"
    else:
        done, text = job.note == action.text, "found so" if job.note == action.text else "it had no effect"
    return Outcome(action, OutcomeStatus.DONE if done else OutcomeStatus.REFUSED, text)
