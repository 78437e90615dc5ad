"""Sharing the GPUs of a fleet over time: policies, the priced method and its kernels."""
