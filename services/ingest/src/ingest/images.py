"""
Images: the thumbnailer checks them where it opens them, and makes their first pictures at once.

Of an image counts what the thumbnailer says, as the trust gate is there. Of its pictures counts
what storage confirms.
"""

from __future__ import annotations

from dataclasses import dataclass

from ingest import facts
from ingest.outputs import pictures
from ingest.outputs.source import Source
from ingest.plan import plan_something
from ingest.settings import IngestSettings
from media_contracts import (
    About,
    ImageChecked,
    ImageCheckRequested,
    MediaKind,
    ObjectRef,
    PictureSpec,
    Profile,
)
from media_records.lifecycle import about
from media_records.profiles import profile_of
from media_records.tables import Asset
from media_records.tasks import NewTask, Task
from media_records.work import Reader


@dataclass(frozen=True)
class Images:
    """What ingest asks of images, and what it plans by the answers."""

    settings: IngestSettings

    async def request(
        self, reader: Reader, task: Task, asset: Asset, source: ObjectRef
    ) -> ImageCheckRequested:
        """Return what the thumbnailer is asked for; raises PermanentError for a bad profile."""
        settings = self.settings
        return ImageCheckRequested(
            attempt=asset.attempt,
            task=task.name,
            source=source,
            size=asset.size,
            content_type=asset.content_type,
            accept_other_types=settings.accept_other_types,
            max_frames=settings.upload_max_frames,
            quick_seconds=settings.slow_picture_seconds,
            pictures=await self.foreseen(reader, asset),
        )

    async def foreseen(self, reader: Reader, asset: Asset) -> list[PictureSpec]:
        """Return the pictures that are asked for with the check of an image."""
        return pictures.foreseen(await self._profile(reader, asset), asset)

    async def planned(
        self, reader: Reader, asset: Asset, checked: ImageChecked
    ) -> tuple[NewTask, ...]:
        """Return what is to be made of an image; raises PermanentError where that is nothing."""
        profile = await self._profile(reader, asset)
        said = about(asset) or About()
        source = Source(
            MediaKind.IMAGE,
            checked.width,
            checked.height,
            size=asset.size,
            frames=checked.frames,
            scans=checked.scans,
            content_type=checked.content_type,
            focus=said.focus,
            crop=said.crop,
            probe=facts.of_image(checked),
        )
        return plan_something(profile, source)

    async def _profile(self, reader: Reader, asset: Asset) -> Profile:
        return await profile_of(reader, asset, self.settings.profile)
