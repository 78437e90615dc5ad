"""Prices and uplift of a solved unit commitment."""
