"""
Incidents: what is found in round after round, told once, escalated when it lasts, and closed.

Invariant: they are rows, so neither a restart nor a change of the replica that acts tells
anything twice or forgets it. Each channel is told on its own: one that is away is tried again in
the next round and holds no other up. An incident is kept until everybody who heard of it has
heard of its end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import structlog
from media_records.tables import Incident
from media_runtime.errors import TransientError
from media_runtime.postgres import Database
from watcher.channels import Channel, Channels, Event, Notice
from watcher.findings import Kind, Severity
from watcher.metrics import INCIDENTS, NOTICES
from watcher.settings import ChannelSettings
from watcher.watch import Seen

log = structlog.get_logger(__name__)

_SEEN = """
    INSERT INTO incidents AS i (company_id, kind, severity, summary) VALUES ($1, $2, $3, $4)
    ON CONFLICT (company_id, kind) DO UPDATE
    SET severity = excluded.severity, summary = excluded.summary, recovered_at = NULL,
        opened_at = CASE WHEN i.recovered_at IS NULL THEN i.opened_at ELSE now() END
"""
_TOLD = "UPDATE incidents SET told_severity = $3 WHERE company_id = $1 AND kind = $2"
_ESCALATED = "UPDATE incidents SET escalated_at = $3 WHERE company_id = $1 AND kind = $2"
_RECOVERED = "UPDATE incidents SET recovered_at = now() WHERE company_id = $1 AND kind = $2"
_HEARD_THE_END = """
    UPDATE incidents SET told_severity = CASE WHEN $3 THEN NULL ELSE told_severity END,
        escalated_at = CASE WHEN $4 THEN NULL ELSE escalated_at END
    WHERE company_id = $1 AND kind = $2
"""
_CLOSED = """
    DELETE FROM incidents WHERE company_id = $1 AND kind = $2 AND recovered_at IS NOT NULL
        AND told_severity IS NULL AND escalated_at IS NULL
"""

Key = tuple[UUID, str]


@dataclass(frozen=True)
class Patience:
    """After how many seconds an incident is escalated, and how often again."""

    first_seconds: float
    again_seconds: float

    def is_over(self, incident: Incident, now: datetime) -> bool:
        """Return whether it is time to escalate the incident, the first time or again."""
        if incident.severity != Severity.PAGE:
            return False
        if (now - incident.opened_at).total_seconds() < self.first_seconds:
            return False
        last = incident.escalated_at
        return last is None or (now - last).total_seconds() >= self.again_seconds


class Incidents:
    """Opens, tells, escalates and closes incidents by what a round has seen."""

    def __init__(
        self,
        database: Database,
        look: Callable[[], Awaitable[Seen]],
        channels: Channels,
        settings: ChannelSettings,
    ) -> None:
        self._database = database
        self._look = look
        self._channels = channels
        self._patience = Patience(settings.escalate_after_seconds, settings.escalate_every_seconds)

    async def __call__(self) -> None:
        """Look once and tell of it; raises TransientError when the database is away."""
        seen = await self._look()
        for finding in seen.findings:
            await self._database.fetch(
                _SEEN, finding.company_id, finding.kind, finding.severity, finding.summary
            )
        found = {(finding.company_id, finding.kind.value) for finding in seen.findings}
        open_ones = await self._read()
        for incident in open_ones:
            await self._go_on(incident, found, seen.blind)
        _export(await self._read())

    async def _read(self) -> list[Incident]:
        rows = await self._database.fetch("SELECT * FROM incidents ORDER BY opened_at")
        return [Incident(**dict(row)) for row in rows]

    async def _go_on(
        self, incident: Incident, found: Collection[Key], blind: Collection[Kind]
    ) -> None:
        if (incident.company_id, incident.kind) in found:
            with _or_later(incident):
                await self._tell(incident)
            with _or_later(incident):
                await self._escalate(incident)
        elif incident.kind not in blind:
            with _or_later(incident):
                await self._recover(incident)

    async def _tell(self, incident: Incident) -> None:
        if incident.told_severity == incident.severity:
            return
        event = Event.CHANGED if incident.told_severity else Event.OPENED
        line = f"incident_{event}"
        log.warning(line, **_about(incident))
        await self._send(self._channels.first, event, incident)
        await self._database.fetch(_TOLD, incident.company_id, incident.kind, incident.severity)

    async def _escalate(self, incident: Incident) -> None:
        now = datetime.now(UTC)
        if not self._patience.is_over(incident, now):
            return
        log.error("ALERT escalated", **_about(incident))
        await self._send(self._channels.escalation, Event.ESCALATED, incident)
        await self._database.fetch(_ESCALATED, incident.company_id, incident.kind, now)

    async def _recover(self, incident: Incident) -> None:
        if incident.recovered_at is None:
            log.warning("incident_recovered", **_about(incident))
            await self._database.fetch(_RECOVERED, incident.company_id, incident.kind)
        first, second = self._channels.first, self._channels.escalation
        heard = [first] if incident.told_severity is not None else []
        heard += [second] if incident.escalated_at is not None and second not in heard else []
        for channel in heard:
            with _or_later(incident):
                await self._send(channel, Event.RECOVERED, incident)
                # Who is told of both by one channel has heard the end of both.
                ends = channel is first, channel is second
                await self._database.fetch(
                    _HEARD_THE_END, incident.company_id, incident.kind, *ends
                )
        await self._database.fetch(_CLOSED, incident.company_id, incident.kind)

    @staticmethod
    async def _send(channel: Channel | None, event: Event, incident: Incident) -> None:
        if channel is None:
            return
        notice = Notice(
            event=event,
            kind=incident.kind,
            severity=Severity(incident.severity),
            summary=incident.summary,
            opened_at=incident.opened_at,
            company_id=incident.company_id,
        )
        try:
            await channel.tell(notice)
        except TransientError:
            NOTICES.labels(event, "failed").inc()
            raise
        NOTICES.labels(event, "sent").inc()


@contextmanager
def _or_later(incident: Incident) -> Iterator[None]:
    try:
        yield
    except TransientError as error:
        log.warning("notice_waits", kind=incident.kind, error=str(error))


def _about(incident: Incident) -> Mapping[str, object]:
    lasts = datetime.now(UTC) - incident.opened_at
    return {
        "kind": incident.kind,
        "severity": incident.severity,
        "summary": incident.summary,
        "company": str(incident.company_id) if incident.company_id.int else None,
        "since_seconds": round(lasts.total_seconds()),
    }


def _export(incidents: Collection[Incident]) -> None:
    lasting = [incident for incident in incidents if incident.recovered_at is None]
    open_ones = Counter(incident.kind for incident in lasting)
    escalated = Counter(incident.kind for incident in lasting if incident.escalated_at is not None)
    for kind in Kind:
        INCIDENTS.labels(kind, "open").set(open_ones[kind])
        INCIDENTS.labels(kind, "escalated").set(escalated[kind])
