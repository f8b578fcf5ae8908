"""The first task of an attempt: check the upload against its grant, and plan what follows."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ingest import facts
from ingest.metrics import timed
from ingest.outputs.source import Done, Source
from ingest.plan import plan
from ingest.settings import IngestSettings
from ingest.trust.gate import Found, check_file, check_image, check_video
from media_contracts import MediaKind, Stage
from media_contracts.formats import kind_of
from media_records.tables import Asset
from media_records.tasks import NewTask, Pool, Task
from media_runtime.media.ffmpeg import Ffmpeg
from media_runtime.media.picture_pool import PicturePool
from media_runtime.media.pictures import probe_image

KIND = "inspect"
_PROBE_SECONDS = 30
# What fetching and hashing takes; probing is bounded by the sandbox.
_BYTES_A_SECOND, _LEAST_SECONDS = 100e6, 0.05


def first_task(asset: Asset) -> NewTask:
    """Return the task that every attempt begins with."""
    return NewTask(
        KIND, KIND, Pool.INSPECT, cost_seconds=_LEAST_SECONDS + asset.size / _BYTES_A_SECOND
    )


class Inspect:
    """Opens the trust gate to one upload, or refuses it."""

    def __init__(self, settings: IngestSettings, pool: PicturePool, ffmpeg: Ffmpeg) -> None:
        self._settings = settings
        self._pool = pool
        self._ffmpeg = ffmpeg

    async def __call__(self, task: Task, asset: Asset, source: Path, folder: Path) -> Done:  # noqa: ARG002 - a Doer
        """Check and plan; see Doer."""
        found = await asyncio.to_thread(
            check_file, source, asset, accept_other_types=self._settings.accept_other_types
        )
        with timed("probe"):
            probed = await self._probe(asset, source, found)
        return Done(
            then=plan(self._settings.profile, probed),
            stage=Stage.PROBED,
            probe=probed.probe,
            warnings=probed.warnings,
        )

    async def _probe(self, asset: Asset, source: Path, found: Found) -> Source:
        limits = self._settings.limits
        kind = kind_of(found.content_type)
        if kind is MediaKind.VIDEO:
            info = await self._ffmpeg.probe(source)
            video = check_video(info, asset, found, limits)
            return Source(
                kind,
                video.width,
                video.height,
                pixel_aspect=video.pixel_aspect,
                duration_seconds=info.duration_seconds,
                frame_rate=video.frame_rate,
                has_sound=info.audio is not None,
                probe=facts.of_video(info),
                content_type=found.content_type,
                warnings=found.warnings,
            )
        image = await self._pool.run(
            probe_image, source, self._settings.upload_max_frames, timeout_seconds=_PROBE_SECONDS
        )
        check_image(image, asset, found, limits)
        return Source(
            kind,
            image.width,
            image.height,
            scans=image.scans,
            content_type=found.content_type,
            warnings=(*found.warnings, *image.warnings),
            probe=facts.of_image(image),
        )
