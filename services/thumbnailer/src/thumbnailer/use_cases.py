"""
What the thumbnailer does: fetch an upload, check it if it is an image, make and store its pictures.

Invariant: an image is opened here alone, and an upload is fetched once for all that is wanted of it
within a moment.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from media_contracts import (
    Crop,
    Gamut,
    ImageCheckRequested,
    MediaKind,
    ObjectRef,
    Picture,
    PictureSpec,
    ThumbnailRequested,
)
from media_contracts.errors import ErrorCode
from media_contracts.warnings import WarningCode
from media_runtime import background
from media_runtime.media.ffmpeg import Ffmpeg
from media_runtime.media.gate import check_image, check_image_file
from media_runtime.media.image_check import CheckedImage, check_and_render
from media_runtime.media.kept_files import KeptFile, KeptFiles
from media_runtime.media.picture_pool import PicturePool
from media_runtime.media.pictures import (
    ImageInfo,
    PictureError,
    RenderedPicture,
    WantedPicture,
    render,
)
from media_runtime.storage.store import ContentChangedError, ObjectMissingError, ObjectStore
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
_ENDED = frozenset({ErrorCode.IMAGE_TIMEOUT, ErrorCode.IMAGE_CRASHED_DECODER})


@dataclass(frozen=True)
class Made:
    """Stored pictures, and what they were made in spite of."""

    pictures: list[Picture]
    warnings: tuple[WarningCode, ...] = ()


@dataclass(frozen=True)
class Checked:
    """What an image is: by its bytes and by its head; and the pictures that are stored already."""

    content_type: str
    sha256: str
    info: ImageInfo
    pictures: list[Picture]
    warnings: tuple[WarningCode, ...]


class MakePictures:
    """Checks images, and makes the pictures of one upload; what is stored is not made again."""

    def __init__(
        self,
        *,
        settings: ThumbnailerSettings,
        store: ObjectStore,
        pool: PicturePool,
        ffmpeg: Ffmpeg,
        sources: KeptFiles,
    ) -> None:
        self._settings = settings
        self._store = store
        self._pool = pool
        self._sources = sources
        self._find_frame = FindFrame(
            pool, ffmpeg, timeout_seconds=settings.thumbnailer_frame_timeout_seconds
        )

    async def __call__(self, request: ThumbnailRequested) -> Made:
        """
        Return what was stored, in the order in which it was asked for.

        Raises PermanentError when the file is at fault, TransientError when something is away.
        """
        with REQUEST_SECONDS.labels(request.kind.value).time():
            made_before = await self._find(request.source.bucket, request.pictures)
            if made_before is not None:
                return made_before
            async with self._fetched(request.source) as source:
                with RENDER_SECONDS.labels(request.kind.value).time():
                    rendered = await self._render(request, source.path)
            pictures = await self._stored(request.source.bucket, request.pictures, rendered)
            return Made(pictures, _warnings(rendered))

    async def check(self, request: ImageCheckRequested) -> Checked:
        """
        Return what an image is, and its pictures where they could be made at once.

        Raises PermanentError when the image is refused, TransientError when something is away.
        """
        kind, bucket = MediaKind.IMAGE.value, request.source.bucket
        # Looked for meanwhile: another version of what an earlier delivery stored would be garbage.
        finding = self._find(bucket, request.pictures)
        with REQUEST_SECONDS.labels(kind).time():
            async with (
                background.running(finding=finding) as (made_before,),
                self._fetched(request.source) as source,
            ):
                found = check_image_file(
                    source.path,
                    size=request.size,
                    declared=request.content_type,
                    accept_other_types=request.accept_other_types,
                )
                before: Made | None = await made_before
                wanted = [] if before else request.pictures
                with RENDER_SECONDS.labels(kind).time():
                    seen = await self._look(request, source.path, wanted)
                check_image(
                    seen.info,
                    found,
                    declared=request.content_type,
                    max_frames=request.max_frames,
                )
                # Larger pictures follow, and whatever was not quick.
                source.wanted_next = True
            specs = wanted if seen.pictures else []
            made = before or Made(
                await self._stored(bucket, specs, seen.pictures), _warnings(seen.pictures)
            )
            assert source.sha256 is not None  # noqa: S101 - it was fetched
            told = {*found.warnings, *seen.info.warnings, *made.warnings}
            warnings = tuple(code for code in WarningCode if code in told)
            return Checked(found.content_type, source.sha256, seen.info, made.pictures, warnings)

    @asynccontextmanager
    async def _fetched(self, source: ObjectRef) -> AsyncIterator[KeptFile]:
        async def fetch(path: Path) -> str:
            with tracing.span("download"):
                sha256 = await self._store.download(source, path)
            BYTES.labels("in").inc(_size(path))
            return sha256

        async with self._sources.open((source.bucket, source.key, source.version_id), fetch) as one:
            if source.sha256 not in {None, one.sha256}:
                raise ContentChangedError
            yield one

    async def _look(
        self, request: ImageCheckRequested, source: Path, specs: Sequence[PictureSpec]
    ) -> CheckedImage:
        """Return what an image's head says, with its pictures where they can be made at once."""
        try:
            return await self._looked(request, source, specs)
        except PictureError as error:
            # Its process was ended, perhaps by the pictures: that is for their own task to say.
            if not specs or error.code not in _ENDED:
                raise
            return await self._looked(request, source, [])

    async def _looked(
        self, request: ImageCheckRequested, source: Path, specs: Sequence[PictureSpec]
    ) -> CheckedImage:
        with tracing.span("render"):
            return await self._pool.run(
                check_and_render,
                source,
                _wanted(specs),
                request.max_frames,
                request.quick_seconds,
                timeout_seconds=self._settings.thumbnailer_render_timeout_seconds,
            )

    async def _stored(
        self, bucket: str, specs: Sequence[PictureSpec], rendered: Sequence[RenderedPicture]
    ) -> list[Picture]:
        with tracing.span("upload"):
            uploads = (
                self._upload(bucket, spec, picture)
                for spec, picture in zip(specs, rendered, strict=True)
            )
            return list(await asyncio.gather(*uploads))

    async def _find(self, bucket: str, specs: Sequence[PictureSpec]) -> Made | None:
        """Return the pictures where all of them are in storage already."""
        wanted = [ObjectRef(bucket=bucket, key=spec.key) for spec in specs]
        try:
            # Nearly always it is not there, and the others need no look.
            found = [await self._store.stat(first) for first in wanted[:1]]
            found += await asyncio.gather(*map(self._store.stat, wanted[1:]))
        except ObjectMissingError:
            return None
        FOUND.inc(len(found))
        pictures = [
            stored_picture(spec.name, stored) for spec, stored in zip(specs, found, strict=True)
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


def _size(path: Path) -> int:
    return path.stat().st_size


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
