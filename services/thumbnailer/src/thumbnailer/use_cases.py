"""What the thumbnailer does: fetch an upload, make its pictures, store them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from uuid import uuid4

from media_contracts import (
    Crop,
    Gamut,
    MediaKind,
    ObjectRef,
    Picture,
    PictureSpec,
    ThumbnailRequested,
)
from media_contracts.warnings import WarningCode
from media_runtime.media.ffmpeg import Ffmpeg
from media_runtime.media.picture_pool import PicturePool
from media_runtime.media.pictures import RenderedPicture, WantedPicture, render
from media_runtime.media.scratch import scratch_folder
from media_runtime.storage.store import ObjectMissingError, ObjectStore
from media_runtime.storage.stored_pictures import (
    about_picture,
    stored_picture,
    warnings_about,
)
from media_runtime.telemetry import tracing
from thumbnailer.frames import FindFrame
from thumbnailer.metrics import BYTES, FOUND, RENDER_SECONDS, REQUEST_SECONDS
from thumbnailer.settings import ThumbnailerSettings

CACHE_CONTROL = "public, max-age=3600"


@dataclass(frozen=True)
class Made:
    """Stored pictures, and what they were made in spite of."""

    pictures: list[Picture]
    warnings: tuple[WarningCode, ...] = ()


class MakePictures:
    """Makes the pictures of one upload; a repetition finds them and stores nothing."""

    def __init__(
        self,
        *,
        settings: ThumbnailerSettings,
        store: ObjectStore,
        pool: PicturePool,
        ffmpeg: Ffmpeg,
    ) -> None:
        self._settings = settings
        self._store = store
        self._pool = pool
        self._find_frame = FindFrame(
            pool, ffmpeg, timeout_seconds=settings.thumbnailer_frame_timeout_seconds
        )

    async def __call__(self, request: ThumbnailRequested) -> Made:
        """
        Return what was stored, in the order in which it was asked for.

        Raises PermanentError when the file is at fault, TransientError when something is away.
        """
        with REQUEST_SECONDS.labels(request.kind.value).time():
            made_before = await self._find(request)
            if made_before is not None:
                return made_before
            async with scratch_folder(self._settings.scratch_dir / uuid4().hex) as folder:
                source = folder / "source"
                with tracing.span("download"):
                    await self._store.download(request.source, source)
                BYTES.labels("in").inc(source.stat().st_size)
                with RENDER_SECONDS.labels(request.kind.value).time():
                    rendered = await self._render(request, source)
            with tracing.span("upload"):
                uploads = (
                    self._upload(request.source.bucket, spec, picture)
                    for spec, picture in zip(request.pictures, rendered, strict=True)
                )
                return Made(list(await asyncio.gather(*uploads)), _warnings(rendered))

    async def _find(self, request: ThumbnailRequested) -> Made | None:
        """Return the pictures where all of them are in storage already."""
        first, *others = (
            ObjectRef(bucket=request.source.bucket, key=spec.key) for spec in request.pictures
        )
        try:
            # Nearly always it is not there, and the others need no look.
            found = [await self._store.stat(first)]
            found += await asyncio.gather(*map(self._store.stat, others))
        except ObjectMissingError:
            return None
        FOUND.inc(len(found))
        pictures = [
            stored_picture(spec.name, stored)
            for spec, stored in zip(request.pictures, found, strict=True)
        ]
        said = set[WarningCode]().union(*map(warnings_about, found))
        return Made(pictures, tuple(code for code in WarningCode if code in said))

    async def _render(self, request: ThumbnailRequested, source: Path) -> list[RenderedPicture]:
        if request.kind is not MediaKind.VIDEO:
            return await self._rendered(source, request.pictures)
        made: dict[str, RenderedPicture] = {}
        for at_seconds, specs in _by_moment(request.pictures).items():
            with tracing.span("find_frame"):
                frame = await self._find_frame(
                    source, request.duration_seconds, _wanted(specs), at_seconds=at_seconds
                )
            rendered = await self._rendered(frame, specs)
            made |= {spec.name: one for spec, one in zip(specs, rendered, strict=True)}
        return [made[spec.name] for spec in request.pictures]

    async def _rendered(self, source: Path, specs: Sequence[PictureSpec]) -> list[RenderedPicture]:
        with tracing.span("render"):
            return await self._pool.run(
                render,
                source,
                _wanted(specs),
                timeout_seconds=self._settings.thumbnailer_render_timeout_seconds,
            )

    async def _upload(self, bucket: str, spec: PictureSpec, made: RenderedPicture) -> Picture:
        picture = Picture(
            name=spec.name,
            bucket=bucket,
            key=spec.key,
            content_type=made.content_type,
            width=made.width,
            height=made.height,
            size=len(made.data),
            sha256=hashlib.sha256(made.data).hexdigest(),
            placeholder=made.placeholder,
        )
        await self._store.upload_bytes(
            bucket,
            spec.key,
            made.data,
            content_type=picture.content_type,
            cache_control=CACHE_CONTROL,
            about=about_picture(picture, _warnings([made])),
        )
        BYTES.labels("out").inc(picture.size)
        return picture


def _wanted(specs: Sequence[PictureSpec]) -> list[WantedPicture]:
    return [
        WantedPicture(
            spec.name,
            spec.width,
            spec.height,
            spec.fit.value,
            spec.format.value if spec.format else None,
            _focus(spec),
            "display-p3" if spec.gamut is Gamut.DISPLAY_P3 else "srgb",
        )
        for spec in specs
    ]


def _focus(spec: PictureSpec) -> tuple[float, float] | Literal["attention"]:
    if spec.focus:
        return spec.focus.x, spec.focus.y
    return "attention" if spec.crop is Crop.ATTENTION else (0.5, 0.5)


def _by_moment(specs: Sequence[PictureSpec]) -> dict[float | None, list[PictureSpec]]:
    found: dict[float | None, list[PictureSpec]] = {}
    for spec in specs:
        found.setdefault(spec.at_seconds, []).append(spec)
    return found


def _warnings(rendered: Sequence[RenderedPicture]) -> tuple[WarningCode, ...]:
    damaged = any(picture.damaged for picture in rendered)
    return (WarningCode.FILE_DAMAGED,) if damaged else ()
