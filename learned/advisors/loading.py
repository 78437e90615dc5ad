"""From a file to the advisor that it holds."""

from __future__ import annotations

from pathlib import Path

from apportion.instances.errors import Fault, InstanceError
from apportion.learned.advisors.start import StartAdvisor
from apportion.learned.store import Trained
from apportion.solvers.advisor import Advisor

_ADVISORS = {"start": StartAdvisor.of}
METHODS = {"start": "advised"}
"""What the file advises on -> the method of programs that takes such advice."""


def load_advisor(path: Path | str) -> tuple[Advisor, str]:
    """The advisor in a file that ``apportion train`` wrote, and the method of programs to give it to.

    Raises
    ------
    InstanceError
        When the file is damaged, of another version, or advises on something unknown.
    """
    trained = Trained.load(path)
    kind = trained.card.advisor
    if kind not in _ADVISORS:
        raise InstanceError(str(path), [Fault("advisor", f"is {kind!r}\nMaybe one of {', '.join(_ADVISORS)}")])
    return _ADVISORS[kind](trained, str(path)), METHODS[kind]
