"""
What a look may find wrong, as data: rules without input or output.

Invariant: the kinds are a closed set, since metrics, alert rules and runbooks are named after them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

THE_SYSTEM = UUID(int=0)
"""Stands for the company where something concerns all of them."""


class Kind(StrEnum):
    """What can be wrong."""

    BACKLOG = "backlog"
    FAILURES = "failures"
    QUOTA = "quota"
    OUTBOX = "outbox"
    LEASES = "leases"
    LAG = "lag"
    DEAD_LETTERS = "dead_letters"
    SPACE = "space"
    UNACCOUNTED = "unaccounted"
    KAFKA_AWAY = "kafka_away"
    STORAGE_AWAY = "storage_away"


class Severity(StrEnum):
    """How much it matters: ``page`` wakes people, ``ticket`` waits for the day, ``info`` tells."""

    INFO = "info"
    TICKET = "ticket"
    PAGE = "page"


@dataclass(frozen=True)
class Finding:
    """
    Something that is wrong now; ``summary`` is a sentence that names the number.

    ``lasts_seconds`` is for how long at least, where rows tell it.
    """

    kind: Kind
    severity: Severity
    summary: str
    company_id: UUID = THE_SYSTEM
    details: Mapping[str, Any] = field(default_factory=dict)
    lasts_seconds: float = 0


def quota_severity(used_bytes: int, quota_bytes: int, warn_ratio: float) -> Severity | None:
    """Return how much a company's use of its quota matters: at *warn_ratio*, 95 and 100 %."""
    used = used_bytes / quota_bytes if quota_bytes else float("inf")
    if used < warn_ratio:
        return None
    levels = ((1.0, Severity.PAGE), (0.95, Severity.TICKET))
    return next((severity for ratio, severity in levels if used >= ratio), Severity.INFO)


def too_many_failures(failed: int, ended: int, *, at_least: int, ratio: float) -> bool:
    """Return whether *failed* of *ended* attempts are an alert; few of them never are."""
    return failed >= at_least and failed >= ended * ratio
