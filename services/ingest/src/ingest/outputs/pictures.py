"""
Pictures: a task for those that are made at once, which the thumbnailer does, asked over Kafka.

Invariant: of its answer counts what storage confirms. Whoever can write to its topic can neither
name another object nor invent a size.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from ingest.domain import Size
from ingest.outputs.source import Source
from media_contracts import (
    About,
    FileKind,
    Fit,
    Gamut,
    MediaFile,
    MediaKind,
    ObjectRef,
    Picture,
    PictureFormat,
    PictureOutput,
    PictureSpec,
    Profile,
    ResponsiveOutput,
    Stage,
    ThumbnailRequested,
    played_or_shown,
)
from media_contracts.profiles import made_at_once
from media_records.editions import EDITION
from media_records.lifecycle import about
from media_records.tables import Asset
from media_records.tasks import NewTask, Pool, Task
from media_runtime.media.image_check import decoding_seconds
from media_runtime.storage.keys import output_key
from media_runtime.storage.store import ObjectMissingError, ObjectStore
from media_runtime.storage.stored_pictures import stored_picture

TASK = "pictures"
_KIND = "pictures"
_SECONDS_OF_A_FRAME = 0.3
_SECONDS_A_MEGAPIXEL_IN_A_FORMAT = 0.06
_OF_A_PICTURE = {"name", "kind", "width", "height", "fit", "focus", "crop", "at_seconds"}
# A picture of several sizes has the name of its own format where that is not the common one.
_ENDINGS = {PictureFormat.JPEG: "", PictureFormat.AVIF: ".avif", PictureFormat.WEBP: ".webp"}


def plan(outputs: Sequence[PictureOutput | ResponsiveOutput], source: Source) -> Sequence[NewTask]:
    """Return the tasks that make these pictures; see Planner."""
    if not source.megapixels:
        return ()
    return [
        _task(wanted[0].name if number else TASK, wanted, source)
        for number, wanted in enumerate(made_at_once(source.kind, outputs))
    ]


def _task(
    name: str, outputs: Sequence[PictureOutput | ResponsiveOutput], source: Source
) -> NewTask:
    pictures = [one for output in outputs for one in _pictures(output, source)]
    return NewTask(
        name,
        _KIND,
        Pool.PICTURES,
        {
            "kind": played_or_shown(source.kind).value,
            "content_type": source.content_type,
            "duration_seconds": source.duration_seconds,
            "pictures": pictures,
        },
        # A sound is heard without the picture that goes with it.
        required=source.kind is not MediaKind.AUDIO and any(one.required for one in outputs),
        priority=min(one.priority for one in outputs),
        cost_seconds=_cost_seconds(source, pictures),
    )


def _pictures(
    output: PictureOutput | ResponsiveOutput, source: Source
) -> Sequence[Mapping[str, Any]]:
    if source.focus:
        output = output.model_copy(update={"focus": source.focus})
    elif source.crop:
        output = output.model_copy(update={"focus": None, "crop": source.crop})
    if isinstance(output, PictureOutput):
        return [output.model_dump(mode="json", include=_OF_A_PICTURE)]
    about = output.model_dump(mode="json", include={"focus", "crop", "at_seconds"})
    about |= {"kind": FileKind.RESPONSIVE, "fit": Fit.COVER if output.shape else Fit.INSIDE}
    return [
        {
            **about,
            "name": f"{output.name}-{max(box.width, box.height)}{_ENDINGS[one]}",
            "width": box.width,
            "height": box.height,
            "format": one,
            "gamut": output.gamut if one is PictureFormat.AVIF else Gamut.SRGB,
        }
        for box in _boxes(output, source.square)
        for one in output.formats
    ]


def _boxes(output: ResponsiveOutput, source: Size) -> Sequence[Size]:
    """Return the boxes of its sizes: none is larger than the source, and none is there twice."""
    if output.shape is None:
        # Whatever its shape, its longer side is exactly so long.
        longest = max(source.width, source.height)
        return [Size(side, side) for side in _sides(output, longest)]
    across, down = (int(part) for part in output.shape.split(":"))
    unit = min(source.width / across, source.height / down)
    longest = max(1, int(unit * max(across, down)))
    return [
        Size(*(max(1, round(side * part / max(across, down))) for part in (across, down)))
        for side in _sides(output, longest)
    ]


def _sides(output: ResponsiveOutput, longest: int) -> Sequence[int]:
    return sorted({min(side, longest) for side in output.long_sides})


def _cost_seconds(source: Source, pictures: Sequence[Mapping[str, Any]]) -> float:
    seconds = decoding_seconds(source.width, source.height, source.scans)
    sized: int = sum(one["width"] * one["height"] for one in pictures if one.get("format"))
    seconds += sized / 1_000_000 * _SECONDS_A_MEGAPIXEL_IN_A_FORMAT
    if source.kind is MediaKind.IMAGE:
        return seconds
    return seconds + _SECONDS_OF_A_FRAME * len({one["at_seconds"] for one in pictures})


def request(task: Task, asset: Asset, source: ObjectRef) -> ThumbnailRequested:
    """Return what the thumbnailer is asked for."""
    return ThumbnailRequested(
        attempt=asset.attempt,
        kind=played_or_shown(MediaKind(task.params["kind"])),
        # A task that was planned before sources told their type has none.
        content_type=task.params.get("content_type") or asset.content_type,
        source=source,
        duration_seconds=task.params["duration_seconds"],
        pictures=asked(task, asset),
        task=task.name,
    )


def asked(task: Task, asset: Asset) -> list[PictureSpec]:
    """Return the pictures that *task* asks for."""
    return _specs(task.params["pictures"], asset, task.params.get(EDITION))


def foreseen(profile: Profile, asset: Asset) -> list[PictureSpec]:
    """Return what TASK will ask for of any image, as far as that needs no look at it."""
    first = next(iter(profile.made_at_once(MediaKind.IMAGE)), [])
    if any(isinstance(one, ResponsiveOutput) for one in first):
        return []  # no size of theirs is larger than the image
    said = about(asset) or About()
    unseen = Source(MediaKind.IMAGE, 0, 0, focus=said.focus, crop=said.crop)
    return _specs([one for output in first for one in _pictures(output, unseen)], asset, None)


def files(task: Task, made: Sequence[Picture]) -> list[MediaFile]:
    """Return confirmed pictures of *task* as files of their asset."""
    kinds = {one["name"]: FileKind(one["kind"]) for one in task.params["pictures"]}
    return [
        MediaFile(kind=kinds[picture.name], **picture.model_dump(exclude={"bucket"}))
        for picture in made
    ]


async def confirmed(
    store: ObjectStore, company_id: UUID, asked: Sequence[PictureSpec], made: Sequence[Picture]
) -> list[Picture] | None:
    """
    Return pictures of a company's asset as storage has them.

    None where they are not all that were *asked* for, and no others, under their own keys, or
    where one of them is not there, or is no picture of the thumbnailer's. Raises
    StorageUnavailableError.
    """
    bucket = store.bucket_of(company_id)
    told = [(one.name, one.bucket, one.key) for one in made]
    if sorted(told) != sorted((one.name, bucket, one.key) for one in asked):
        return None
    try:
        return await asyncio.gather(*(_as_stored(store, one) for one in made))
    except (ObjectMissingError, ValueError):
        return None


def stage_of(task: Task) -> Stage | None:
    """Return what clients are told when the pictures are there: of later ones, nothing."""
    return Stage.THUMBNAILED if task.name == TASK or is_new_edition(task) else None


def is_new_edition(task: Task) -> bool:
    """Return whether the pictures take the place of others."""
    return EDITION in task.params


def _specs(
    pictures: Sequence[Mapping[str, Any]], asset: Asset, edition: int | None
) -> list[PictureSpec]:
    return [
        PictureSpec(
            name=one["name"],
            width=one["width"],
            height=one["height"],
            fit=Fit(one["fit"]),
            key=_key(asset, one, edition),
            at_seconds=one.get("at_seconds"),
            format=one.get("format"),
            focus=one.get("focus"),
            crop=one.get("crop"),
            gamut=one.get("gamut"),
        )
        for one in pictures
    ]


def _key(asset: Asset, picture: Mapping[str, Any], edition: int | None) -> str:
    # Without the fence of a try: whoever asks again for pictures gets those that are there.
    name = picture["name"] + (".jpg" if picture["fit"] == Fit.COVER else "")
    return output_key(asset.company_id, asset.id, asset.attempt, name, fence=edition)


async def _as_stored(store: ObjectStore, picture: Picture) -> Picture:
    stored = await store.stat(ObjectRef(bucket=picture.bucket, key=picture.key))
    return stored_picture(picture.name, stored)
