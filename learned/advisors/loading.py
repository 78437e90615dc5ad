"""From a file to the advisor that it holds."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from apportion.instances.errors import Fault, InstanceError, OptionError
from apportion.learned.advisors.configuration import ConfigurationAdvisor
from apportion.learned.advisors.start import StartAdvisor
from apportion.learned.store import Trained
from apportion.solvers.advisor import Advisor

_ADVISORS: dict[str, Callable[[Trained, str], Advisor]] = {
    "start": StartAdvisor.of,
    "configuration": ConfigurationAdvisor.of,
}
METHODS = {"start": "advised", "configuration": "advised"}
"""What the file advises on -> the method of programs that takes such advice."""


def shipped(name: str) -> Path:
    """The file of weights that come with the package.

    Raises
    ------
    OptionError
        When there is none of that name.
    """
    folder = Path(str(files("apportion.learned"))) / "weights"
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        known = sorted(file.stem for file in folder.glob("*.safetensors"))
        raise OptionError(f"no weights are called {name!r}\nMaybe one of {', '.join(known)}")
    return path


def load_advisor(path: Path | str) -> tuple[Advisor, str]:
    """The advisor in a file that ``apportion train`` wrote, and the method of programs to give it to.

    A name alone, such as ``facility-day``, means weights that come with the package.

    Raises
    ------
    InstanceError
        When the file is damaged, of another version, or advises on something unknown.
    OptionError
        When no weights of that name come with the package.
    """
    if not Path(path).suffix and not Path(path).exists():
        path = shipped(str(path))
    trained = Trained.load(path)
    kind = trained.card.advisor
    if kind not in _ADVISORS:
        raise InstanceError(str(path), [Fault("advisor", f"is {kind!r}\nMaybe one of {', '.join(_ADVISORS)}")])
    return _ADVISORS[kind](trained, str(path)), METHODS[kind]
