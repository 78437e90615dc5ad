"""A silent HiGHS that takes rows and columns one after another and keeps its basis."""

from __future__ import annotations

from math import isfinite
from typing import Any

import highspy

from apportion.instances.errors import BackendError


def quiet_lp() -> Any:
    """An empty LP for the serial simplex method that prints nothing, not even the banner of the wrapper class.

    It leaves the number of threads alone: the first run in a thread fixes that for all others there, and the serial
    simplex method needs none.
    """
    lp = highspy._core._Highs()
    must(lp.setOptionValue("output_flag", False))
    must(lp.setOptionValue("presolve", "off"))
    must(lp.setOptionValue("solver", "simplex"))
    must(lp.setOptionValue("parallel", "off"))
    return lp


def solved(lp: Any, seconds: float) -> bool:
    """Solve from the last basis; False when the time was too short or HiGHS found no optimum."""
    # a warm simplex run counts its limit from the first run of the object
    limit = lp.getRunTime() + max(0.0, seconds) if isfinite(seconds) else highspy.kHighsInf
    must(lp.setOptionValue("time_limit", limit))
    lp.run()
    return bool(lp.getModelStatus() == highspy.HighsModelStatus.kOptimal)


def must(status: highspy.HighsStatus) -> None:
    """Raise when HiGHS refused a step."""
    if status == highspy.HighsStatus.kError:
        raise BackendError("HiGHS refuses a step of a linear program\nMaybe a cost or a limit is not a number")
