"""Settings of the sign API."""

from __future__ import annotations

from media_runtime.settings import (
    AuthSettings,
    EdgeKeySettings,
    KafkaSettings,
    PostgresSettings,
    PublicSettings,
    RateSettings,
    StorageSettings,
)
from pydantic import Field

_ORIGIN = r"^https?://[^/?#]+/?$"


class SignApiSettings(
    PublicSettings,
    AuthSettings,
    KafkaSettings,
    PostgresSettings,
    StorageSettings,
    RateSettings,
    EdgeKeySettings,
    env_prefix="SIGN_API_",
):
    """What the sign API is told by its environment; sizes in bytes, times in seconds."""

    max_upload_bytes: int = Field(default=500_000_000, ge=1)
    grant_seconds: int = Field(default=3600, ge=1, le=7 * 24 * 3600)
    upload_seconds: int = Field(default=24 * 3600, ge=1, le=7 * 24 * 3600)
    """How long an upload in parts can go on; storage keeps parts for as long (24 h of MinIO's)."""
    part_seconds: int = Field(default=15 * 60, ge=1, le=7 * 24 * 3600)
    """How long the URL of one part is good."""
    part_bytes: int = Field(default=8 * 1024 * 1024, ge=5 * 1024 * 1024, multiple_of=1024 * 1024)
    """What a part has at least, but for the last one; storage refuses smaller ones."""
    read_url_seconds: int = Field(default=3600, ge=1, le=7 * 24 * 3600)
    bucket_wait_seconds: float = Field(default=5, gt=0)
    """How long the first grant of a new company waits for its bucket."""
    http_max_batch_bytes: int = Field(default=1024 * 1024, ge=1)
    """What a request for a batch may have; the edge takes no larger body."""
    company_open_grants: int = Field(default=10_000, ge=1)
    """Grants of one company that wait for their upload."""
    asset_retry_seconds: float = Field(default=60, ge=0)
    """A client's retries of one asset are at least this far apart."""
    company_webhooks: int = Field(default=20, ge=1)
    """Endpoints that a company may have."""
    webhook_inside: str = ""
    """Networks in which endpoints may lie, as the notifier has them; by default none."""
    media_public_url: str = Field(pattern=_ORIGIN)
    """The origin under which clients reach the edge: uploads and files lie below it."""
    cdn_base_url: str | None = Field(default=None, pattern=r"^https?://[^/?#]+(/[^?#]*)?$")
    """The address of a CDN in front of the edge, for files; uploads go to the edge itself."""
