"""The policies of the simulator and of the live plugins, by name."""

from __future__ import annotations

from apportion.scheduling.policies.registry import SCHEDULERS, scheduler_named

__all__ = ["SCHEDULERS", "scheduler_named"]
