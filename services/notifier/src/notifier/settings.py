"""Settings of the notifier."""

from __future__ import annotations

import ssl
from pathlib import Path

from media_runtime.http.egress import networks_of
from media_runtime.settings import (
    AuthSettings,
    KafkaSettings,
    PostgresSettings,
    PublicSettings,
    RateSettings,
)
from pydantic import Field, SecretStr, field_validator


class NotifierSettings(
    PublicSettings,
    AuthSettings,
    KafkaSettings,
    PostgresSettings,
    RateSettings,
    env_prefix="NOTIFIER_",
):
    """What the notifier is told by its environment; times in seconds."""

    heartbeat_seconds: float = Field(default=15, gt=0)
    write_seconds: float = Field(default=30, gt=0)
    """How long a client may take no bytes at all before its stream is ended."""
    ticket_seconds: int = Field(default=30, ge=1)
    history_seconds: float = Field(default=300, ge=0)
    """How far back a fresh replica reads, so that resuming clients need no reader of their own."""
    history_events: int = Field(default=20_000, ge=0)
    client_queue_events: int = Field(default=256, ge=32)
    """Events that may wait for a slow reader before it is cut off."""
    streams_per_company: int = Field(default=1000, ge=1)
    """On one replica."""
    backfills_at_once: int = Field(default=8, ge=1)
    """Streams whose past is read from Kafka at one time."""
    backfills_per_company: int = Field(default=2, ge=1)
    """Streams of one company whose past is read, or waits for its client to take it."""
    backfill_records: int = Field(default=100_000, ge=1)
    backfill_seconds: float = Field(default=30, gt=0)
    """What is read for one client; where it takes more, the client is told to read anew."""
    event_id_secret: SecretStr = Field(min_length=32)
    """Seals event ids, which tell of all companies; every replica has the same."""
    webhook_seconds: float = Field(default=10, gt=0, le=30)
    """How long an endpoint may take to answer."""
    webhook_give_up_seconds: float = Field(default=5 * 24 * 3600, gt=0)
    """An endpoint that has taken nothing for so long is disabled."""
    webhook_inside: str = ""
    """
    Networks such as ``10.1.0.0/16``, separated by commas, in which endpoints may lie, by http too.

    By default endpoints have public addresses alone: companies choose them.
    """
    webhook_ca_file: Path | None = None
    """Certificates that endpoints' own are held against, beside those of the system."""
    edge_urls: str = ""
    """Where each edge listens inside, separated by commas; told which links are to end."""

    @field_validator("webhook_inside")
    @classmethod
    def _networks(cls, text: str) -> str:
        networks_of(text)
        return text

    @property
    def tls(self) -> ssl.SSLContext:
        """What endpoints' certificates are held against."""
        context = ssl.create_default_context()
        if self.webhook_ca_file:
            context.load_verify_locations(self.webhook_ca_file)
        return context
