"""Fixtures of the fault tests."""

from __future__ import annotations

import pytest

from chaos.target import Target
from support.surroundings import variable


@pytest.fixture
def target() -> Target:
    """The stack under test."""
    variable("MEDIA_URL")
    return Target.from_environment()
