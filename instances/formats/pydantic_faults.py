"""What pydantic found wrong with a JSON file, as faults with a path and the value that is there."""

from __future__ import annotations

from typing import Any, Protocol

from apportion.instances.errors import Fault

_MOST_SHOWN = 50


class _Errors(Protocol):
    def errors(self, *, include_url: bool = ..., include_context: bool = ...) -> list[Any]: ...


def faults_of(error: _Errors) -> list[Fault]:
    """The faults of a ``pydantic.ValidationError``: the first fifty, then how many more there are.

    Examples
    --------
    >>> from pydantic import TypeAdapter, ValidationError
    >>> try:
    ...     _ = TypeAdapter(dict[str, list[int]]).validate_python({"tasks": [1, "x"]})
    ... except ValidationError as error:
    ...     print(faults_of(error)[0].place, faults_of(error)[0].value)
    tasks[1] x
    """
    found = error.errors(include_url=False, include_context=False)
    faults = [Fault(path_of(item["loc"]), item["msg"], _shown(item)) for item in found[:_MOST_SHOWN]]
    if len(found) > _MOST_SHOWN:
        faults.append(Fault("", f"and {len(found) - _MOST_SHOWN} more faults"))
    return faults


def path_of(location: tuple[int | str, ...]) -> str:
    """A place in a file as people write it.

    >>> path_of(("tasks", 3, "cpu_milli"))
    'tasks[3].cpu_milli'
    """
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def _shown(item: Any) -> object:
    return None if item["type"] in {"missing", "json_invalid"} else item["input"]
