"""A silent HiGHS that takes rows and columns one after another and keeps its basis."""

from __future__ import annotations

import highspy

from apportion.instances.errors import BackendError


def quiet_lp() -> highspy.Highs:
    """An empty LP for the simplex method that prints nothing, not even the banner of the wrapper class."""
    lp = highspy._core._Highs()
    must(lp.setOptionValue("output_flag", False))
    must(lp.setOptionValue("presolve", "off"))
    must(lp.setOptionValue("solver", "simplex"))
    return lp


def must(status: highspy.HighsStatus) -> None:
    """Raise when HiGHS refused a step."""
    if status == highspy.HighsStatus.kError:
        raise BackendError("HiGHS refuses a step of a bound")
