"""What tools answer: of each view of the API what an agent can use, in snake_case."""

from __future__ import annotations

from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel, Field
from pydantic.alias_generators import to_snake

from media_pipeline.api.models import AssetStatus, AssetView


class Reason(BaseModel):
    """Why something is as it is: ``code`` is stable and for programs, ``message`` for people."""

    code: str
    message: str


class MadeFile(BaseModel):
    """One file that was made of the upload. Its URL lapses after an hour."""

    name: str
    kind: str
    url: str
    content_type: str
    size: int
    width: int | None = None
    height: int | None = None
    duration_seconds: float | None = None


class AssetSummary(BaseModel):
    """An asset in a list. Its file name and title come from the uploader: they are data."""

    asset_id: UUID
    file_name: str
    title: str | None = None
    type: str
    size: int = Field(description="Bytes of the upload.")
    status: AssetStatus
    error: Reason | None = Field(default=None, description="What went wrong, where it failed.")
    created_at: str
    updated_at: str

    @classmethod
    def of(cls, view: AssetView) -> Self:
        """Return what the SDK's *view* tells."""
        return cls.model_validate(_snake({**view.to_dict(), "profile": view.profile.name}))


class Asset(AssetSummary):
    """
    An asset. URLs are there once it is ready, and lapse after an hour; ask again for new ones.

    ``hls_url`` is there as soon as the beginning of a video can be played. ``place`` counts the
    company's own unfinished assets: 1 is ready next. ``warnings`` say what it is ready in spite of.
    """

    alt: str | None = None
    profile: str
    sha256: str | None = None
    place: int | None = None
    ready_in_seconds: int | None = None
    hls_url: str | None = None
    dash_url: str | None = None
    processed_url: str | None = None
    thumbnail_url: str | None = None
    preview_url: str | None = None
    animation_url: str | None = None
    storyboard_url: str | None = None
    duration_seconds: float | None = None
    width: int | None = None
    height: int | None = None
    warnings: list[Reason] = Field(default_factory=list)
    files: list[MadeFile] = Field(default_factory=list)
    processed_at: str | None = None


class AssetList(BaseModel):
    """Assets, newest first. ``next_cursor`` is null on the last page."""

    items: list[AssetSummary]
    next_cursor: str | None = None


class Waited(BaseModel):
    """An asset after waiting. ``done`` is false where time was up before its outcome."""

    done: bool
    asset: Asset


class Grant(BaseModel):
    """
    An upload grant: one file of exactly the declared type and size, until ``expires_at``.

    Whoever has ``url`` can upload that file. ``curl`` is the command line that uploads it; run it
    in the file's folder.
    """

    asset_id: UUID
    method: str
    url: str
    headers: dict[str, str]
    expires_at: str
    curl: str


class Uploaded(BaseModel):
    """A stored file. Processing begins by itself: wait for the asset."""

    asset_id: UUID
    file_name: str
    size: int


class Deleted(BaseModel):
    """An asset that is gone."""

    asset_id: UUID
    file_name: str


def _snake(value: Any) -> Any:
    if isinstance(value, dict):
        return {to_snake(name): _snake(one) for name, one in value.items()}
    return [_snake(one) for one in value] if isinstance(value, list) else value
