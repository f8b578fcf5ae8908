"""Previews: a few moments of a video that is there already, which its package chose."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ingest.domain import Size
from ingest.film.preview import MOST_BYTES, QUALITIES, Clip, preview_command
from ingest.metrics import timed
from ingest.outputs.package import join
from ingest.outputs.source import Done
from ingest.outputs.stored import store_output
from ingest.settings import IngestSettings
from media_contracts import FileKind, MediaFile, ObjectRef
from media_records.tables import Asset
from media_records.tasks import Task
from media_runtime.media.ffmpeg import Ffmpeg
from media_runtime.storage.store import ObjectStore

_SECONDS, _CPU_SECONDS = 300, 120
_MOST_BYTES = 16 * 1024**2
# Places in a longer file are found by its index, which pieces of streams have not.
_SHORT_SECONDS = 60


class MakePreview:
    """Makes previews."""

    reads_upload = False

    def __init__(self, settings: IngestSettings, store: ObjectStore, ffmpeg: Ffmpeg) -> None:
        self._settings = settings
        self._store = store
        self._ffmpeg = ffmpeg

    async def __call__(self, task: Task, asset: Asset, source: Path, folder: Path) -> Done:  # noqa: ARG002 - a Doer
        """Make and store it; see Doer."""
        wanted, size = task.params["clips"], Size(**task.params["size"])
        with timed("preview"):
            files = {
                piece["key"]: await self._fetched(asset, piece, folder / f"{number}.mp4")
                for number, piece in enumerate({one["key"]: one for one in wanted}.values())
            }
            clips = [Clip(files[one["key"]], one["at"], one["seconds"]) for one in wanted]
            target = await self._small_enough(clips, size, folder)
        stored = await store_output(
            self._store, task, asset, target,
            name=f"{task.name}.webp", content_type="image/webp",
        )  # fmt: skip
        file = MediaFile(
            **stored,
            name=task.name,
            kind=FileKind.PREVIEW,
            width=size.width,
            height=size.height,
            duration_seconds=round(sum(one.seconds for one in clips), 3),
        )
        return Done([file])

    async def _fetched(self, asset: Asset, piece: dict[str, Any], target: Path) -> Path:
        await self._store.download(ObjectRef(bucket=asset.bucket, key=piece["key"]), target)
        if piece["of"] <= _SHORT_SECONDS:
            return target
        indexed = target.with_stem(f"{target.stem}-indexed")
        await join(self._ffmpeg, [target], indexed, niceness=self._settings.transcode_niceness)
        return indexed

    async def _small_enough(self, clips: Sequence[Clip], size: Size, folder: Path) -> Path:
        target = folder / "preview.webp"
        for quality in QUALITIES:
            await self._ffmpeg.run(
                preview_command(clips, target, size, quality, self._ffmpeg.input_options),
                reads=clips[0].path,
                writes=folder,
                timeout_seconds=_SECONDS,
                cpu_seconds=_CPU_SECONDS,
                max_bytes=_MOST_BYTES,
                niceness=self._settings.transcode_niceness,
            )
            if target.stat().st_size <= MOST_BYTES:
                break
        return target
