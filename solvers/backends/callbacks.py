"""Call Python from a solver's own loop without letting an exception cross its frames."""

from __future__ import annotations

from collections.abc import Callable


class Guard:
    """Runs callbacks, keeps the first exception and raises it again once the solver has returned.

    An exception that crosses the C++ frames of a solver ends the process or is lost. A callback that failed asks the
    solver to stop through :attr:`failed`.
    """

    def __init__(self) -> None:
        self._error: BaseException | None = None

    @property
    def failed(self) -> bool:
        """Whether a callback raised."""
        return self._error is not None

    def run(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` unless one has failed before."""
        if self._error is not None:
            return
        try:
            callback()
        except BaseException as error:  # noqa: BLE001 raised again by raise_if_failed, also KeyboardInterrupt
            self._error = self._error or error

    def raise_if_failed(self) -> None:
        """Raise what a callback raised."""
        if self._error is not None:
            raise self._error
