"""Settings of the sign API."""

from __future__ import annotations

from media_runtime.settings import (
    AuthSettings,
    KafkaSettings,
    PostgresSettings,
    PublicSettings,
    RateSettings,
    StorageSettings,
)
from pydantic import Field


class SignApiSettings(
    PublicSettings, AuthSettings, KafkaSettings, PostgresSettings, StorageSettings, RateSettings
):
    """What the sign API is told by its environment; sizes in bytes, times in seconds."""

    max_upload_bytes: int = Field(default=500_000_000, ge=1)
    grant_seconds: int = Field(default=3600, ge=1, le=7 * 24 * 3600)
    read_url_seconds: int = Field(default=3600, ge=1, le=7 * 24 * 3600)
    bucket_wait_seconds: float = Field(default=5, gt=0)
    """How long the first grant of a new company waits for its bucket."""
    company_open_grants: int = Field(default=10_000, ge=1)
    """Grants of one company that wait for their upload."""
    cdn_base_url: str | None = None
    """Where set, file URLs are this followed by bucket and key, and nothing is presigned."""
    cors_allow_origins: str = ""
    """Origins of browser clients, separated by commas."""
