"""
The tables as SQLModel declares them; schema.sql creates them, and a test compares the two.

Invariant: every table has a company and forced row-level security. Services read and write
with SQL on asyncpg, which costs a fifth of the ORM's time for a one-row transaction; rows
become these classes at the edge of the adapter.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self, cast
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import configure_mappers
from sqlmodel import Field, SQLModel

_NOW = text("now()")


def _text(*, null: bool = False, default: str | None = None) -> Column[str]:
    return Column(Text, nullable=null, server_default=default)


def _moment(*, null: bool = True, now: bool = False) -> Column[datetime]:
    return Column(
        DateTime(timezone=True), nullable=null and not now, server_default=_NOW if now else None
    )


def _serial() -> Column[int]:
    return Column(BigInteger, Identity(always=True), primary_key=True)


def _count() -> Any:
    return Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})


def _no() -> Any:
    return Field(default=False, sa_column_kwargs={"server_default": "false"})


def _of_asset() -> ForeignKeyConstraint:
    # With the company in the key, no row can point at another company's asset.
    return ForeignKeyConstraint(
        ["company_id", "asset_id"],
        ["media_assets.company_id", "media_assets.id"],
        ondelete="CASCADE",
    )


def _of_task(column: str) -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["company_id", column], ["tasks.company_id", "tasks.id"], ondelete="CASCADE"
    )


class _Row(SQLModel):
    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """Return a row of the database, for reading alone."""
        # The constructor prepares it for an ORM's session: a tenth of a millisecond, and a page
        # of the API has hundreds of rows.
        return cast("Self", cls.model_construct(**row))


class Company(SQLModel, table=True):
    """
    A company whose bucket exists; ``verified_at`` is when its settings were last seen right.

    ``retention_days`` and ``retention_keeps_thumbnails`` win over the watcher's settings.
    """

    __tablename__ = "companies"
    __table_args__ = (Index("companies_to_verify", "verified_at"),)

    company_id: UUID = Field(primary_key=True)
    bucket: str = Field(sa_column=_text())
    quota_bytes: int = Field(sa_type=BigInteger)
    created_at: datetime = Field(sa_column=_moment(now=True))
    verified_at: datetime = Field(sa_column=_moment(now=True))
    retention_days: int | None = None
    retention_keeps_thumbnails: bool | None = None


class BucketRequest(SQLModel, table=True):
    """A company that asked for its first grant and has no bucket yet; the watcher makes it."""

    __tablename__ = "bucket_requests"
    __table_args__ = (Index("bucket_requests_age", "requested_at"),)

    company_id: UUID = Field(primary_key=True)
    requested_at: datetime = Field(sa_column=_moment(now=True))


class ProfileVersion(_Row, table=True):
    """
    A version of what a company wants of uploads, which never changes.

    ``body`` is JSON of its outputs. It is null where the name is no longer offered.
    """

    __tablename__ = "profiles"

    company_id: UUID = Field(primary_key=True)
    name: str = Field(sa_column=Column(Text, primary_key=True))
    version: int = Field(primary_key=True)
    body: str | None = Field(sa_column=_text(null=True))
    created_at: datetime = Field(sa_column=_moment(now=True))


class Batch(_Row, table=True):
    """
    Uploads that a client asked for together, and how many of them have each status.

    ``client_metadata`` is JSON of the client's own words. Since ``decided_at`` nothing of it is
    pending or processing. A ``key`` of its client gives this batch again, for a request of the
    same hash.
    """

    __tablename__ = "batches"
    __table_args__ = (
        UniqueConstraint("company_id", "id"),
        Index("batches_of_company", "company_id", text("created_at DESC"), text("id DESC")),
        Index(
            "batches_by_key", "company_id", "key", unique=True,
            postgresql_where=text("key IS NOT NULL"),
        ),
        Index("batches_age", "decided_at", postgresql_where=text("decided_at IS NOT NULL")),
    )  # fmt: skip

    id: UUID = Field(primary_key=True)
    company_id: UUID
    client_metadata: str | None = Field(sa_column=Column(JSONB(none_as_null=True)))
    uploads: int
    pending: int
    processing: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    ready: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    failed: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    expired: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    cancelled: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    deleted: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    key: str | None = Field(sa_column=_text(null=True))
    request_hash: str | None = Field(sa_column=_text(null=True))
    created_at: datetime = Field(sa_column=_moment(now=True))
    decided_at: datetime | None = Field(sa_column=_moment())


class Asset(_Row, table=True):
    """
    One upload and what became of it. ``size`` is the declared size in bytes.

    ``attempt`` counts the tries to process it; results of an older attempt change nothing.
    ``own_profile`` says that its company published that profile; else it is the built-in one.
    ``check_at`` is when the watcher last made sure that an unfinished asset goes on.
    ``sweep_at`` is when it removes objects that nothing refers to any more; null for never.
    ``found_at`` is when the watcher first saw a file that nobody had announced.
    ``attempt_at`` is when the attempt began; null for the first, which begins with its upload.
    ``retired`` says of a deleted asset that its age is the reason, not somebody's wish.
    ``grant_swept`` says that other versions of the original went after its grant had lapsed.
    ``probe`` is JSON of a contract's Probe; ``warnings`` are codes of what is not as it should be.
    ``rerun_failed`` is the last attempt that was to replace this one and failed.
    ``about`` is JSON of what its client says of it; see About of the contracts.
    ``batch_id`` is the batch that it was asked for with, if any.
    """

    __tablename__ = "media_assets"
    __table_args__ = (
        UniqueConstraint("company_id", "id"),
        ForeignKeyConstraint(["company_id", "batch_id"], ["batches.company_id", "batches.id"]),
        Index(
            "media_assets_of_batch",
            "batch_id",
            "id",
            postgresql_where=text("batch_id IS NOT NULL"),
        ),
        Index("media_assets_of_company", "company_id", text("created_at DESC"), text("id DESC")),
        Index("media_assets_to_sweep", "sweep_at", postgresql_where=text("sweep_at IS NOT NULL")),
        Index(
            "media_assets_to_check",
            "check_at",
            postgresql_where=text("status IN ('pending', 'processing')"),
        ),
        Index(
            "media_assets_grants_to_sweep",
            "grant_expires_at",
            postgresql_where=text("NOT grant_swept AND uploaded_at IS NOT NULL"),
        ),
        Index("media_assets_lapsed", "updated_at", postgresql_where=text("status = 'expired'")),
        Index(
            "media_assets_by_age",
            "company_id",
            "created_at",
            postgresql_where=text("status IN ('ready', 'failed', 'cancelled')"),
        ),
        Index(
            "media_assets_outcomes",
            "processed_at",
            postgresql_where=text("processed_at IS NOT NULL"),
        ),
        Index(
            "media_assets_deleted",
            "sweep_at",
            postgresql_where=text(
                "sweep_at IS NOT NULL AND status IN ('deleted', 'cancelled') AND NOT retired"
            ),
        ),
    )

    id: UUID = Field(primary_key=True)
    company_id: UUID
    file_name: str = Field(sa_column=_text())
    content_type: str = Field(sa_column=_text())
    size: int = Field(sa_type=BigInteger)
    status: str = Field(sa_column=_text(default="pending"))
    attempt: int = Field(default=1, sa_column_kwargs={"server_default": "1"})
    bucket: str = Field(sa_column=_text())
    profile: str = Field(sa_column=_text(default="default"))
    profile_version: int = Field(default=1, sa_column_kwargs={"server_default": "1"})
    own_profile: bool = _no()
    uploaded_at: datetime | None = Field(sa_column=_moment())
    error_code: str | None = Field(sa_column=_text(null=True))
    error_message: str | None = Field(sa_column=_text(null=True))
    traceparent: str | None = Field(sa_column=_text(null=True))
    grant_expires_at: datetime = Field(sa_column=_moment(null=False))
    created_at: datetime = Field(sa_column=_moment(now=True))
    updated_at: datetime = Field(sa_column=_moment(now=True))
    processed_at: datetime | None = Field(sa_column=_moment())
    sweep_at: datetime | None = Field(sa_column=_moment())
    check_at: datetime = Field(sa_column=_moment(now=True))
    found_at: datetime | None = Field(sa_column=_moment())
    attempt_at: datetime | None = Field(sa_column=_moment())
    retired: bool = _no()
    grant_swept: bool = _no()
    probe: str | None = Field(sa_column=Column(JSONB(none_as_null=True)))
    warnings: list[str] = Field(
        sa_column=Column(ARRAY(Text), nullable=False, server_default=text("'{}'"))
    )
    rerun_failed: int | None = None
    about: str | None = Field(sa_column=Column(JSONB(none_as_null=True)))
    batch_id: UUID | None = None


class AssetMetadata(SQLModel, table=True):
    """What a client finds an asset by, which it says of it, in the order of a page."""

    __tablename__ = "asset_metadata"
    __table_args__ = (
        _of_asset(),
        Index(
            "asset_metadata_by_value",
            "company_id", "key", "value", text("created_at DESC"), text("asset_id DESC"),
        ),
    )  # fmt: skip

    asset_id: UUID = Field(primary_key=True)
    key: str = Field(sa_column=Column(Text(collation="C"), primary_key=True))
    value: str = Field(sa_column=Column(Text(collation="C"), nullable=False))
    company_id: UUID
    created_at: datetime = Field(sa_column=_moment(null=False))


class CompanyUsage(SQLModel, table=True):
    """
    A part of what a company uses: the sum over its slots counts.

    ``bytes`` are those of granted, stored and made files; the others count assets by status.
    """

    __tablename__ = "company_usage"

    company_id: UUID = Field(primary_key=True)
    slot: int = Field(sa_column=Column(SmallInteger, primary_key=True))
    bytes: int = Field(sa_type=BigInteger)
    pending: int = Field(sa_type=BigInteger)
    processing: int = _count()
    ready: int = _count()
    failed: int = _count()
    expired: int = _count()
    cancelled: int = _count()
    deleted: int = _count()


class Rerun(_Row, table=True):
    """
    An attempt beside the one that a ready asset is served by, which it replaces when it is done.

    It goes by a profile of its own. ``probe`` and ``warnings`` are what it found of the upload.
    """

    __tablename__ = "reruns"
    __table_args__ = (
        _of_asset(),
        Index(
            "reruns_running", "asset_id", unique=True, postgresql_where=text("state = 'running'")
        ),
        Index("reruns_of_company", "company_id", "profile", "created_at"),
    )

    asset_id: UUID = Field(primary_key=True)
    attempt: int = Field(primary_key=True)
    company_id: UUID
    profile: str = Field(sa_column=_text())
    profile_version: int
    own_profile: bool
    state: str = Field(sa_column=_text(default="running"))
    probe: str | None = Field(default=None, sa_column=Column(JSONB, nullable=True))
    warnings: list[str] = Field(
        default_factory=list, sa_column=Column(ARRAY(Text), nullable=False, server_default="{}")
    )
    error_code: str | None = Field(default=None, sa_column=_text(null=True))
    error_message: str | None = Field(default=None, sa_column=_text(null=True))
    created_at: datetime = Field(sa_column=_moment(now=True))
    ended_at: datetime | None = Field(default=None, sa_column=_moment())


class AssetTransition(SQLModel, table=True):
    """One change of an asset's status, kept for audits; its creation is the asset's own."""

    __tablename__ = "asset_transitions"
    __table_args__ = (_of_asset(), Index("asset_transitions_of_asset", "asset_id", "id"))

    id: int | None = Field(default=None, sa_column=_serial())
    company_id: UUID
    asset_id: UUID
    attempt: int
    from_status: str | None = Field(sa_column=_text(null=True))
    to_status: str = Field(sa_column=_text())
    service: str = Field(sa_column=_text())
    at: datetime = Field(sa_column=_moment(now=True))


class TaskRow(SQLModel, table=True):
    """
    One piece of work on an attempt. ``tries`` and ``fence`` rise with each claim.

    ``pool`` is who works on it, ``params`` what to do, ``result`` what others of its attempt
    are to know of it when it is done, both as JSON. ``waits_for`` counts the tasks
    that it needs and that are not done; ``preemptions`` how often it left its worker to another
    company. ``cost_seconds`` is what it takes, as far as that was known.
    """

    __tablename__ = "tasks"
    __table_args__ = (
        _of_asset(),
        UniqueConstraint("asset_id", "attempt", "name", name="tasks_of_attempt"),
        UniqueConstraint("company_id", "id"),
        Index(
            "tasks_open",
            "pool",
            "company_id",
            "priority",
            "id",
            postgresql_where=text("state IN ('queued', 'running')"),
        ),
        Index(
            "tasks_running",
            "pool",
            "company_id",
            postgresql_where=text("state = 'running'"),
        ),
        Index("tasks_blocked", "company_id", postgresql_where=text("state = 'blocked'")),
        Index("tasks_done", "kind", "finished_at", postgresql_where=text("state = 'done'")),
    )

    id: int | None = Field(default=None, sa_column=_serial())
    company_id: UUID
    asset_id: UUID
    attempt: int
    name: str = Field(sa_column=_text())
    kind: str = Field(sa_column=_text())
    pool: str = Field(sa_column=_text())
    params: str = Field(sa_column=_text(default="{}"))
    result: str | None = Field(default=None, sa_column=_text(null=True))
    required: bool = Field(default=True, sa_column_kwargs={"server_default": "true"})
    priority: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    cost_seconds: float = Field(default=0, sa_column_kwargs={"server_default": "0"})
    state: str = Field(sa_column=_text(default="queued"))
    waits_for: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    not_before: datetime = Field(sa_column=_moment(now=True))
    tries: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    preemptions: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    fence: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    owner: str | None = Field(sa_column=_text(null=True))
    lease_until: datetime | None = Field(sa_column=_moment())
    last_error: str | None = Field(sa_column=_text(null=True))
    cpu_seconds: float | None
    commands: str | None = Field(sa_column=_text(null=True))
    created_at: datetime = Field(sa_column=_moment(now=True))
    claimed_at: datetime | None = Field(sa_column=_moment())
    finished_at: datetime | None = Field(sa_column=_moment())


class TaskNeed(SQLModel, table=True):
    """What a task waits for: another one of its attempt."""

    __tablename__ = "task_needs"
    __table_args__ = (
        _of_task("task_id"),
        _of_task("needs_id"),
        Index("task_needs_of", "needs_id"),
    )

    task_id: int = Field(sa_column=Column(BigInteger, primary_key=True))
    needs_id: int = Field(sa_column=Column(BigInteger, primary_key=True))
    company_id: UUID


class CompanyWork(SQLModel, table=True):
    """
    Seconds of work that a pool did for a company lately, as they were at a moment.

    They halve with each minute since.
    """

    __tablename__ = "company_work"

    company_id: UUID = Field(primary_key=True)
    pool: str = Field(sa_column=Column(Text, primary_key=True))
    seconds: float
    at: datetime = Field(sa_column=_moment(null=False))


class AssetWait(_Row, table=True):
    """
    What a company was told last of how long an asset has to wait.

    ``place`` is one among its company's own assets. ``ready_at`` is null where nothing tells.
    """

    __tablename__ = "asset_waits"
    __table_args__ = (_of_asset(),)

    asset_id: UUID = Field(primary_key=True)
    company_id: UUID
    attempt: int
    place: int
    ready_at: datetime | None = Field(sa_column=_moment())
    told_at: datetime = Field(sa_column=_moment(now=True))


class AssetFile(_Row, table=True):
    """
    One stored object of an asset. Attempt 0 has its original, later ones what was made of it.

    ``version_id`` is set where one version of the key counts, and no other. ``sha256``
    (hexadecimal) is that of the bytes that were checked: nobody reads others later. Sizes are
    in bytes, pixels and seconds. ``fence`` is that of the task that made it, for audits.
    Of a segment, ``stream`` is what it belongs to, ``track`` which of its sizes or sounds it is a
    part of, ``part`` which one, and ``layout`` where its fragments stand. Of a text it says what it
    is, of a picture what stands in for it, of an animation how often it is shown.
    """

    __tablename__ = "asset_files"
    __table_args__ = (
        _of_asset(),
        Index("asset_files_by_key", "company_id", "key"),
    )

    asset_id: UUID = Field(primary_key=True)
    attempt: int = Field(primary_key=True)
    name: str = Field(sa_column=Column(Text, primary_key=True))
    company_id: UUID
    kind: str = Field(sa_column=_text())
    key: str = Field(sa_column=_text())
    version_id: str | None = Field(default=None, sa_column=_text(null=True))
    content_type: str = Field(sa_column=_text())
    size: int = Field(sa_type=BigInteger)
    sha256: str | None = Field(default=None, sa_column=_text(null=True))
    width: int | None = None
    height: int | None = None
    duration_seconds: float | None = None
    stream: str | None = Field(default=None, sa_column=_text(null=True))
    track: str | None = Field(default=None, sa_column=_text(null=True))
    part: int | None = None
    layout: str | None = Field(default=None, sa_column=_text(null=True))
    fence: int | None = Field(default=None, sa_type=BigInteger)
    created_at: datetime | None = Field(default=None, sa_column=_moment(now=True))


class Upload(_Row, table=True):
    """
    An upload in parts of ``part_size`` bytes each, the last one of what is left.

    ``storage_id`` is what storage knows it by; None until a part is asked for. ``completing_at`` is
    when all parts were there, and storage was to make one object of them. It has ``ended`` once
    storage has none of its parts any more. By its ``fingerprint`` a client finds it again.
    """

    __tablename__ = "uploads"
    __table_args__ = (
        _of_asset(),
        Index("uploads_to_end", "company_id", postgresql_where=text("NOT ended")),
    )

    asset_id: UUID = Field(primary_key=True)
    company_id: UUID
    part_size: int = Field(sa_type=BigInteger)
    fingerprint: str | None = Field(sa_column=_text(null=True))
    storage_id: str | None = Field(sa_column=_text(null=True))
    completing_at: datetime | None = Field(sa_column=_moment())
    ended: bool = _no()


class IdempotencyKey(SQLModel, table=True):
    """The answer to a sign request that carried an Idempotency-Key."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (_of_asset(), Index("idempotency_keys_age", "created_at"))

    company_id: UUID = Field(primary_key=True)
    key: str = Field(sa_column=Column(Text, primary_key=True))
    request_hash: str = Field(sa_column=_text())
    asset_id: UUID
    response: str = Field(sa_column=_text())
    created_at: datetime = Field(sa_column=_moment(now=True))


class EventTicket(SQLModel, table=True):
    """A one-use ticket for an event stream, by the SHA-256 of its secret."""

    __tablename__ = "event_tickets"
    __table_args__ = (Index("event_tickets_age", "expires_at"),)

    ticket_hash: str = Field(sa_column=Column(Text, primary_key=True))
    company_id: UUID
    subject: str = Field(sa_column=_text())
    stream_until: datetime = Field(sa_column=_moment(null=False))
    expires_at: datetime = Field(sa_column=_moment(null=False))


class WebhookEndpoint(_Row, table=True):
    """
    Where a company hears of its events by HTTP: of those of ``types``, or of all where it has none.

    ``secret`` signs, and until ``old_until`` the one before it, too. It is ``failing_since`` the
    first delivery that failed after the last one that did not. ``disabled_at`` says when it was
    given up; it is ``told`` once the company has heard of that.
    """

    __tablename__ = "webhook_endpoints"
    __table_args__ = (
        UniqueConstraint("company_id", "id"),
        Index("webhook_endpoints_of_company", "company_id", postgresql_where=text("enabled")),
        Index("webhook_endpoints_to_tell", "disabled_at", postgresql_where=text("NOT told")),
    )

    id: UUID = Field(primary_key=True)
    company_id: UUID
    url: str = Field(sa_column=_text())
    types: list[str] = Field(
        default_factory=list, sa_column=Column(ARRAY(Text), nullable=False, server_default="{}")
    )
    secret: str = Field(sa_column=_text())
    old_secret: str | None = Field(default=None, sa_column=_text(null=True))
    old_until: datetime | None = Field(default=None, sa_column=_moment())
    enabled: bool = Field(default=True, sa_column_kwargs={"server_default": "true"})
    failing_since: datetime | None = Field(default=None, sa_column=_moment())
    disabled_at: datetime | None = Field(default=None, sa_column=_moment())
    told: bool = Field(default=True, sa_column_kwargs={"server_default": "true"})
    created_at: datetime = Field(sa_column=_moment(now=True))


class WebhookDelivery(_Row, table=True):
    """
    One event for one endpoint; ``body`` is the event, as every other way delivers it.

    ``answer`` says what became of the last try: an HTTP status, or why there was none.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("endpoint_id", "event_id"),
        ForeignKeyConstraint(
            ["company_id", "endpoint_id"],
            ["webhook_endpoints.company_id", "webhook_endpoints.id"],
            ondelete="CASCADE",
        ),
        Index(
            "webhook_deliveries_due", "endpoint_id", "not_before",
            postgresql_where=text("state = 'waiting'"),
        ),
        Index("webhook_deliveries_of_endpoint", "endpoint_id", "id"),
        Index("webhook_deliveries_age", "created_at"),
    )  # fmt: skip

    id: int = Field(sa_column=_serial())
    company_id: UUID
    endpoint_id: UUID
    event_id: UUID
    event_type: str = Field(sa_column=_text())
    body: str = Field(sa_column=_text())
    state: str = Field(sa_column=_text(default="waiting"))
    tries: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    not_before: datetime = Field(sa_column=_moment(now=True))
    fence: int = _count()
    lease_until: datetime | None = Field(default=None, sa_column=_moment())
    answer: str | None = Field(default=None, sa_column=_text(null=True))
    created_at: datetime = Field(sa_column=_moment(now=True))
    tried_at: datetime | None = Field(default=None, sa_column=_moment())


class OutboxRecord(SQLModel, table=True):
    """A record that waits for Kafka. ``headers`` is JSON: a list of name and value pairs."""

    __tablename__ = "outbox"
    __table_args__ = (Index("outbox_of_producer", "producer", "id"),)

    id: int | None = Field(default=None, sa_column=_serial())
    producer: str = Field(sa_column=_text())
    company_id: UUID
    topic: str = Field(sa_column=_text())
    key: bytes | None = None
    value: bytes | None = None
    headers: str = Field(sa_column=_text(default="[]"))
    created_at: datetime = Field(
        sa_column=Column(
            DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")
        )
    )


class DeadLetter(SQLModel, table=True):
    """
    A record that a consumer of *topic* could not take, at its place in the dead-letter topic.

    ``filed_at`` is Kafka's time of it. Once somebody has dealt with it ``state`` says how.
    """

    __tablename__ = "dead_letters"
    __table_args__ = (
        Index("dead_letters_open", "topic", postgresql_where=text("state = 'open'")),
        Index("dead_letters_age", "filed_at"),
    )

    topic: str = Field(sa_column=Column(Text, primary_key=True))
    partition: int = Field(primary_key=True)
    filed_at: datetime = Field(sa_column=Column(DateTime(timezone=True), primary_key=True))
    kafka_offset: int = Field(sa_column=Column(BigInteger, primary_key=True))
    company_id: UUID
    key: bytes | None = None
    value: bytes | None = None
    headers: str = Field(sa_column=_text(default="[]"))
    state: str = Field(sa_column=_text(default="open"))
    settled_at: datetime | None = Field(sa_column=_moment())


# The constructor would do so at its first call, and rows are not made by it.
configure_mappers()
