"""Driving routes stop by stop, compiled."""
