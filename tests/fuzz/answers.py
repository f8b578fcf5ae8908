"""What the pipeline answers to a file, by the code that its services run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from ingest.inspect import Inspect
from ingest.outputs import animation, audio
from ingest.outputs.source import Source
from ingest.outputs.video import plan
from ingest.settings import IngestSettings
from ingest.trust.gate import check_file
from media_contracts import AnimationOutput, AudioOutput, MediaKind, VideoOutput
from media_contracts.errors import ErrorCode
from media_contracts.formats import kind_of
from media_runtime.errors import InconclusiveError, PermanentError
from media_runtime.media.ffmpeg import Ffmpeg
from media_runtime.media.gate import check_image, check_image_file
from media_runtime.media.image_check import check_and_render
from media_runtime.media.picture_pool import PicturePool
from media_runtime.media.pictures import WantedPicture, render
from thumbnailer.frames import FindFrame

from support.making import Making, an_asset

WANTED = [WantedPicture("thumbnail", 320, 240, "cover"), WantedPicture("p", 640, 640, "inside")]
SIZES = [
    WantedPicture(f"{side}.{one}", side, side, "inside", one)
    for side in (32, 64)
    for one in ("avif", "webp", "jpeg")
]
READY, INCONCLUSIVE = "ready", "inconclusive"
_SECONDS = 60


class Pipeline:
    """Checks files and makes what the default profile makes of them."""

    def __init__(self, pool: PicturePool, ffmpeg: Ffmpeg, scratch: Path) -> None:
        self._settings = IngestSettings(
            kafka_bootstrap_servers="k", database_url="postgresql://d",
            s3_endpoint_url="http://s", s3_access_key="k", s3_secret_key="s", scratch_dir=scratch,
        )  # fmt: skip
        self._pool = pool
        self._ffmpeg = ffmpeg

    async def answer(self, source: Path, content_type: str, folder: Path) -> str:
        """
        Return ``ready``, or the code that a client is told.

        An answer that only repetitions of the task would give is ``inconclusive``. Whatever else
        is raised is a fault of the services.
        """
        try:
            await self._make(source, content_type, folder)
        except PermanentError as error:
            return ErrorCode(error.code).value
        except InconclusiveError:
            return INCONCLUSIVE
        return READY

    async def _make(self, source: Path, content_type: str, folder: Path) -> None:
        asset = an_asset(content_type, _size(source))
        if kind_of(content_type) is MediaKind.IMAGE:
            await self._image(source, asset, folder)
            return
        found = check_file(source, asset, whole_part=self._settings.min_whole_part)
        looked = folder / "looked"
        looked.mkdir()
        inspect = Inspect(self._settings, self._ffmpeg, cast("Any", None))
        probed = await inspect._probe(asset, source, found, looked)
        assert probed.probe is not None
        probed.probe.model_dump_json()
        if probed.kind is MediaKind.VIDEO:
            await self._film(source, asset, probed, folder)
        else:
            tasks = audio.plan([AudioOutput(name="audio")], probed)
            await Making(self._settings, self._ffmpeg, folder / "made").all(tasks, source, asset)

    async def _image(self, source: Path, asset: Any, folder: Path) -> None:
        declared, frames = asset.content_type, self._settings.upload_max_frames
        found = check_image_file(
            source, size=asset.size, declared=declared,
            accept_other_types=self._settings.accept_other_types,
        )  # fmt: skip
        seen = await self._pool.run(
            check_and_render, source, WANTED, frames, _SECONDS, timeout_seconds=_SECONDS
        )
        check_image(seen.info, found, declared=declared, max_frames=frames)
        await self._pool.run(render, source, SIZES, timeout_seconds=_SECONDS)
        info = seen.info
        probed = Source(
            MediaKind.IMAGE, info.width, info.height, frames=info.frames,
            content_type=found.content_type,
        )  # fmt: skip
        tasks = animation.plan([AnimationOutput(name="animation")], probed)
        making = Making(self._settings, self._ffmpeg, folder / "made", self._pool)
        await making.all(tasks, source, asset)

    async def _film(self, source: Path, asset: Any, probed: Source, folder: Path) -> None:
        making = Making(self._settings, self._ffmpeg, folder / "made")
        await making.all(plan([VideoOutput(name="video")], probed), source, asset)
        find = FindFrame(self._pool, self._ffmpeg, timeout_seconds=_SECONDS)
        frame = await find(source, probed.duration_seconds, WANTED)
        await self._pool.run(render, frame, WANTED, timeout_seconds=_SECONDS)


def _size(path: Path) -> int:
    return path.stat().st_size
