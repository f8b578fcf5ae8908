"""The JSON of the API: what comes in, what goes out."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from media_contracts import AssetStatus
from media_contracts.envelope import Timestamp
from media_records.tables import Asset
from media_runtime.http import ApiError
from media_runtime.storage import ObjectStore
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr
from pydantic.alias_generators import to_camel
from sign_api.domain import ACCEPTED_TYPES, MAX_NAME_CHARACTERS


class _View(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )


class SignRequest(_View):
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
        examples=["video/mp4"], json_schema_extra={"enum": [*sorted(ACCEPTED_TYPES)]}
    )


class Upload(_View):
    """Send ``fields`` and then the file as ``file``, as multipart/form-data, to ``url``."""

    method: str = Field(examples=["POST"])
    url: str = Field(examples=["https://storage.example.com/media-5f0c…"])
    fields: dict[str, str]
    expires_at: Timestamp


class SignResponse(_View):
    """An upload grant. It is good for exactly this file: its key, type and size."""

    asset_id: UUID
    upload: Upload


class AssetError(_View):
    """Why the asset failed."""

    code: str = Field(examples=["unsupported_media"])
    message: str


class AssetView(_View):
    """
    An asset as its company sees it.

    ``size`` and ``type`` are those declared for the upload; ``width``, ``height`` (pixels) and
    ``durationSeconds`` describe the processed file. URLs are null until the asset is ready.
    """

    asset_id: UUID
    company_id: UUID
    file_name: str
    type: str
    size: int
    status: AssetStatus
    processed_url: str | None = None
    thumbnail_url: str | None = None
    duration_seconds: float | None = None
    width: int | None = None
    height: int | None = None
    error: AssetError | None = None
    created_at: Timestamp
    updated_at: Timestamp
    processed_at: Annotated[Timestamp | None, Field(default=None)] = None


class AssetPage(_View):
    """Assets, newest first. ``nextCursor`` is null on the last page."""

    items: list[AssetView]
    next_cursor: str | None = None


class FileUrls:
    """Makes the URLs under which an asset's files are served."""

    def __init__(
        self, store: ObjectStore, *, cdn_base_url: str | None, lifetime_seconds: int
    ) -> None:
        self._store = store
        self._cdn = cdn_base_url.rstrip("/") if cdn_base_url else None
        self._lifetime = timedelta(seconds=lifetime_seconds)

    def of(self, bucket: str, key: str | None) -> str | None:
        """Return the URL of one file, or None where there is no file."""
        if key is None:
            return None
        if self._cdn:
            return f"{self._cdn}/{bucket}/{key}"
        return self._store.presign_get(bucket, key, lifetime=self._lifetime)


def asset_view(asset: Asset, urls: FileUrls) -> AssetView:
    """Return the asset as its company sees it."""
    ready = asset.status == AssetStatus.READY
    return AssetView(
        asset_id=asset.id,
        company_id=asset.company_id,
        file_name=asset.file_name,
        type=asset.content_type,
        size=asset.size,
        status=AssetStatus(asset.status),
        processed_url=urls.of(asset.bucket, asset.processed_key) if ready else None,
        thumbnail_url=urls.of(asset.bucket, asset.thumbnail_key)
        if ready or asset.thumbnail_kept
        else None,
        duration_seconds=asset.duration_seconds,
        width=asset.width,
        height=asset.height,
        error=AssetError(code=asset.error_code, message=asset.error_message or "")
        if asset.error_code
        else None,
        created_at=asset.created_at,
        updated_at=asset.updated_at,
        processed_at=asset.processed_at,
    )


def encode_cursor(asset: Asset) -> str:
    """Return the position right after *asset* in the list."""
    position = f"{asset.created_at.astimezone(UTC).isoformat()}|{asset.id}"
    return base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> tuple[datetime, UUID]:
    """Return the position that encode_cursor wrote; raises ApiError for anything else."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        moment, _, asset_id = base64.urlsafe_b64decode(padded.encode()).decode().partition("|")
        return datetime.fromisoformat(moment).astimezone(UTC), UUID(asset_id)
    except (ValueError, OverflowError, binascii.Error) as error:
        raise ApiError(400, "invalid_cursor", "cursor is not one that a page returned.") from error
