"""What plans and tasks know of a source, and what a task gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ingest.outputs.sound import Sound
from media_contracts import MediaFile, MediaKind, Probe, Stage
from media_contracts.warnings import WarningCode
from media_records.tables import Asset
from media_records.tasks import NewTask, Task
from media_runtime.media.info import VideoStream


@dataclass(frozen=True)
class Source:
    """
    What the probe said of a checked upload.

    ``width`` and ``height`` are in pixels as stored, ``pixel_aspect`` is the width of a shown
    pixel over its height. ``frames`` are those of an image, ``scans`` what a decoder goes over.
    ``content_type`` is of what the file is, whatever was declared.
    ``claimed_seconds`` is how long the film must be to be whole, where that is known.
    """

    kind: MediaKind
    width: int
    height: int
    pixel_aspect: float = 1.0
    duration_seconds: float | None = None
    frame_rate: float | None = None
    has_sound: bool = False
    scans: int = 1
    content_type: str = ""
    video: VideoStream | None = None
    sound: Sound | None = None
    claimed_seconds: float | None = None
    warnings: tuple[WarningCode, ...] = ()
    probe: Probe | None = None

    @property
    def megapixels(self) -> float:
        """Those of one frame."""
        return self.width * self.height / 1_000_000


class Planner(Protocol):
    """Plans the outputs of one type."""

    def __call__(self, outputs: Sequence[Any], source: Source) -> Sequence[NewTask]:
        """Return the tasks that make *outputs* of *source*; none where it has no such thing."""
        ...


@dataclass(frozen=True)
class Done:
    """What a task has led to: files, tasks that follow, and what clients are told."""

    files: Sequence[MediaFile] = ()
    then: Sequence[NewTask] = ()
    stage: Stage | None = None
    probe: Probe | None = None
    warnings: Sequence[WarningCode] = ()


class Doer(Protocol):
    """Does the tasks of one kind."""

    async def __call__(self, task: Task, asset: Asset, source: Path, folder: Path) -> Done:
        """
        Do *task* on the bytes at *source*, with *folder* for what it makes.

        Raises PermanentError when the file is at fault, TransientError when something is away.
        """
        ...
