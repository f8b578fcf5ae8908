"""Settings of the watcher; times in seconds."""

from __future__ import annotations

from media_records.companies import Policy
from media_runtime.settings import (
    KafkaSettings,
    PostgresSettings,
    ProvisionerSettings,
    Settings,
    StorageSettings,
)
from pydantic import Field, SecretStr


class LimitSettings(Settings):
    """From where on something is wrong."""

    backlog_alert: int = Field(default=10, ge=0)
    """A backlog over this is an alert."""
    failure_window_seconds: float = Field(default=900, gt=0)
    failure_alert_count: int = Field(default=3, ge=1)
    failure_alert_ratio: float = Field(default=0.05, ge=0, le=1)
    """So many attempts, and such a part of all, that failed by our fault within the window."""
    quota_alert_ratio: float = Field(default=0.8, gt=0)
    """A company that uses this part of its storage quota is told of; 95 % and 100 % weigh more."""
    outbox_alert_seconds: float = Field(default=60, gt=0)
    """A record that waits for so long to be sent to Kafka is an alert."""
    lease_alert_seconds: float = Field(default=60, gt=0)
    """A job that nobody took over for so long, after its worker fell silent, is an alert."""
    lag_alert_records: int = Field(default=1000, ge=0)
    """A consumer group that is further behind than this is an alert."""
    dead_letter_alert: int = Field(default=0, ge=0)
    """More open dead letters than this are an alert."""
    space_alert_ratio: float = Field(default=0.1, gt=0, lt=1)
    """Free storage below this part of all of it is an alert."""
    unaccounted_alert_bytes: int = Field(default=1_000_000_000, ge=0)
    unaccounted_alert_ratio: float = Field(default=0.1, ge=0)
    """A company may have so much in storage beyond what is accounted for: the larger of both."""
    unaccounted_after_seconds: float = Field(default=3600, ge=0)
    """For how long it has more before it is an alert: what was deleted has to be swept."""
    oldest_items: int = Field(default=5, ge=1)
    """How many of the oldest items an alert names."""
    companies_shown: int = Field(default=100, ge=0)
    """
    How many companies have metrics of their own: so many with the most work, then bytes, and
    besides so many of those that are close to their quota, the fullest first.
    """


class RetentionSettings(PostgresSettings):
    """How long things are kept. A company's own policy wins over the first two."""

    retention_days: int = Field(default=365, ge=1)
    """An asset's age in days at which it is deleted with its objects."""
    retention_keeps_thumbnails: bool = False
    """Whether the thumbnail of such an asset is kept."""
    retention_batch: int = Field(default=500, ge=1)
    """How many assets are deleted in one round: so that no company's past stops the present."""
    expired_keep_seconds: float = Field(default=7 * 24 * 3600, gt=0)
    """How long the row of a grant that nobody used is kept."""

    @property
    def policy(self) -> Policy:
        """What is in force where a company's own policy says nothing."""
        return Policy(self.retention_days, self.retention_keeps_thumbnails)


class CleanupSettings(RetentionSettings, StorageSettings):
    """When what nobody needs is removed, and how much of it in one round."""

    watch_interval_seconds: float = Field(default=60, gt=0)
    """From one round to the next; the clean-up may take half of it."""
    cleanup_batch: int = Field(default=100, ge=1)
    """How many assets are read at once to lose their garbage, those first that users deleted."""
    late_upload_seconds: float = Field(default=900, ge=0)
    """How long after its grant lapsed an upload, begun before, may still come in."""
    multipart_keep_seconds: float = Field(default=24 * 3600, gt=0)
    """An upload in parts that nobody completed for so long is aborted."""


class EscalationSettings(CleanupSettings):
    """When a page that lasts is escalated."""

    escalate_after_seconds: float = Field(default=3600, gt=0)
    """Log an ESCALATE line for a page that has lasted for so long."""


class WatchSettings(LimitSettings, KafkaSettings, EscalationSettings, env_prefix="WATCHER_"):
    """What one look at everything needs."""

    s3_metrics_token: SecretStr | None = None
    """The bearer token for the store's metrics, where MinIO does not take that of our login."""


class OrphanSettings(PostgresSettings, StorageSettings, env_prefix="WATCHER_"):
    """What a comparison of storage with the rows needs."""


class WatcherSettings(WatchSettings, ProvisionerSettings, env_prefix="WATCHER_"):
    """What the watcher is told by its environment."""

    reconcile_after_seconds: float = Field(default=60, gt=0)
    """An upload that was not announced for so long is looked for in storage."""
    reconcile_batch: int = Field(default=500, ge=1)
    stuck_seconds: float = Field(default=600, gt=0)
    """An attempt without a job, or any sign of life, for so long is started again."""
    company_quota_bytes: int = Field(default=1_000_000_000_000, ge=1)
    """What the originals and outputs of a new company may take, in all."""
    bucket_look_seconds: float = Field(default=0.1, gt=0)
    """How often it looks whether a new company wants a bucket."""
    bucket_verify_seconds: float = Field(default=600, gt=0)
    bucket_batch: int = Field(default=100, ge=1)
    """How many buckets are verified in one round."""
