"""The first task of films and sounds: check them against their grant, and plan what follows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

from ingest import facts
from ingest.film.grid import Grid
from ingest.film.scan import Packets, grid_of, packets_in, read_packets
from ingest.film.sound import Sound, candidates, choose, listen
from ingest.film.watermark import is_readable
from ingest.look import look_closer
from ingest.metrics import timed
from ingest.outputs.source import Done, Source
from ingest.outputs.tune import tuned
from ingest.plan import plan_something
from ingest.settings import IngestSettings
from ingest.trust.gate import (
    check_audio,
    check_file,
    check_video,
    whole_seconds,
)
from media_contracts import About, MediaFile, MediaKind, Profile, Stage
from media_contracts.errors import ErrorCode
from media_contracts.formats import kind_of
from media_contracts.warnings import WarningCode
from media_records import editions, tasks
from media_records.files import image_of, told
from media_records.lifecycle import about
from media_records.profiles import profile_of
from media_records.tables import Asset
from media_records.tasks import NewTask, Pool, Task
from media_records.work import Reader
from media_runtime import background
from media_runtime.errors import PermanentError
from media_runtime.media.ffmpeg import Ffmpeg
from media_runtime.media.gate import Found, RefusedFileError
from media_runtime.media.info import MediaInfo, VideoStream

KIND = tasks.INSPECT
# Whose packets are read while it is looked at: they have an index, and the first stream of pictures
# nearly always is the one that is shown.
_TELL_PACKETS = frozenset({"isobmff", "matroska"})


class Inspect:
    """Opens the trust gate to one film or sound, or refuses it."""

    reads_upload = True

    def __init__(self, settings: IngestSettings, ffmpeg: Ffmpeg, profiles: Reader) -> None:
        self._settings = settings
        self._profiles = profiles
        self._ffmpeg = ffmpeg

    async def __call__(self, task: Task, asset: Asset, source: Path, folder: Path) -> Done:
        """Check and plan; see Doer."""
        settings = self._settings
        found = await asyncio.to_thread(
            check_file,
            source,
            asset,
            whole_part=settings.limits.whole_part,
            accept_other_types=settings.accept_other_types,
        )
        with timed("probe"):
            probed = await self._probe(asset, source, found, folder)
        profile = await profile_of(self._profiles, asset, settings.profile)
        said = about(asset) or About()
        probed = replace(probed, size=asset.size, focus=said.focus, crop=said.crop)
        if probed.kind is MediaKind.VIDEO:
            probed = replace(probed, marks=await self._marks(profile, asset))
        wanted = plan_something(profile, probed)
        wanted = await tuned(
            wanted, profile, source, folder, self._ffmpeg, niceness=settings.transcode_niceness
        )
        if editions.AT_SECONDS in task.params:
            chosen = {editions.AT_SECONDS: task.params[editions.AT_SECONDS]}
            wanted = tuple(_of_moment(one, chosen) for one in wanted)
        return Done(
            then=wanted,
            stage=Stage.PROBED,
            probe=probed.probe,
            warnings=probed.warnings,
        )

    async def _marks(self, profile: Profile, asset: Asset) -> Mapping[UUID, MediaFile]:
        """Return the pictures that go on the profile's videos, by their assets."""
        found = dict[UUID, MediaFile]()
        for asset_id in profile.watermarks:
            picture = await image_of(self._profiles, asset.company_id, asset_id)
            if picture is None or not is_readable(told(picture)):
                raise PermanentError(
                    ErrorCode.WATERMARK_MISSING, name=profile.name, asset_id=asset_id
                )
            found[asset_id] = told(picture)
        return found

    async def _probe(self, asset: Asset, source: Path, found: Found, folder: Path) -> Source:
        limits = self._settings.limits
        is_sound = kind_of(found.content_type) is MediaKind.AUDIO
        is_told = found.family in _TELL_PACKETS and not is_sound
        reading = {"packets": read_packets(self._ffmpeg, source)} if is_told else {}
        async with background.running(**reading) as early:
            info = await look_closer(self._ffmpeg, source, await self._ffmpeg.probe(source))
            if is_sound:
                check_audio(info, asset, found, limits)
                return await self._sound_alone(info, source, found, folder)
            video = check_video(info, asset, found, limits)
            heard, grid = await self._read(info, source, folder, *early)
            return self._film(info, video, found, heard, grid)

    @staticmethod
    def _film(
        info: MediaInfo, video: VideoStream, found: Found, sound: Sound | None, grid: Grid | None
    ) -> Source:
        deaf = info.audio is not None and sound is None
        return Source(
            MediaKind.VIDEO,
            video.width,
            video.height,
            pixel_aspect=video.pixel_aspect,
            duration_seconds=info.duration_seconds,
            frame_rate=video.frame_rate,
            has_sound=sound is not None,
            content_type=found.content_type,
            warnings=(*found.warnings, *((WarningCode.SOUND_LEFT_OUT,) if deaf else ())),
            probe=facts.of_media(info),
            video=video,
            sound=sound,
            grid=grid,
            texts=info.text_streams,
            starts_at=info.start_seconds,
            claimed_seconds=whole_seconds(info),
        )

    async def _read(
        self,
        info: MediaInfo,
        source: Path,
        folder: Path,
        early: Awaitable[Packets | None] | None = None,
    ) -> tuple[Sound | None, Grid | None]:
        """Return what can be heard, and the grid; both are found at the same time."""
        reading = packets_in(self._ffmpeg, source, info, early)
        hearing = self._heard(info, source, folder)
        async with background.running(reading=reading, hearing=hearing) as both:
            packets, sound = await asyncio.gather(*both)
        if packets is None:
            return sound, None
        most_seconds = self._settings.upload_max_seconds
        grid = await asyncio.to_thread(grid_of, packets, info, sound, most_seconds=most_seconds)
        return sound, grid

    async def _sound_alone(
        self, info: MediaInfo, source: Path, found: Found, folder: Path
    ) -> Source:
        sound = await self._heard(info, source, folder)
        if sound is None:
            raise RefusedFileError(ErrorCode.UNSUPPORTED_CODEC)
        return Source(
            MediaKind.AUDIO,
            info.cover.width if info.cover else 0,
            info.cover.height if info.cover else 0,
            duration_seconds=info.duration_seconds,
            has_sound=True,
            content_type=found.content_type,
            warnings=found.warnings,
            probe=facts.of_media(info),
            sound=sound,
            claimed_seconds=whole_seconds(info),
        )

    async def _heard(self, info: MediaInfo, source: Path, folder: Path) -> Sound | None:
        able = candidates(info.audio_streams)
        return choose(able, await listen(self._ffmpeg, source, able, folder))


def _of_moment(task: NewTask, chosen: Mapping[str, Any]) -> NewTask:
    """Return what makes pictures as what makes them of a moment that was chosen before."""
    if task.pool != Pool.PICTURES:
        return task
    return replace(task, params=editions.of_moment(task.params, chosen))
