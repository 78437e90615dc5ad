"""Slurm: read ``squeue --json`` and ``sinfo --json``, place held jobs with ``scontrol``."""

from __future__ import annotations

from apportion.scheduling.slurm.adapter import SlurmAdapter

__all__ = ["SlurmAdapter"]
