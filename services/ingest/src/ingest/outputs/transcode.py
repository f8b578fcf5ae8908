"""Runs ffmpeg on uploads, within what one may take, and tells clients how far it is."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from ingest.domain import most_output_bytes, transcode_cpu_seconds, transcode_limit_seconds
from ingest.film.film import Film
from ingest.film.loudness import correction, measure
from ingest.metrics import ENCODE_SPEED, ENCODED_SECONDS
from ingest.settings import IngestSettings
from media_contracts import MEDIA_STATUS, AssetProgressed, AssetStatus, Stage
from media_contracts.errors import ErrorCode
from media_records.lifecycle import asset_event
from media_records.tables import Asset
from media_runtime.errors import PermanentError, TransientError
from media_runtime.kafka.producer import Producer
from media_runtime.media.colour import Filter
from media_runtime.media.ffmpeg import Ffmpeg, FfmpegTimeoutError

SERVICE = "ingest"
_PROGRESS_SECONDS = 1.0
_MOST_ATTEMPTS = 1000
# Decoding begins this much before what is asked for, at most.
_RUN_UP_SECONDS = 30.0
_CORES = 3
_STALL_SECONDS = 60


@dataclass(frozen=True)
class Job:
    """
    A film of an asset's upload at *source*, of which something is made in *folder*.

    What *is_urgent* leaves nothing to others: it has to be short.
    """

    asset: Asset
    film: Film
    source: Path
    folder: Path
    is_urgent: bool = False


class Transcoder:
    """Makes media of uploads."""

    def __init__(self, settings: IngestSettings, ffmpeg: Ffmpeg, producer: Producer) -> None:
        self._settings = settings
        self._ffmpeg = ffmpeg
        self._progress = Progress(producer)

    @property
    def input_options(self) -> Mapping[str, object]:
        """What each input of a command needs."""
        return self._ffmpeg.input_options

    async def run(
        self,
        job: Job,
        command: list[str],
        *,
        seconds: float | None,
        begins_at: float = 0.0,
        tells: bool = True,
        times: float = 1,
    ) -> str:
        """
        Run ffmpeg's *command*, which makes *seconds* of the film, from *begins_at* on.

        Return its last words. Clients are told how much there is of pictures. It may take so many
        *times* as long as H.264. Raises as Ffmpeg.run() does, but PermanentError for what takes too
        long: a second try would take as long.
        """
        settings, asset, film = self._settings, job.asset, job.film
        started = time.monotonic()
        lasts = seconds if seconds is not None else settings.upload_max_seconds
        whole = film.duration_seconds or lasts

        async def report(done: float) -> None:
            if tells:
                # Times are those of the whole film, where a chunk knows them.
                since = done - begins_at if done >= begins_at else done
                await self._progress.report(asset, begins_at, min(since, lasts), whole)

        try:
            said = await self._ffmpeg.run(
                command,
                reads=job.source,
                writes=job.folder,
                # The limit is meant for all cores, and a chunk has one.
                timeout_seconds=min(
                    _CORES * times * transcode_limit_seconds(seconds),
                    settings.transcode_max_seconds,
                ),
                cpu_seconds=math.ceil(
                    times
                    * transcode_cpu_seconds(
                        min(whole, lasts + _RUN_UP_SECONDS), film.frame_rate, film.seen
                    )
                ),
                # Its first packet comes when it has seen many pictures.
                stall_seconds=_STALL_SECONDS * times,
                # All sizes together take about twice what the largest does.
                max_bytes=2 * most_output_bytes(asset.size),
                niceness=0 if job.is_urgent else settings.transcode_niceness,
                on_progress=report,
            )
        except FfmpegTimeoutError as error:
            # It has had five times the time that the film lasts: a second try takes as long.
            raise PermanentError(ErrorCode.TRANSCODE_TIMEOUT) from error
        if seconds and tells:
            ENCODED_SECONDS.inc(seconds)
            ENCODE_SPEED.observe(seconds / (time.monotonic() - started))
        return said

    async def louder(self, job: Job) -> Sequence[Filter]:
        """Return the filters that make a film's sound as loud as it shall be."""
        film = job.film
        if film.sound is None or film.loudness is None:
            return ()
        measured = await measure(
            self._ffmpeg, job.source, film.sound, job.folder,
            max_seconds=film.duration_seconds or self._settings.upload_max_seconds,
            niceness=0 if job.is_urgent else self._settings.transcode_niceness,
        )  # fmt: skip
        return correction(measured, film.loudness)


class Progress:
    """
    Tells clients how much of a film there is, at most once a second, as best it can.

    What other processes have made of it is not counted; it never goes back.
    """

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._attempts: OrderedDict[tuple[UUID, int], _Attempt] = OrderedDict()

    async def report(self, asset: Asset, begins_at: float, done: float, whole: float) -> None:
        """Tell that *done* seconds are made of what begins at *begins_at*."""
        if asset.status == AssetStatus.READY:
            return  # nobody waits for what shall replace what is served
        attempt = self._attempts.setdefault((asset.id, asset.attempt), _Attempt())
        if len(self._attempts) > _MOST_ATTEMPTS:
            self._attempts.popitem(last=False)
        attempt.made[begins_at] = max(done, attempt.made.get(begins_at, 0.0))
        now = time.monotonic()
        if not whole or now < attempt.next:
            return
        attempt.next = now + _PROGRESS_SECONDS
        percent = min(100.0, round(100 * sum(attempt.made.values()) / whole, 1))
        payload = AssetProgressed(attempt=asset.attempt, stage=Stage.TRANSCODING, percent=percent)
        # One a second would bury what else the trace has.
        record = asset_event(
            MEDIA_STATUS, asset, payload, service=SERVICE, at=datetime.now(UTC), traced=False
        )
        try:
            await self._producer.send(record)
        except TransientError:
            return  # a lost percentage is followed by the next one


class _Attempt:
    """How much of an attempt's film is made, by where it begins, and when to tell next."""

    def __init__(self) -> None:
        self.made: dict[float, float] = {}
        self.next = 0.0
