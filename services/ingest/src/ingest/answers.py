"""
The pictures of an attempt: under which keys they are asked for, and what an answer is worth.

Invariant: of an answer counts what storage confirms. Whoever can write to its topic can neither
name another object nor invent a size.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from uuid import UUID

from media_contracts import (
    CloudEvent,
    FileKind,
    MediaFile,
    MediaKind,
    ObjectRef,
    Picture,
    ThumbnailMade,
)
from media_runtime.storage import ObjectMissingError, ObjectStore, output_key

THUMBNAIL = "thumbnail"
DISPLAY = "display"
PICTURES_OF: Mapping[MediaKind, frozenset[str]] = {
    MediaKind.VIDEO: frozenset({THUMBNAIL}),
    MediaKind.IMAGE: frozenset({THUMBNAIL, DISPLAY}),
}
"""The names of the pictures that are asked for."""

_FILES = {THUMBNAIL: "thumbnail.jpg", DISPLAY: "image"}
_KINDS = {THUMBNAIL: FileKind.THUMBNAIL, DISPLAY: FileKind.IMAGE}


def picture_key(company_id: UUID, asset_id: UUID, attempt: int, name: str) -> str:
    """Return the key under which a picture of an attempt is stored."""
    # Without a fence: whoever asks again for an attempt's pictures gets those that are there.
    return output_key(company_id, asset_id, attempt, _FILES[name])


def file_of(picture: Picture) -> MediaFile:
    """Return a picture that was asked for as the asset's file."""
    kind = _KINDS[picture.name]
    return MediaFile(name=kind, kind=kind, **picture.model_dump(exclude={"name", "bucket"}))


async def confirmed(store: ObjectStore, event: CloudEvent[ThumbnailMade]) -> ThumbnailMade | None:
    """
    Return the answer with its pictures as storage has them.

    None where it names another key than the attempt's own, or an object that is not there.
    Raises StorageUnavailableError.
    """
    made = event.data
    bucket = store.bucket_of(event.companyid)
    if not all(_is_asked_for(picture, bucket, event) for picture in made.pictures):
        return None
    try:
        pictures = await asyncio.gather(*(_as_stored(store, one) for one in made.pictures))
    except ObjectMissingError:
        return None
    return made.model_copy(update={"pictures": pictures})


def _is_asked_for(picture: Picture, bucket: str, event: CloudEvent[ThumbnailMade]) -> bool:
    if picture.name not in _FILES or picture.bucket != bucket:
        return False
    return picture.key == picture_key(
        event.companyid, event.subject, event.data.attempt, picture.name
    )


async def _as_stored(store: ObjectStore, picture: Picture) -> Picture:
    stored = await store.stat(ObjectRef(bucket=picture.bucket, key=picture.key))
    facts = {
        "size": stored.size,
        "content_type": stored.content_type or picture.content_type,
        "width": int(stored.about.get("width", picture.width)),
        "height": int(stored.about.get("height", picture.height)),
    }
    return picture.model_copy(update=facts)
