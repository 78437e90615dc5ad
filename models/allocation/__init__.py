"""Sharing the GPUs of a fleet over time: the formulations and the independent check."""
