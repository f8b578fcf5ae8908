"""Tests of mediactl look at stacks of their own, not at the one that they run beside."""

from __future__ import annotations

import os

import pytest

_OF_A_STACK = (
    *("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "MEDIACTL_HOME", "MEDIACTL_PROVIDER"),
    *("S3_ENDPOINT_URL", "S3_ACCESS_KEY", "S3_SECRET_KEY"),
    *("JWT_SECRET", "JWT_ISSUER", "JWT_AUDIENCE"),
)
_SUFFIXES = ("_DB_PASSWORD", "_S3_SECRET", "_METRICS_URL", "_SECONDS")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name in _OF_A_STACK or name.endswith(_SUFFIXES):
            monkeypatch.delenv(name)
