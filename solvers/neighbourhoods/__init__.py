"""Large-neighbourhood search around a solver: small programs near the incumbent, solved while the exact run pauses."""
