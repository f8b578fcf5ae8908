"""Settings of hypothesis for all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Machines are shared: a slow example is no failure.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")
