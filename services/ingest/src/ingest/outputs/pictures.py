"""
Pictures: one task for all of a source, which the thumbnailer does, asked over Kafka.

Invariant: of its answer counts what storage confirms. Whoever can write to its topic can neither
name another object nor invent a size.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from ingest.outputs.source import Source
from media_contracts import (
    CloudEvent,
    FileKind,
    Fit,
    MediaFile,
    MediaKind,
    ObjectRef,
    Picture,
    PictureOutput,
    PictureSpec,
    ThumbnailMade,
    ThumbnailRequested,
    played_or_shown,
)
from media_records.posters import EDITION
from media_records.tables import Asset
from media_records.tasks import NewTask, Pool, Task
from media_runtime.storage.keys import output_key
from media_runtime.storage.store import ObjectMissingError, ObjectStore

TASK = "pictures"
_KIND = "pictures"
# Measured with Pillow 12: a baseline JPEG, and each further scan of a progressive one.
_SECONDS_A_MEGAPIXEL, _SECONDS_A_MEGAPIXEL_AND_SCAN = 0.02, 0.012
_SECONDS_OF_A_FRAME = 0.3
_OF_A_PICTURE = {"name", "kind", "width", "height", "fit", "at_seconds"}


def plan(outputs: Sequence[PictureOutput], source: Source) -> Sequence[NewTask]:
    """Return the task that makes these pictures; see Planner."""
    wanted = [one for one in outputs if source.kind in one.sources]
    if not (wanted and source.megapixels):
        return ()
    params = {
        "kind": played_or_shown(source.kind).value,
        "content_type": source.content_type,
        "duration_seconds": source.duration_seconds,
        "pictures": [one.model_dump(mode="json", include=_OF_A_PICTURE) for one in wanted],
    }
    moments = len({one.at_seconds for one in wanted})
    return (
        NewTask(
            TASK,
            _KIND,
            Pool.PICTURES,
            params,
            # A sound is heard without the picture that goes with it.
            required=source.kind is not MediaKind.AUDIO and any(one.required for one in wanted),
            priority=min(one.priority for one in wanted),
            cost_seconds=_cost_seconds(source, moments),
        ),
    )


def _cost_seconds(source: Source, moments: int) -> float:
    further_scans = source.scans - 1
    seconds = source.megapixels * (
        _SECONDS_A_MEGAPIXEL + further_scans * _SECONDS_A_MEGAPIXEL_AND_SCAN
    )
    return seconds + (0 if source.kind is MediaKind.IMAGE else moments * _SECONDS_OF_A_FRAME)


def request(task: Task, asset: Asset, source: ObjectRef) -> ThumbnailRequested:
    """Return what the thumbnailer is asked for."""
    return ThumbnailRequested(
        attempt=asset.attempt,
        kind=played_or_shown(MediaKind(task.params["kind"])),
        # A task that was planned before sources told their type has none.
        content_type=task.params.get("content_type") or asset.content_type,
        source=source,
        duration_seconds=task.params["duration_seconds"],
        pictures=[
            PictureSpec(
                name=one["name"],
                width=one["width"],
                height=one["height"],
                fit=Fit(one["fit"]),
                key=_key(task, asset.company_id, asset.id, asset.attempt, one),
                at_seconds=one.get("at_seconds"),
            )
            for one in task.params["pictures"]
        ],
        task=task.name,
    )


def files(task: Task, made: ThumbnailMade) -> list[MediaFile]:
    """Return the pictures of a confirmed answer as files of their asset."""
    kinds = {one["name"]: FileKind(one["kind"]) for one in task.params["pictures"]}
    return [
        MediaFile(kind=kinds[picture.name], **picture.model_dump(exclude={"bucket"}))
        for picture in made.pictures
    ]


async def confirmed(
    store: ObjectStore, task: Task, event: CloudEvent[ThumbnailMade]
) -> ThumbnailMade | None:
    """
    Return the answer to *task* with its pictures as storage has them.

    None where it has not all that were asked for, and no others, under their own keys, or where
    one of them is not there. Raises StorageUnavailableError.
    """
    made = event.data
    of = task, event.companyid, event.subject, made.attempt
    wanted = {one["name"]: _key(*of, one) for one in task.params["pictures"]}
    told = [(one.name, one.bucket, one.key) for one in made.pictures]
    bucket = store.bucket_of(event.companyid)
    if sorted(told) != sorted((name, bucket, key) for name, key in wanted.items()):
        return None
    try:
        pictures = await asyncio.gather(*(_as_stored(store, one) for one in made.pictures))
    except ObjectMissingError:
        return None
    return made.model_copy(update={"pictures": pictures})


def is_new_edition(task: Task) -> bool:
    """Return whether the pictures take the place of others."""
    return EDITION in task.params


def _key(
    task: Task, company_id: Any, asset_id: Any, attempt: int, picture: Mapping[str, Any]
) -> str:
    # Without the fence of a try: whoever asks again for pictures gets those that are there.
    name = picture["name"] + (".jpg" if picture["fit"] == Fit.COVER else "")
    return output_key(company_id, asset_id, attempt, name, fence=task.params.get(EDITION))


async def _as_stored(store: ObjectStore, picture: Picture) -> Picture:
    stored = await store.stat(ObjectRef(bucket=picture.bucket, key=picture.key))
    facts = {
        "size": stored.size,
        "content_type": stored.content_type or picture.content_type,
        "width": int(stored.about.get("width", picture.width)),
        "height": int(stored.about.get("height", picture.height)),
        "sha256": stored.about.get("sha256", picture.sha256),
    }
    return picture.model_copy(update=facts)
