"""The JSON of uploads: alone, in parts and in batches."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from uuid import UUID

from media_contracts import Crop
from media_contracts.envelope import Timestamp
from media_contracts.formats import ACCEPTED_TYPES
from media_contracts.profiles import NAME_PATTERN
from media_contracts.upload_rules import MAX_NAME_CHARACTERS
from media_records.batches import InBatch, metadata_of
from media_records.tables import Batch
from media_records.uploads import InParts
from media_runtime.storage.presign import UploadGrant
from media_runtime.storage.store import StoredPart
from pydantic import (
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
)
from sign_api.domain import (
    MAX_ALT_CHARACTERS,
    MAX_IN_BATCH,
    MAX_TITLE_CHARACTERS,
    sizes_of_parts,
)
from sign_api.views import FocusView, Metadata, View


class SignRequest(View):
    """A file that the client wants to upload; ``size`` is in bytes."""

    # What the document says of the values, domain.check_upload checks, with codes of its own.
    file_name: StrictStr = Field(
        examples=["holiday.mp4"],
        json_schema_extra={
            "minLength": 1,
            "maxLength": MAX_NAME_CHARACTERS,
            "pattern": r"^[^/\\\u0000-\u001f\u007f]+$",
        },
    )
    size: StrictInt = Field(examples=[4139823], json_schema_extra={"minimum": 1})
    type: StrictStr = Field(
        description="One of "
        + ", ".join(sorted(ACCEPTED_TYPES))
        + "; case, parameters and usual aliases do not matter.",
        examples=["video/mp4"],
    )
    profile: StrictStr | None = Field(
        default=None,
        description="The name of a profile of the company, in its newest version; null for its "
        "default.",
        examples=["default"],
        json_schema_extra={"pattern": NAME_PATTERN},
    )
    title: StrictStr | None = Field(
        default=None,
        description="What people are to call it.",
        examples=["The harbour at dusk"],
        json_schema_extra={"minLength": 1, "maxLength": MAX_TITLE_CHARACTERS},
    )
    alt: StrictStr | None = Field(
        default=None,
        description="What it shows, for those who do not see it.",
        examples=["Two boats at a pier"],
        json_schema_extra={"minLength": 1, "maxLength": MAX_ALT_CHARACTERS},
    )
    focus: FocusView | None = Field(
        default=None, description="What crops keep in their middle; null leaves it to crop."
    )
    crop: Crop | None = Field(
        default=None,
        description="What crops keep in their middle where focus is null: the middle, or what "
        "people look at first; null is the profile's own.",
    )
    metadata: Metadata = None


class Upload(View):
    """
    PUT the file, as it is, to ``url`` with these ``headers``.

    Its length must be the declared ``size``: ``curl -T holiday.mp4 -H "Content-Type: …" "$URL"``.
    """

    method: str = Field(examples=["PUT"])
    url: str = Field(examples=["https://media.example.com/media-5f0c…/5f0c…/uploads/0d5f…?X-Amz-…"])
    headers: dict[str, str] = Field(examples=[{"Content-Type": "video/mp4"}])
    expires_at: Timestamp


class SignResponse(View):
    """An upload grant. It is good for exactly this file: its key, type and size."""

    asset_id: UUID
    upload: Upload


class UploadRequest(SignRequest):
    """
    A file that the client wants to upload in parts; ``size`` is in bytes.

    By the ``fingerprint``, which it makes of what it likes, it finds the upload again: on another
    page, in another browser, on another device.
    """

    fingerprint: StrictStr | None = Field(
        default=None,
        description="1 to 255 printable characters of ASCII.",
        examples=["sha256:5f0c1d"],
        json_schema_extra={"pattern": r"^[\x21-\x7e]{1,255}$"},
    )


class UploadStatus(StrEnum):
    """Whether parts are awaited. What becomes of a complete upload, its asset tells."""

    OPEN = "open"
    COMPLETE = "complete"


class OpenUpload(View):
    """
    An upload in parts, which can go on until ``expiresAt``.

    Part ``n`` of ``parts`` has the file's bytes from ``(n - 1) * partSize`` on: ``partSize`` of
    them, and the last one what is left.
    """

    asset_id: UUID
    file_name: str
    size: int
    type: str
    fingerprint: str | None
    part_size: int = Field(examples=[8388608])
    parts: int = Field(examples=[36])
    status: UploadStatus
    expires_at: Timestamp


class StoredPartView(View):
    """A part that is there, as large as it was sent last."""

    number: int
    size: int


class UploadView(OpenUpload):
    """An upload in parts with those that are there; all that are not have to be sent."""

    stored: list[StoredPartView]


class UploadPage(View):
    """Uploads that can go on, newest first."""

    items: list[OpenUpload]
    next_cursor: str | None = Field(description="Null on the last page.")


class PartsRequest(View):
    """The numbers of the parts that the client is to send next: 1 to 100, each once."""

    numbers: list[StrictInt] = Field(
        examples=[[1, 2, 3]],
        json_schema_extra={"minItems": 1, "maxItems": 100, "uniqueItems": True},
    )


class PartGrant(View):
    """PUT exactly ``size`` bytes of the file to ``url``; again, where it was not sent in whole."""

    number: int
    size: int
    url: str = Field(
        examples=[
            "https://media.example.com/media-5f0c…/5f0c…/uploads/0d5f…?X-Amz-…&partNumber=1&…"
        ]
    )


class PartsResponse(View):
    """Where the parts go; the URLs are good until ``expiresAt``."""

    parts: list[PartGrant]
    expires_at: Timestamp


class BatchItem(UploadRequest):
    """
    One file of a batch. It is sent in one request, or in parts, where ``inParts`` is true.

    The ``fingerprint`` is of use for one in parts.
    """

    in_parts: StrictBool = False


class BatchRequest(View):
    """Files that the client wants to upload together."""

    # Their number domain says, with a code of its own.
    uploads: list[BatchItem] = Field(
        json_schema_extra={"minItems": 1, "maxItems": MAX_IN_BATCH},
    )
    metadata: Metadata = None


class BatchCounts(View):
    """How many uploads of a batch have each status."""

    pending: int
    processing: int
    ready: int
    failed: int
    expired: int
    cancelled: int
    deleted: int


class BatchView(View):
    """
    A batch. It is decided once nothing of it is pending or processing: from ``decidedAt`` on.

    After a retry of some of it it is not, until these are decided as well.
    """

    batch_id: UUID
    metadata: dict[str, str]
    uploads: int = Field(examples=[3])
    counts: BatchCounts
    decided: bool
    created_at: Timestamp
    decided_at: Timestamp | None


class BatchPage(View):
    """Batches, newest first. ``nextCursor`` is null on the last page."""

    items: list[BatchView]
    next_cursor: str | None = None


class BatchUpload(View):
    """
    One upload of a batch. Where ``upload`` is null it goes in parts, or is not awaited any more.

    One that goes in parts has their number and ``partSize``; their URLs are those of ``/uploads``.
    """

    number: int = Field(description="Its place in the batch's request, from 0.")
    asset_id: UUID
    file_name: str
    size: int
    type: str
    fingerprint: str | None = None
    upload: Upload | None = None
    part_size: int | None = Field(default=None, examples=[8388608])
    parts: int | None = Field(default=None, examples=[36])
    expires_at: Timestamp


class BatchUploads(View):
    """Uploads of a batch, in the order of its request."""

    items: list[BatchUpload]
    next_cursor: str | None = None


class NewBatch(BatchView):
    """A batch with a grant for each of its files, in the order of the request."""

    items: list[BatchUpload]


def batch_view(batch: Batch) -> BatchView:
    """Return a batch as the API shows it."""
    return BatchView(
        batch_id=batch.id,
        metadata=metadata_of(batch),
        uploads=batch.uploads,
        counts=BatchCounts(
            pending=batch.pending,
            processing=batch.processing,
            ready=batch.ready,
            failed=batch.failed,
            expired=batch.expired,
            cancelled=batch.cancelled,
            deleted=batch.deleted,
        ),
        decided=batch.decided_at is not None,
        created_at=batch.created_at,
        decided_at=batch.decided_at,
    )


def batch_upload(found: InBatch, grant: UploadGrant | None) -> BatchUpload:
    """Return an upload of a batch as the API shows it, with the *grant* to send it by, if any."""
    asset, upload = found.asset, found.upload
    return BatchUpload(
        number=found.number,
        asset_id=asset.id,
        file_name=asset.file_name,
        size=asset.size,
        type=asset.content_type,
        fingerprint=upload.fingerprint if upload else None,
        upload=Upload(
            method="PUT", url=grant.url, headers=dict(grant.headers), expires_at=grant.expires_at
        )
        if grant
        else None,
        part_size=upload.part_size if upload else None,
        parts=len(sizes_of_parts(asset.size, upload.part_size)) if upload else None,
        expires_at=asset.grant_expires_at,
    )


def open_upload(found: InParts, *, is_complete: bool = False) -> OpenUpload:
    """Return an upload in parts as the API shows it."""
    asset, part_size = found.asset, found.upload.part_size
    return OpenUpload(
        asset_id=asset.id,
        file_name=asset.file_name,
        size=asset.size,
        type=asset.content_type,
        fingerprint=found.upload.fingerprint,
        part_size=part_size,
        parts=len(sizes_of_parts(asset.size, part_size)),
        status=UploadStatus.COMPLETE if is_complete else UploadStatus.OPEN,
        expires_at=asset.grant_expires_at,
    )


def upload_view(
    found: InParts, stored: Iterable[StoredPart] = (), *, is_complete: bool = False
) -> UploadView:
    """Return an upload in parts as the API shows it, with those that are there."""
    return UploadView(
        **open_upload(found, is_complete=is_complete).model_dump(),
        stored=[StoredPartView(number=one.number, size=one.size) for one in stored],
    )
