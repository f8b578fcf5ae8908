"""Settings of the watcher."""

from __future__ import annotations

from media_runtime.settings import PostgresSettings, StorageSettings
from pydantic import Field


class WatcherSettings(PostgresSettings, StorageSettings):
    """What the watcher is told by its environment; times in seconds."""

    watch_interval_seconds: float = Field(default=60, gt=0)
    backlog_alert: int = Field(default=10, ge=0)
    """A backlog over this is an alert."""
    oldest_items: int = Field(default=5, ge=1)
    """How many of the oldest items an alert names."""
    cleanup_batch: int = Field(default=100, ge=1)
    """How many deleted assets lose their objects in one round."""
