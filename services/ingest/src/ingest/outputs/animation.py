"""Films of moving images: one task, which decodes them as all images are decoded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import structlog
from ingest.film.animation import last_for, mp4_command, webp_command
from ingest.metrics import timed
from ingest.outputs.source import Done, Source
from ingest.outputs.stored import store_output
from ingest.settings import IngestSettings
from media_contracts import AnimationOutput, FileKind, MediaFile
from media_contracts.warnings import WarningCode
from media_records.tables import Asset
from media_records.tasks import NewTask, Pool, Task
from media_runtime.errors import PermanentError
from media_runtime.media.ffmpeg import Ffmpeg
from media_runtime.media.moving import Moving, write_frames
from media_runtime.media.picture_pool import PicturePool, Target
from media_runtime.storage.store import ObjectStore

log = structlog.get_logger(__name__)

KIND = "animation"
# Frames of other images are no film: pages of a TIFF, pictures of a HEIC.
_MOVING = frozenset({"image/gif", "image/png", "image/webp", "image/avif"})
_TYPES = {".mp4": "video/mp4", ".webp": "image/webp"}
# Of all frames together: a minute of 720p, or 3,000 frames of 800x600.
_MOST_PIXELS = 1_500_000_000
_MOST_FRAMES_BYTES, _MOST_BYTES = 4 * 1024**3, 512 * 1024**2
_SECONDS, _CPU_SECONDS = 900, 600
# Measured: a GIF decoded and written for ffmpeg, and x264 with one thread.
_SECONDS_A_MEGAPIXEL, _LEAST_COST = 0.08, 0.3


def plan(outputs: Sequence[AnimationOutput], source: Source) -> Sequence[NewTask]:
    """Return the tasks that make these films; see Planner."""
    if source.content_type not in _MOVING or source.frames == 1:
        return ()
    return [
        NewTask(
            one.name,
            KIND,
            Pool.ENCODE,
            {"max_long_side": one.max_long_side, "crf": one.crf},
            required=one.required,
            priority=one.priority,
            cost_seconds=_LEAST_COST + _SECONDS_A_MEGAPIXEL * source.megapixels * source.frames,
        )
        for one in outputs
    ]


class MakeAnimation:
    """Makes films of moving images."""

    reads_upload = True

    def __init__(
        self, settings: IngestSettings, store: ObjectStore, pool: PicturePool, ffmpeg: Ffmpeg
    ) -> None:
        self._settings = settings
        self._store = store
        self._pool = pool
        self._ffmpeg = ffmpeg

    async def __call__(self, task: Task, asset: Asset, source: Path, folder: Path) -> Done:
        """Make and store them; see Doer. What cannot become a film is an image all the same."""
        try:
            return await self._made(task, asset, source, folder)
        except PermanentError as error:
            log.info(
                "animation_left_out", asset_id=str(asset.id), code=error.code, why=error.detail
            )
            return Done(warnings=(WarningCode.ANIMATION_LEFT_OUT,))

    async def _made(self, task: Task, asset: Asset, source: Path, folder: Path) -> Done:
        with timed("animation"):
            frames, film = folder / "frames.png", folder / "film.mp4"
            moving = await self._frames(task, source, frames, on_white=True)
            await self._run(
                mp4_command(
                    frames, film, moving.frame_ms,
                    crf=task.params["crf"], input_options=self._ffmpeg.input_options,
                ),
                frames,
            )  # fmt: skip
        files = [await self._stored(task, asset, film, moving)]
        if moving.is_clear:
            clear = folder / "clear.webp"
            with timed("animation"):
                await self._make_clear(task, source, frames, clear)
            files.append(await self._stored(task, asset, clear, moving))
        warnings = (WarningCode.FILE_DAMAGED,) if moving.damaged else ()
        return Done(files, warnings=warnings)

    async def _make_clear(self, task: Task, source: Path, frames: Path, target: Path) -> None:
        moving = await self._frames(task, source, frames, on_white=False)
        command = webp_command(
            frames, target, loops=moving.loops, input_options=self._ffmpeg.input_options
        )
        await self._run(command, frames)
        made = bytearray(target.read_bytes())  # noqa: ASYNC240 - our own, and small
        last_for(made, sum(moving.frame_ms))
        target.write_bytes(made)  # noqa: ASYNC240

    async def _frames(self, task: Task, source: Path, target: Path, *, on_white: bool) -> Moving:
        return await self._pool.run(
            write_frames, source, task.params["max_long_side"], _MOST_PIXELS, on_white,
            timeout_seconds=_SECONDS, target=Target(target, _MOST_FRAMES_BYTES),
        )  # fmt: skip

    async def _run(self, command: list[str], frames: Path) -> None:
        await self._ffmpeg.run(
            command,
            reads=frames,
            writes=frames.parent,
            timeout_seconds=_SECONDS,
            cpu_seconds=_CPU_SECONDS,
            max_bytes=_MOST_BYTES,
            niceness=self._settings.transcode_niceness,
        )

    async def _stored(self, task: Task, asset: Asset, path: Path, moving: Moving) -> MediaFile:
        stored = await store_output(
            self._store, task, asset, path,
            name=f"{task.name}{path.suffix}", content_type=_TYPES[path.suffix],
        )  # fmt: skip
        return MediaFile(
            **stored,
            name=task.name if path.suffix == ".mp4" else f"{task.name}{path.suffix}",
            kind=FileKind.ANIMATION,
            width=moving.width,
            height=moving.height,
            duration_seconds=round(sum(moving.frame_ms) / 1000, 3),
            loops=moving.loops,
        )
