"""
Sends companies' events to their endpoints: signed, again and again until they are taken.

Signatures are those of Standard Webhooks 1.0 (standardwebhooks.com). Invariant: a delivery ends
when its endpoint answered with 2xx, or when all its tries are over; a worker that dies in the
midst leaves it to the next one, under the same id.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import structlog
from media_contracts import MEDIA_STATUS, WebhookDisabled
from media_contracts.envelope import derived_id, new_event
from media_records import webhooks
from media_records.webhooks import Delivery
from media_records.work import Wakeup
from media_runtime import background
from media_runtime.database.postgres import Database
from media_runtime.http.egress import Egress, ExchangeError, ForbiddenAddressError, networks_of
from media_runtime.kafka.producer import OutgoingRecord, Producer
from notifier.metrics import WEBHOOK_SECONDS, WEBHOOKS
from notifier.settings import NotifierSettings

log = structlog.get_logger(__name__)

PAUSES = (5, 60, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 8 * 3600, 8 * 3600)
"""Seconds from one try to the next: all tries of a delivery are over after 24 hours."""
SECRET_PREFIX = "whsec_"  # noqa: S105 - a prefix
_AT_ONCE, _OF_ONE_ENDPOINT = 128, 8
_POLL_SECONDS = 1.0
_RETRY_SECONDS = 1.0
_SPREAD = 0.1
# Longer than a try may take, so that two never send one delivery.
_LEASE = timedelta(seconds=60)
_OK, _REDIRECT, _GONE = 200, 300, 410


def signature_of(secret: str, event_id: str, timestamp: int, body: bytes) -> str:
    """Return the signature of a message by one secret, which begins with ``whsec_``."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = f"{event_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def headers_of(delivery: Delivery, timestamp: int) -> list[tuple[str, str]]:
    """Return what goes with the body of a delivery that is sent at *timestamp*, in seconds."""
    event_id, body = str(delivery.event_id), delivery.body.encode()
    signatures = [signature_of(one, event_id, timestamp, body) for one in delivery.secrets]
    return [
        ("content-type", "application/json"),
        ("content-length", str(len(body))),
        ("user-agent", "media-pipeline-webhooks/1"),
        ("webhook-id", event_id),
        ("webhook-timestamp", str(timestamp)),
        ("webhook-signature", " ".join(signatures)),
    ]


class Webhooks:
    """Sends what is due, many at once; ``wakeup`` is told when there may be something new."""

    def __init__(self, database: Database, producer: Producer, settings: NotifierSettings) -> None:
        self._database = database
        self._producer = producer
        self._seconds = settings.webhook_seconds
        self._give_up_after = timedelta(seconds=settings.webhook_give_up_seconds)
        self._egress = Egress(
            inside=networks_of(settings.webhook_inside), connections=_AT_ONCE, tls=settings.tls
        )
        self._sending = set[asyncio.Task[None]]()
        self.wakeup = Wakeup()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send in the background for the block; what is under way at its end is sent again."""
        look = background.repeat(self._look, name="webhooks", retry_seconds=_RETRY_SECONDS)
        try:
            async with background.running(webhooks=look):
                yield
        finally:
            for task in self._sending:
                task.cancel()
            await asyncio.gather(*self._sending, return_exceptions=True)
            await self._egress.close()

    async def _look(self) -> None:
        since = self.wakeup.count
        free = _AT_ONCE - len(self._sending)
        claimed = await webhooks.claim_deliveries(
            self._database, free, at_once=_OF_ONE_ENDPOINT, lease=_LEASE
        ) if free else ()  # fmt: skip
        for delivery in claimed:
            task = asyncio.create_task(self._send(delivery))
            self._sending.add(task)
            task.add_done_callback(self._sent)
        if not claimed:
            await self._tell_of_disabled()
            await self.wakeup.wait(_POLL_SECONDS, since=since)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if not task.cancelled() and (error := task.exception()):
            # Its lease lapses, and it is sent again.
            log.warning("webhook_lost", error=repr(error))
        self.wakeup.set()

    async def _send(self, delivery: Delivery) -> None:
        now, is_gone = time.time(), False
        try:
            status = await self._egress.post(
                delivery.url,
                delivery.body.encode(),
                headers_of(delivery, int(now)),
                seconds=self._seconds,
            )
            answer, is_taken = str(status), _OK <= status < _REDIRECT
            is_gone = status == _GONE
        except (ExchangeError, ForbiddenAddressError) as error:
            answer, is_taken = str(error), False
        WEBHOOK_SECONDS.observe(time.time() - now)
        WEBHOOKS.labels("taken" if is_taken else "refused").inc()
        if is_taken:
            await webhooks.delivered(self._database, delivery, answer)
            return
        pause = PAUSES[delivery.tries - 1] if delivery.tries <= len(PAUSES) else None
        again_in = pause and pause * random.uniform(1, 1 + _SPREAD)  # noqa: S311 - jitter
        log.info("webhook_refused", endpoint=str(delivery.endpoint_id), answer=answer)
        await webhooks.not_delivered(
            self._database,
            delivery,
            answer,
            again_in=None if is_gone else again_in,
            is_gone=is_gone,
            give_up_after=self._give_up_after,
        )

    async def _tell_of_disabled(self) -> None:
        for endpoint in await webhooks.disabled_untold(self._database):
            at = endpoint.disabled_at or datetime.now(UTC)
            event = new_event(
                WebhookDisabled(url=endpoint.url, failing_since=endpoint.failing_since or at),
                source="/media/notifier",
                asset_id=endpoint.id,
                company_id=endpoint.company_id,
                time=at,
                event_id=derived_id(endpoint.id, at.isoformat()),
            )
            record = OutgoingRecord(MEDIA_STATUS.name, str(endpoint.id), event.to_bytes())
            await self._producer.send(record)
            await webhooks.told(self._database, endpoint.id)
            log.warning("webhook_disabled", endpoint=str(endpoint.id), url=endpoint.url)
