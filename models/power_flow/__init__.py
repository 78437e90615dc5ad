"""Optimal power flow: the physics, the relaxations, the check."""
