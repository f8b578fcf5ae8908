"""Settings of the watcher."""

from __future__ import annotations

from media_runtime.settings import (
    KafkaSettings,
    PostgresSettings,
    ProvisionerSettings,
    StorageSettings,
)
from pydantic import Field


class WatchSettings(PostgresSettings):
    """What one look at the backlog needs."""

    backlog_alert: int = Field(default=10, ge=0)
    """A backlog over this is an alert."""
    quota_alert_ratio: float = Field(default=0.8, gt=0)
    """A company that uses this part of its storage quota is an alert."""
    oldest_items: int = Field(default=5, ge=1)
    """How many of the oldest items an alert names."""


class OrphanSettings(PostgresSettings, StorageSettings):
    """What a comparison of storage with the rows needs."""


class WatcherSettings(WatchSettings, KafkaSettings, ProvisionerSettings):
    """What the watcher is told by its environment; times in seconds."""

    watch_interval_seconds: float = Field(default=60, gt=0)
    cleanup_batch: int = Field(default=100, ge=1)
    """How many assets lose their garbage in one round."""
    reconcile_after_seconds: float = Field(default=60, gt=0)
    """An upload that was not announced for so long is looked for in storage."""
    reconcile_batch: int = Field(default=500, ge=1)
    stuck_seconds: float = Field(default=600, gt=0)
    """An attempt without a job, or any sign of life, for so long is started again."""
    late_upload_seconds: float = Field(default=900, ge=0)
    """How long after its grant lapsed an upload, begun before, may still come in."""
    expired_keep_seconds: float = Field(default=7 * 24 * 3600, gt=0)
    """How long the row of a grant that nobody used is kept."""
    bucket_verify_seconds: float = Field(default=600, gt=0)
    bucket_batch: int = Field(default=100, ge=1)
    """How many buckets are verified in one round."""
