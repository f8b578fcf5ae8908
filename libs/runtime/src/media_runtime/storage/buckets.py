"""
The settings of a company's bucket: versions, notification, quota, lifetime of what is
quarantined. Blocking; see storage.

Invariant: what was set is read back, since a store may accept a setting and not keep it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import urllib3
from media_runtime.errors import TransientError
from media_runtime.settings import StorageSettings
from minio import Minio
from minio.commonconfig import ENABLED, Filter
from minio.credentials.providers import StaticProvider
from minio.error import S3Error
from minio.lifecycleconfig import (
    Expiration,
    LifecycleConfig,
    NoncurrentVersionExpiration,
    Rule,
)
from minio.minioadmin import MinioAdmin
from minio.notificationconfig import NotificationConfig, PrefixFilterRule, QueueConfig
from minio.versioningconfig import VersioningConfig

_CREATED_EVENTS = ["s3:ObjectCreated:*"]


class BucketSetupError(TransientError):
    """A bucket does not have its settings."""


def admin_client(settings: StorageSettings, http_client: urllib3.PoolManager) -> MinioAdmin:
    """Return the store's own admin API, as the login of *settings*."""
    url = urlsplit(settings.s3_endpoint_url)
    return MinioAdmin(
        endpoint=url.netloc,
        credentials=StaticProvider(
            settings.s3_access_key, settings.s3_secret_key.get_secret_value()
        ),
        region=settings.s3_region,
        secure=url.scheme == "https",
        http_client=http_client,
    )


@dataclass(frozen=True)
class BucketPlan:
    """What a bucket is to be; ``uploads`` and ``quarantine`` are prefixes of keys."""

    bucket: str
    uploads: str
    quarantine: str
    quota_bytes: int


class BucketSetup:
    """Makes buckets and verifies them."""

    def __init__(
        self, client: Minio, settings: StorageSettings, *, http_client: urllib3.PoolManager
    ) -> None:
        self._client = client
        self._settings = settings
        self._http_client = http_client

    def ensure(self, plan: BucketPlan) -> None:
        """Make the bucket where it is missing, give it its settings, and verify them."""
        try:
            self._client.make_bucket(plan.bucket, location=self._settings.s3_region)
        except S3Error as error:
            if error.code not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                raise
        self._client.set_bucket_versioning(plan.bucket, VersioningConfig(ENABLED))
        self._client.set_bucket_notification(plan.bucket, self._notification(plan))
        self._client.set_bucket_lifecycle(plan.bucket, self._lifecycle(plan))
        self._admin().bucket_quota_set(plan.bucket, plan.quota_bytes)
        self.verify(plan)

    def verify(self, plan: BucketPlan) -> None:
        """Raise BucketSetupError unless every setting is there."""
        bucket = plan.bucket
        found = self._client.get_bucket_notification(bucket)
        if _targets(found) != _targets(self._notification(plan)):
            raise BucketSetupError(f"{bucket}: notification was not stored")
        if self._client.get_bucket_versioning(bucket).status != ENABLED:
            raise BucketSetupError(f"{bucket}: versioning was not stored")
        if _lifetimes(self._client.get_bucket_lifecycle(bucket)) != _lifetimes(
            self._lifecycle(plan)
        ):
            raise BucketSetupError(f"{bucket}: lifetime of the quarantine was not stored")
        quota = json.loads(self._admin().bucket_quota_get(bucket))
        if plan.quota_bytes not in {quota.get("quota"), quota.get("size")}:
            raise BucketSetupError(f"{bucket}: quota was not stored")

    def _admin(self) -> MinioAdmin:
        return admin_client(self._settings, self._http_client)

    def _lifecycle(self, plan: BucketPlan) -> LifecycleConfig:
        quarantined = Filter(prefix=plan.quarantine)
        return LifecycleConfig(
            [
                Rule(
                    ENABLED,
                    rule_filter=quarantined,
                    rule_id="media-quarantine",
                    expiration=Expiration(days=self._settings.s3_quarantine_days),
                    noncurrent_version_expiration=NoncurrentVersionExpiration(noncurrent_days=1),
                )
            ]
        )

    def _notification(self, plan: BucketPlan) -> NotificationConfig:
        arns: Sequence[str] = self._settings.s3_notification_arns.split(",")
        return NotificationConfig(
            queue_config_list=[
                QueueConfig(
                    queue=arn.strip(),
                    events=_CREATED_EVENTS,
                    config_id=f"media-ingest-{number}",
                    prefix_filter_rule=PrefixFilterRule(plan.uploads),
                )
                for number, arn in enumerate(arns)
            ]
        )


def _targets(config: NotificationConfig) -> set[tuple[str, str | None]]:
    # A store with a region answers with it in the ARN, whether or not it was asked with it.
    return {
        (
            ":".join((target.queue or "").split(":")[-2:]),
            target.prefix_filter_rule.value if target.prefix_filter_rule else None,
        )
        for target in config.queue_config_list
    }


def _lifetimes(config: LifecycleConfig | None) -> set[tuple[str | None, int | None]]:
    return {
        (
            rule.rule_filter.prefix if rule.rule_filter else None,
            rule.expiration.days if rule.expiration else None,
        )
        for rule in (config.rules if config else ())
    }
