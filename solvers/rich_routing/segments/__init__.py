"""Segments of routes, joined in constant time."""
