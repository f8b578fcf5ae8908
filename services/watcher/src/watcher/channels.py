"""
Whom the watcher tells of incidents: webhooks, signed as Standard Webhooks say.

The log and Prometheus need no channel: they are told in each round.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID, uuid4

import httpx
from media_runtime.errors import TransientError
from standardwebhooks import Webhook
from watcher.findings import THE_SYSTEM, Severity
from watcher.settings import ChannelSettings

_SECONDS = 10.0
_ICONS = {
    Severity.PAGE: ":rotating_light:",
    Severity.TICKET: ":warning:",
    Severity.INFO: ":information_source:",
}


class Event(StrEnum):
    """What a notice tells of an incident."""

    OPENED = "opened"
    CHANGED = "changed"
    ESCALATED = "escalated"
    RECOVERED = "recovered"


@dataclass(frozen=True)
class Notice:
    """One message to a channel."""

    event: Event
    kind: str
    severity: Severity
    summary: str
    opened_at: datetime
    company_id: UUID = THE_SYSTEM

    def data(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        company = None if self.company_id == THE_SYSTEM else str(self.company_id)
        return {
            "event": self.event.value,
            "kind": self.kind,
            "severity": self.severity.value,
            "summary": self.summary,
            "companyId": company,
            "openedAt": self.opened_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        }

    def text(self) -> str:
        """Return it as a line for people."""
        icon = ":white_check_mark:" if self.event is Event.RECOVERED else _ICONS[self.severity]
        since = self.opened_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
        return f"{icon} *{self.kind}* {self.event.value}: {self.summary} (since {since})"


class ChannelAwayError(TransientError):
    """A channel did not take a notice."""


class Channel(Protocol):
    """Somebody who is told of incidents."""

    async def tell(self, notice: Notice) -> None:
        """Return once the notice was taken; raises ChannelAwayError."""


class WebhookChannel:
    """POSTs each notice to one URL; anything but 2xx is no receipt."""

    def __init__(self, url: str, settings: ChannelSettings) -> None:
        self._url = url
        self._form = settings.alert_webhook_form
        secret = settings.alert_webhook_secret
        self._signer = Webhook(secret.get_secret_value()) if secret else None

    async def tell(self, notice: Notice) -> None:
        """Return once the notice was taken; raises ChannelAwayError."""
        now = datetime.now(UTC)
        body = json.dumps(self._body(notice, now), separators=(",", ":"))
        try:
            async with httpx.AsyncClient(timeout=_SECONDS) as client:
                answer = await client.post(
                    self._url, content=body, headers=self._headers(body, now)
                )
                answer.raise_for_status()
        except httpx.HTTPError as error:
            # The URL may hold a secret, as Slack's do.
            host = httpx.URL(self._url).host
            raise ChannelAwayError(f"{host} did not take a notice: {_why(error)}") from None

    def _body(self, notice: Notice, now: datetime) -> Mapping[str, Any]:
        if self._form == "slack":
            return {"text": notice.text()}
        return {
            "type": f"media.incident.{notice.event.value}",
            "timestamp": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "data": notice.data(),
        }

    def _headers(self, body: str, now: datetime) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        if self._signer is not None:
            call = f"msg_{uuid4().hex}"
            headers |= {
                "webhook-id": call,
                "webhook-timestamp": str(int(now.timestamp())),
                "webhook-signature": self._signer.sign(call, now, body),
            }
        return headers


@dataclass(frozen=True)
class Channels:
    """Who hears first of an incident, and who of one that lasts; None is nobody."""

    first: Channel | None = None
    escalation: Channel | None = None

    @classmethod
    def of(cls, settings: ChannelSettings) -> Channels:
        """Return the channels that the settings name."""
        first = _webhook(settings.alert_webhook_url, settings)
        escalation = _webhook(settings.escalation_webhook_url, settings)
        return cls(first, escalation or first)


def _webhook(url: str | None, settings: ChannelSettings) -> Channel | None:
    return WebhookChannel(url, settings) if url else None


def _why(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"it answered {error.response.status_code}"
    return type(error).__name__
