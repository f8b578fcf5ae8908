"""Settings of the notifier."""

from __future__ import annotations

from media_runtime.settings import (
    AuthSettings,
    KafkaSettings,
    PostgresSettings,
    PublicSettings,
    RateSettings,
)
from pydantic import Field, SecretStr


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
    edge_urls: str = ""
    """Where each edge listens inside, separated by commas; told which links are to end."""
