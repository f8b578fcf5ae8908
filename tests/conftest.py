"""Settings of hypothesis and of logs, for all tests."""

from __future__ import annotations

import structlog
from hypothesis import HealthCheck, settings

# Machines are shared: a slow example is no failure.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

# structlog's own way of printing an error shows all local variables, which takes seconds.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)
