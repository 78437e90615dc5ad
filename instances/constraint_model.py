"""A constraint model that a user brings as a CP-SAT ``CpModel``, and its plan: a whole number for each variable."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from apportion.instances.core import Json, Sense
from apportion.instances.errors import Fault, PlanError


def has_field(message: Any, name: str) -> bool:
    """Whether a message has a field, asked without touching it: OR-Tools makes a field that is only looked at.

    Understands OR-Tools' own bindings and the protocol buffers of Google alike.
    """
    own = getattr(message, f"has_{name}", None)
    return bool(own() if own is not None else message.HasField(name))


@dataclass(frozen=True, eq=False)
class ConstraintModel:
    """A ``CpModel`` under a name. ``model`` is read and never changed."""

    problem: ClassVar[str] = "constraint-model"
    model: Any = field(repr=False)
    given_name: str = ""

    @property
    def proto(self) -> Any:
        """The ``CpModelProto`` within."""
        return self.model.Proto()

    @property
    def name(self) -> str:
        """The model's own name when none was given."""
        return self.given_name or self.proto.name or "model"

    @property
    def sense(self) -> Sense:
        """Which way its objective goes; without one, minimise."""
        proto = self.proto
        upwards = False
        if has_field(proto, "floating_point_objective"):
            upwards = proto.floating_point_objective.maximize
        elif has_field(proto, "objective"):
            upwards = proto.objective.scaling_factor < 0
        return Sense.MAXIMISE if upwards else Sense.MINIMISE


@dataclass(frozen=True)
class WholeNumbers:
    """The plan of a constraint model: the value of each variable, in the order of the model."""

    problem: ClassVar[str] = "constraint-model"
    values: tuple[int, ...]

    def to_dict(self) -> Json:
        """JSON-ready data."""
        return {"values": list(self.values)}

    @classmethod
    def from_dict(cls, data: Json) -> Self:
        """Rebuild from :meth:`to_dict`."""
        values = data.get("values")
        if not isinstance(values, list) or not all(isinstance(v, int) and not isinstance(v, bool) for v in values):
            raise PlanError("plan", [Fault("values", "must be a list of whole numbers")])
        return cls(tuple(values))
