"""Collecting what solves teach, and training nets on it with torch; only this package needs torch."""
