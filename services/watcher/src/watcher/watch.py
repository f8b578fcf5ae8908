"""
One round of looks: what is wrong now, in the log, as metrics, and as data.

Invariant: a look that fails, say while Kafka is away, hides nothing that others see, and what it
would have seen is as it was: nothing counts as cured because nobody could look.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog
from media_runtime.database.postgres import Database
from media_runtime.errors import TransientError
from media_runtime.kafka.producer import KafkaUnavailableError
from media_runtime.storage.store import ObjectStore
from watcher.cleanup.plan import CleanupCheck
from watcher.metrics import ALERTS, FINDINGS, LAST_ROUND, LOOKS_FAILED
from watcher.monitoring.backlog import BacklogCheck, OutcomesCheck
from watcher.monitoring.escalation import Escalation
from watcher.monitoring.findings import Finding, Kind, Severity
from watcher.monitoring.lag import KafkaCheck
from watcher.monitoring.queues import PressureCheck
from watcher.monitoring.quotas import QuotasCheck
from watcher.monitoring.storage_capacity import SpaceCheck, StorageAwayError
from watcher.monitoring.stored_bytes import StoredBytesCheck
from watcher.settings import WatchSettings

log = structlog.get_logger(__name__)

_AWAY = ((KafkaUnavailableError, Kind.KAFKA_AWAY), (StorageAwayError, Kind.STORAGE_AWAY))


class Check(Protocol):
    """One look at one thing."""

    @property
    def kinds(self) -> Collection[Kind]:
        """What it may find."""

    def __call__(self) -> Awaitable[Sequence[Finding]]:
        """Return what is wrong; any error means that it could not be seen."""


@dataclass(frozen=True)
class CheckResult:
    """What a round found wrong; *blind* is what could not be looked at."""

    findings: Sequence[Finding]
    blind: Collection[Kind] = frozenset()

    @property
    def alert(self) -> bool:
        """Whether anybody should act."""
        return bool(self.findings)


class Watch:
    """Looks at everything; the log and the metrics are told."""

    def __init__(self, *looks: Check, escalation: Escalation) -> None:
        self._looks = looks
        self._escalation = escalation

    @classmethod
    def all_checks(cls, database: Database, settings: WatchSettings) -> Watch:
        """Return a watch over rows, storage and Kafka."""
        return cls(
            BacklogCheck(database, settings),
            OutcomesCheck(database, settings),
            QuotasCheck(database, settings),
            PressureCheck(database, settings),
            CleanupCheck(database, settings),
            SpaceCheck(settings),
            StoredBytesCheck(database, ObjectStore(settings), settings),
            KafkaCheck(database, settings),
            escalation=Escalation(settings),
        )

    async def __call__(self) -> CheckResult:
        """Return what there is; it is logged, and exported as metrics, too."""
        findings: list[Finding] = []
        blind: set[Kind] = set()
        for look in self._looks:
            try:
                findings += await look()
            except TransientError as error:
                log.warning("look_failed", look=_name(look), error=str(error))
                blind |= _blinded(look)
                findings += _away(error)
            except Exception:
                log.exception("look_failed", look=_name(look))
                blind |= _blinded(look)
        _tell(findings, blind)
        for finding, seconds in self._escalation.lasting(findings, blind):
            _escalate(finding, seconds)
        return CheckResult(findings, blind)


def _name(look: Check) -> str:
    return type(look).__name__


def _blinded(look: Check) -> set[Kind]:
    LOOKS_FAILED.labels(_name(look)).inc()
    return set(look.kinds)


def _away(error: TransientError) -> Sequence[Finding]:
    return [
        Finding(kind, Severity.PAGE, f"The watcher cannot look: {error}.")
        for kind_of_error, kind in _AWAY
        if isinstance(error, kind_of_error)
    ]


def _tell(findings: Sequence[Finding], blind: Collection[Kind]) -> None:
    counted = Counter(finding.kind for finding in findings)
    for kind in Kind:
        if kind in counted or kind not in blind:
            FINDINGS.labels(kind).set(counted[kind])
    LAST_ROUND.set_to_current_time()
    for finding in findings:
        ALERTS.labels(finding.kind).inc()
        line = f"ALERT {finding.kind}"
        log.warning(line, summary=finding.summary, **finding.details)


def _escalate(finding: Finding, seconds: float) -> None:
    line = f"ESCALATE {finding.kind}"
    log.error(line, summary=finding.summary, since_seconds=round(seconds), **finding.details)
