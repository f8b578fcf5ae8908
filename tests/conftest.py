"""Settings of hypothesis and of logs, for all tests, and how they end."""

from __future__ import annotations

import structlog
from hypothesis import HealthCheck, settings

from support.stopping import (
    pytest_configure,
    pytest_fixture_setup,
    pytest_runtest_call,
    pytest_runtest_setup,
    pytest_runtest_teardown,
)
from support.tiers import FULL

__all__ = [
    "pytest_configure",
    "pytest_fixture_setup",
    "pytest_runtest_call",
    "pytest_runtest_setup",
    "pytest_runtest_teardown",
]

# Machines are shared: a slow example is no failure. By default the examples are the same each
# time, so that a test turns red by a change alone; the long form looks for others.
settings.register_profile(
    "shared",
    deadline=None,
    derandomize=not FULL,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("shared")

# structlog's own way of printing an error shows all local variables, which takes seconds.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)
